import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { type ColumnSource, fileWriter, ParquetWriter, schemaFromColumnData } from 'hyparquet-writer';
import { CorecastError, invalidField, messageOf } from '../../lib/errors.js';
import { COLUMNS, type Row, type RowWriter } from './rows.js';

/** Rows in one group: what a reader skips or reads as a whole, and what is held in memory here. */
const GROUP_ROWS = 100_000;
const CREATED_BY = 'corecast';

/** One flat table: texts as dictionaries, times as TIMESTAMP (milliseconds, UTC), values as doubles; Snappy. */
export function parquetWriter(file: string): RowWriter {
  const schema = schemaFromColumnData({ columnData: columnsOf([]) });
  const writer = new ParquetWriter({ writer: fileWriter(file), schema, createdBy: CREATED_BY });
  let waiting: Row[] = [];
  const writeGroup = async () => {
    const rows = waiting;
    waiting = [];
    if (rows.length > 0) await writer.write({ columnData: columnsOf(rows), rowGroupSize: rows.length });
  };
  return {
    async write(rows) {
      for (const row of rows) {
        waiting.push(row);
        if (waiting.length === GROUP_ROWS) await writeGroup();
      }
    },
    async end() {
      await writeGroup();
      await writer.finish();
    },
  };
}

function columnsOf(rows: readonly Row[]): ColumnSource[] {
  const text = (name: 'host' | 'series' | 'unit'): ColumnSource => ({
    name,
    data: rows.map((row) => row[name]),
    type: 'STRING',
    nullable: false,
  });
  return [
    text('host'),
    text('series'),
    text('unit'),
    { name: 'time', data: rows.map(({ atMs }) => new Date(atMs)), type: 'TIMESTAMP', nullable: false },
    { name: 'value', data: rows.map(({ value }) => value), type: 'DOUBLE', nullable: false },
  ];
}

/** Rows of a table with the columns series, time and value, group by group; other columns are passed over. */
export async function* readParquet(path: string): AsyncGenerator<Row> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error) => {
    throw new CorecastError('INVALID_ARGUMENT', `${path} is not a Parquet file: ${messageOf(error)}`, {
      cause: error,
    });
  });
  const there = parquetSchema(metadata).children.map(({ element }) => element.name);
  for (const name of ['series', 'time', 'value'])
    if (!there.includes(name))
      throw invalidField(`columns of ${path}`, there.join(', '), `one named ${name}`);
  const columns = COLUMNS.filter((name) => there.includes(name));
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    for (const record of await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd }))
      yield rowOf(record);
    rowStart = rowEnd;
  }
}

function rowOf({ host, series, unit, time, value }: Record<string, unknown>): Row {
  const atMs = time instanceof Date ? time.getTime() : Number(time);
  if (typeof series !== 'string' || series === '')
    throw invalidField('series', series, 'the name of a series');
  if (!Number.isFinite(atMs)) throw invalidField('time', time, 'a timestamp, or unix milliseconds');
  return { host: String(host ?? ''), series, unit: String(unit ?? ''), atMs, value: Number(value) };
}
