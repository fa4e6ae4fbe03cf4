import { createReadStream, createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { invalidField } from '../../lib/errors.js';
import { writeTo } from '../write-to.js';
import { COLUMNS, type Row, type RowWriter } from './rows.js';

/** RFC 4180 with a header; times as ISO 8601 in UTC, values with all their digits. */
export function csvWriter(out: Writable): RowWriter {
  let begun = false;
  const head = () => (begun ? '' : `${COLUMNS.join(',')}\n`);
  return {
    async write(rows) {
      const lines = rows.map(
        ({ host, series, unit, atMs, value }) =>
          `${quoted(host)},${quoted(series)},${quoted(unit)},${new Date(atMs).toISOString()},${value}\n`,
      );
      const text = head() + lines.join('');
      begun = true;
      await writeTo(out, text);
    },
    async end() {
      await writeTo(out, head());
    },
  };
}

export function fileCsvWriter(file: string): RowWriter {
  const out = createWriteStream(file);
  // An error (a full disk) ends the stream; whoever waits for the end is told.
  const done = finished(out);
  done.catch(() => {});
  const { write, end } = csvWriter(out);
  return {
    async write(rows) {
      await write(rows);
      if (out.errored) await done;
    },
    async end() {
      await end();
      out.end();
      await done;
    },
  };
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of a file with a header; columns may come in any order, others are passed over. */
export async function* readCsv(file: string): AsyncGenerator<Row> {
  const records = createReadStream(file).pipe(
    parse({ columns: true, bom: true, trim: true, skip_empty_lines: true }),
  );
  let line = 1;
  for await (const record of records as AsyncIterable<Record<string, string>>) {
    line++;
    const atMs = timeOf(record['time']);
    const value = numberOf(record['value']);
    if (record['series'] === undefined || record['series'] === '')
      throw invalidField(`row ${line}: series`, record['series'], 'the name of a series');
    if (atMs === undefined)
      throw invalidField(`row ${line}: time`, record['time'], 'an ISO 8601 time or unix milliseconds');
    if (value === undefined) throw invalidField(`row ${line}: value`, record['value'], 'a number');
    yield { host: record['host'] ?? '', series: record['series'], unit: record['unit'] ?? '', atMs, value };
  }
}

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const at = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isFinite(at) ? at : undefined;
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const named = NAMED[text.toLowerCase()];
  if (named !== undefined) return named;
  const value = Number(text);
  return Number.isNaN(value) ? undefined : value;
}

/** As this, pandas and DuckDB write them. */
const NAMED: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  infinity: Number.POSITIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
};
