import {
  CPU_COLUMNS,
  PROCESS_COLUMNS,
  type ProcSample,
  type ProcSampler,
  THREAD_COLUMNS,
} from '../../src/lib/native.js';

type Row<Columns extends readonly string[]> = Partial<Record<Columns[number], number>>;

export interface Rows {
  readonly processes?: readonly Row<typeof PROCESS_COLUMNS>[];
  readonly threads?: readonly Row<typeof THREAD_COLUMNS>[];
  readonly cpus?: readonly Row<typeof CPU_COLUMNS>[];
}

/** Rows as the addon hands them out. */
export function procSample({ processes = [], threads = [], cpus = [] }: Rows): ProcSample {
  const flat = (columns: readonly string[], rows: readonly Record<string, number | undefined>[]) =>
    Float64Array.from(rows.flatMap((row) => columns.map((column) => row[column] ?? 0)));
  return {
    processes: flat(
      PROCESS_COLUMNS,
      processes.map((row) => ({ threadsRead: 1, ...row })),
    ),
    processCount: processes.length,
    threads: flat(THREAD_COLUMNS, threads),
    threadCount: threads.length,
    cpus: flat(CPU_COLUMNS, cpus),
    cpuCount: cpus.length,
  };
}

/** A sampler at the addon's boundary that gives the rows it is told to. */
export class FakeSampler implements ProcSampler {
  rows: Rows | Error = {};
  readonly added = new Map<number, number>();
  readonly closely = new Set<number>();
  /** As each call gave them. */
  readonly maxThreads: (number | undefined)[] = [];
  closed = false;

  add(pid: number, startTicks: number): void {
    if (startTicks === 0)
      throw Object.assign(new Error('no such process'), { code: 'ESRCH', syscall: 'open' });
    this.added.set(pid, startTicks);
  }

  remove(pid: number): void {
    this.added.delete(pid);
  }

  watchClosely(pid: number, closely: boolean): void {
    if (closely) this.closely.add(pid);
    else this.closely.delete(pid);
  }

  sample(maxThreads?: number): ProcSample {
    this.maxThreads.push(maxThreads);
    if (this.rows instanceof Error) throw this.rows;
    return procSample(this.rows);
  }

  close(): void {
    this.closed = true;
  }
}
