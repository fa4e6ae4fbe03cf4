/** One sample of one host's history, as files carry it. */
export interface Row {
  readonly host: string;
  readonly series: string;
  readonly unit: string;
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly value: number;
}

/** The columns of exported files, in order. */
export const COLUMNS = ['host', 'series', 'unit', 'time', 'value'] as const;

export type Format = 'csv' | 'parquet';

/** By the file's ending unless it is said; undefined when neither tells. */
export function formatOf(file: string, said: Format | undefined): Format | undefined {
  if (said !== undefined) return said;
  if (file === '-') return 'csv';
  const ending = /\.(csv|parquet)$/i.exec(file)?.[1]?.toLowerCase();
  return ending as Format | undefined;
}

/** Takes rows and keeps its promises: what it cannot take at once makes the giver wait. */
export interface RowWriter {
  write(rows: readonly Row[]): Promise<void>;
  end(): Promise<void>;
}
