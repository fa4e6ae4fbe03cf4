import { PROCESS_COLUMNS, type ProcSample, THREAD_COLUMNS } from '../lib/native.js';
import type { ProcessSample } from './sample.js';

const WIDTH = PROCESS_COLUMNS.length;
const PID = PROCESS_COLUMNS.indexOf('pid');
const THREADS = PROCESS_COLUMNS.indexOf('threads');
const USER = PROCESS_COLUMNS.indexOf('userSeconds');
const SYSTEM = PROCESS_COLUMNS.indexOf('systemSeconds');
const WAIT = PROCESS_COLUMNS.indexOf('waitSeconds');
const RSS = PROCESS_COLUMNS.indexOf('rssBytes');
const THREAD_WIDTH = THREAD_COLUMNS.length;
const THREAD_PID = THREAD_COLUMNS.indexOf('pid');
const THREAD_TID = THREAD_COLUMNS.indexOf('tid');
const THREAD_CPU = THREAD_COLUMNS.indexOf('cpu');
const THREAD_SECONDS = THREAD_COLUMNS.indexOf('cpuSeconds');

interface Before {
  readonly cpuSeconds: number;
  readonly waitSeconds: number;
}

/**
 * What each tracked process used since the tick before. The sum is the process' own (threads that ended meanwhile are in
 * it); the split by CPU is of the threads alive now, each charged to the CPU it was last seen on. The first tick of a
 * process only sets its mark: its rates are 0.
 */
export class ProcessCollector {
  #before = new Map<number, Before>();
  readonly #threadsBefore = new ThreadMarks();

  collect(
    sample: ProcSample,
    elapsedS: number,
    ingressBps: (pid: number) => number,
  ): ReadonlyMap<number, ProcessSample> {
    const byCpu = this.#coresByCpu(sample, elapsedS);
    const found = new Map<number, ProcessSample>();
    const now = new Map<number, Before>();
    for (let i = 0; i < sample.processCount; i++) {
      const column = (index: number) => sample.processes[i * WIDTH + index]!;
      const pid = column(PID);
      const cpuSeconds = column(USER) + column(SYSTEM);
      const waitSeconds = column(WAIT);
      const before = this.#before.get(pid);
      now.set(pid, { cpuSeconds, waitSeconds });
      found.set(pid, {
        pid,
        cores: rate(before?.cpuSeconds, cpuSeconds, elapsedS),
        coresByCpu: (before !== undefined && byCpu.get(pid)) || NONE,
        // The sum is over threads alive now: when one ends it may step back.
        waitCores: rate(before?.waitSeconds, waitSeconds, elapsedS),
        cpuSeconds,
        threads: column(THREADS),
        rssBytes: column(RSS),
        ingressBps: ingressBps(pid),
      });
    }
    this.#before = now;
    return found;
  }

  #coresByCpu({ threads, threadCount }: ProcSample, elapsedS: number): Map<number, Map<number, number>> {
    const byPid = new Map<number, Map<number, number>>();
    const before = this.#threadsBefore;
    let lastPid = -1;
    let byCpu = new Map<number, number>();
    for (let row = 0; row < threadCount * THREAD_WIDTH; row += THREAD_WIDTH) {
      const seconds = threads[row + THREAD_SECONDS]!;
      // A thread born since the last tick brings all its time; a smaller number than before is another thread's.
      const mark = before.secondsOf(threads[row + THREAD_TID]!, row);
      const spent = seconds >= mark ? seconds - mark : seconds;
      const cpu = threads[row + THREAD_CPU]!;
      if (spent === 0 || cpu < 0 || elapsedS <= 0) continue;
      const pid = threads[row + THREAD_PID]!;
      if (pid !== lastPid) {
        byCpu = byPid.get(pid) ?? new Map();
        byPid.set(pid, byCpu);
        lastPid = pid;
      }
      byCpu.set(cpu, (byCpu.get(cpu) ?? 0) + spent / elapsedS);
    }
    before.replace(threads, threadCount);
    return byPid;
  }
}

/** The thread rows of the tick before. Rows rarely move, so most are found where they were; a map serves the others. */
class ThreadMarks {
  #rows = new Float64Array(0);
  #length = 0;
  #byTid: Map<number, number> | undefined;

  /** CPU seconds that thread `tid`, now at `row`, had; 0 for a new one. */
  secondsOf(tid: number, row: number): number {
    if (row < this.#length && this.#rows[row + THREAD_TID] === tid) return this.#rows[row + THREAD_SECONDS]!;
    this.#byTid ??= this.#index();
    return this.#byTid.get(tid) ?? 0;
  }

  replace(threads: Float64Array, count: number): void {
    this.#length = count * THREAD_WIDTH;
    if (this.#rows.length < this.#length) this.#rows = new Float64Array(threads.length);
    this.#rows.set(threads.subarray(0, this.#length));
    this.#byTid = undefined;
  }

  #index(): Map<number, number> {
    const byTid = new Map<number, number>();
    for (let row = 0; row < this.#length; row += THREAD_WIDTH)
      byTid.set(this.#rows[row + THREAD_TID]!, this.#rows[row + THREAD_SECONDS]!);
    return byTid;
  }
}

const NONE: ReadonlyMap<number, number> = new Map();

function rate(before: number | undefined, now: number, elapsedS: number): number {
  return before === undefined || elapsedS <= 0 ? 0 : Math.max(0, now - before) / elapsedS;
}
