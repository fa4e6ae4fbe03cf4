import { access, rename, rm } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { CorecastError, invalidField } from '../../lib/errors.js';
import type { ImportHistoryRequest } from '../../rpc/generated/corecast/v1/ImportHistoryRequest.js';
import { collect, duration, moment, oneOf } from '../arguments.js';
import type { CorecastClient } from '../connect.js';
import { type Format, formatOf, type Row, type RowWriter } from '../history/rows.js';
import { printJson, printLine } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface ExportOptions extends DaemonOptions {
  readonly series?: readonly string[];
  readonly from?: number;
  readonly to?: number;
  readonly step?: number;
  readonly format?: Format;
}

interface ImportOptions extends DaemonOptions {
  readonly format?: Format;
  readonly prefix?: string;
}

/** As many points as one message may carry. */
const MESSAGE_POINTS = 4_096;
const IMPORT_TIMEOUT_MS = 24 * 3_600_000;

const formatOption = () =>
  new Option('--format <format>', "csv or parquet (default: by the file's ending)").argParser(
    oneOf('csv', 'parquet'),
  );

export function addExportCommand(history: Command, nowMs: number): void {
  withDaemonOptions(
    history
      .command('export')
      .description('Writes samples into a file for pandas, DuckDB or Spark: host, series, unit, time, value.')
      .argument('<file>', 'FILE.parquet or FILE.csv; "-" for CSV on standard output'),
  )
    .option(
      '--series <name>',
      'this series, or all below a prefix ("cpu.*"); may be repeated (default: all)',
      collect,
    )
    .option('--from <time>', 'ISO time, or how long ago (default: everything)', moment(nowMs))
    .option('--to <time>', 'ISO time, or how long ago (default: now)', moment(nowMs))
    .option('--step <time>', 'means over steps of this length (default: samples as stored)', duration)
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExample:\n  corecast history export busy.parquet --series "cpu.*" --from 7d --step 1m',
    )
    .action(async (file: string, options: ExportOptions) => {
      const format = requireFormat(file, options.format);
      const range = { fromMs: options.from ?? 0, toMs: options.to ?? nowMs, stepMs: options.step ?? 0 };
      const rows = await withDaemon(options, (client) =>
        intoFile(file, format, async (writer) => exportRows(client, options.series, range, writer)),
      );
      if (file === '-') return;
      if (options.json === true) return printJson({ file, format, rows });
      printLine(`${rows} rows written to ${file}`);
    });
}

export function addImportCommand(history: Command): void {
  withDaemonOptions(
    history
      .command('import')
      .description('Adds the samples of an exported file. What the history has already is not added again.')
      .argument('<file>', 'FILE.parquet or FILE.csv with the columns series, time and value'),
  )
    .addOption(formatOption())
    .option(
      '--prefix <text>',
      'put before each name: another host\'s samples stay apart ("web1." for web1.host.busy)',
    )
    .addHelpText('after', '\nExample:\n  corecast history import web1.parquet --prefix web1.')
    .action(async (file: string, options: ImportOptions) => {
      const format = requireFormat(file, options.format);
      await access(file).catch((error: NodeJS.ErrnoException) => {
        throw invalidField('file', file, `a file that can be read (${error.code})`);
      });
      const { points, added } = await withDaemon(options, async (client) => {
        const rows = await readRows(file, format);
        return client.importHistory(messagesOf(rows, options.prefix ?? ''), { timeoutMs: IMPORT_TIMEOUT_MS });
      });
      if (options.json === true) return printJson({ file, points, added });
      printLine(`${points} samples read from ${file}, ${added} of them new`);
    });
}

async function exportRows(
  client: CorecastClient,
  series: readonly string[] | undefined,
  range: { fromMs: number; toMs: number; stepMs: number },
  writer: RowWriter,
): Promise<number> {
  const { hostname: host } = await client.getHost({});
  let rows = 0;
  for (const name of series ?? (await namesOf(client))) {
    for await (const chunk of client.queryHistory({ series: name, ...range })) {
      const { unit } = chunk;
      await writer.write(
        chunk.points.map(({ atMs, value }) => ({ host, series: chunk.series, unit, atMs, value })),
      );
      rows += chunk.points.length;
    }
  }
  return rows;
}

async function namesOf(client: CorecastClient): Promise<string[]> {
  const names: string[] = [];
  for await (const { series } of client.queryHistory({ series: '' })) names.push(series);
  return names;
}

/** What has the name is complete: it is written beside and renamed at the end. */
async function intoFile(
  file: string,
  format: Format,
  fill: (writer: RowWriter) => Promise<number>,
): Promise<number> {
  const partial = `${file}.partial`;
  try {
    const writer = await writerFor(file === '-' ? file : partial, format);
    const rows = await fill(writer);
    await writer.end();
    if (file !== '-') await rename(partial, file);
    return rows;
  } catch (error) {
    if (file !== '-') await rm(partial, { force: true });
    throw error;
  }
}

async function writerFor(file: string, format: Format): Promise<RowWriter> {
  if (format === 'parquet') return (await import('../history/parquet.js')).parquetWriter(file);
  const { csvWriter, fileCsvWriter } = await import('../history/csv.js');
  return file === '-' ? csvWriter(process.stdout) : fileCsvWriter(file);
}

async function readRows(file: string, format: Format): Promise<AsyncIterable<Row>> {
  if (format === 'parquet') return (await import('../history/parquet.js')).readParquet(file);
  return (await import('../history/csv.js')).readCsv(file);
}

/** Rows that follow each other in one series and in time go together. */
export async function* messagesOf(
  rows: AsyncIterable<Row>,
  prefix: string,
): AsyncGenerator<ImportHistoryRequest> {
  let series = '';
  let points: { atMs: number; value: number }[] = [];
  for await (const { series: name, atMs, value } of rows) {
    const full = points.length === MESSAGE_POINTS || atMs < (points.at(-1)?.atMs ?? 0);
    if (points.length > 0 && (full || name !== series)) {
      yield { series: prefix + series, points };
      points = [];
    }
    series = name;
    points.push({ atMs: Math.round(atMs), value });
  }
  if (points.length > 0) yield { series: prefix + series, points };
}

function requireFormat(file: string, said: Format | undefined): Format {
  const format = formatOf(file, said);
  if (format === undefined)
    throw new CorecastError('INVALID_ARGUMENT', `${file} ends in neither .csv nor .parquet; say --format`);
  if (file === '-' && format === 'parquet')
    throw new CorecastError('INVALID_ARGUMENT', 'Parquet ends with an index and needs a file; "-" takes csv');
  return format;
}
