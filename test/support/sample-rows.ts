import { CPU_COLUMNS, PROCESS_COLUMNS, type ProcSample, THREAD_COLUMNS } from '../../src/lib/native.js';

type Row<Columns extends readonly string[]> = Record<Columns[number], number>;

/** Rows of a sample by column name: slow, but a test that fails can be read. */
export function processRows(sample: ProcSample): Row<typeof PROCESS_COLUMNS>[] {
  return rows(sample.processes, sample.processCount, PROCESS_COLUMNS);
}

export function threadRows(sample: ProcSample): Row<typeof THREAD_COLUMNS>[] {
  return rows(sample.threads, sample.threadCount, THREAD_COLUMNS);
}

export function cpuRows(sample: ProcSample): Row<typeof CPU_COLUMNS>[] {
  return rows(sample.cpus, sample.cpuCount, CPU_COLUMNS);
}

function rows<Columns extends readonly string[]>(values: Float64Array, count: number, columns: Columns) {
  return Array.from({ length: count }, (_, row) => {
    const named = columns.map((name, column) => [name, values[row * columns.length + column]]);
    return Object.fromEntries(named) as Row<Columns>;
  });
}
