import { PROCESS_COLUMNS, type ProcSample, THREAD_COLUMNS } from '../lib/native.js';
import { NO_SOCKETS, type ProcessIngress } from './ingress.js';
import { perSecond } from './proc-file.js';
import type { Pressure, ProcessSample, ThreadSample } from './sample.js';

const WIDTH = PROCESS_COLUMNS.length;
const process = (name: (typeof PROCESS_COLUMNS)[number]) => PROCESS_COLUMNS.indexOf(name);
const PID = process('pid');
const THREADS = process('threads');
const USER = process('userSeconds');
const SYSTEM = process('systemSeconds');
const WAIT = process('waitSeconds');
const RSS = process('rssBytes');
const MAJOR_FAULTS = process('majorFaults');
const SWITCHES = process('switches');
const WIDEST_MASK = process('widestMask');
const THREADS_READ = process('threadsRead');
const THREAD_WIDTH = THREAD_COLUMNS.length;
const thread = (name: (typeof THREAD_COLUMNS)[number]) => THREAD_COLUMNS.indexOf(name);
const THREAD_PID = thread('pid');
const THREAD_TID = thread('tid');
const THREAD_CPU = thread('cpu');
const THREAD_SECONDS = thread('cpuSeconds');
const THREAD_RAN = thread('ranSeconds');
const THREAD_WAIT = thread('waitSeconds');
const THREAD_SWITCHES = thread('switches');
const THREAD_MASK = thread('maskCpus');

/** What other collectors know of a process. */
export interface ProcessFacts {
  readonly ingress: ProcessIngress | undefined;
  readonly pressure: Pressure | undefined;
}

/** One process, as it was when its threads were read last. */
interface Known {
  cpuSeconds: number;
  majorFaults: number;
  /** Since its threads were read. */
  sinceS: number;
  waitSeconds: number;
  switches: number;
  waitCores: number;
  switchesPerS: number;
  busiestThreadCores: number;
  /** CPU seconds of its threads by the CPU they were seen on, between their two latest reads; and their sum. */
  byCpu: ReadonlyMap<number, number>;
  byCpuSum: number;
  widestMask: number;
  /** Of its rows: what threads() tells. */
  rows: Float64Array;
  rowsSpanS: number;
}

/**
 * What each tracked process used since the tick before. The sum is the process' own (threads that ended meanwhile are in
 * it); the split by CPU is of the threads alive now, each charged to the CPU it was last seen on. The first tick of a
 * process only sets its mark: its rates are 0.
 *
 * The sampler reads threads in turn. In ticks that pass a process over its split, scaled to what it used, and the other
 * numbers of its threads are those of its last turn.
 */
export class ProcessCollector {
  #known = new Map<number, Known>();

  collect(
    sample: ProcSample,
    elapsedS: number,
    factsOf: (pid: number) => ProcessFacts,
  ): ReadonlyMap<number, ProcessSample> {
    const found = new Map<number, ProcessSample>();
    const now = new Map<number, Known>();
    const firstRows = firstRowsByPid(sample);
    for (let i = 0; i < sample.processCount; i++) {
      const row = sample.processes.subarray(i * WIDTH, (i + 1) * WIDTH);
      const pid = row[PID]!;
      const before = this.#known.get(pid);
      const known = before ?? newlyKnown(row);
      now.set(pid, known);
      known.sinceS += elapsedS;
      if (row[THREADS_READ] === 1) {
        const rows = rowsOf(sample, pid, firstRows.get(pid) ?? 0);
        readThreads(known, row, rows, before === undefined ? 0 : known.sinceS);
      }
      found.set(pid, sampleOf(known, row, before === undefined ? 0 : elapsedS, factsOf(pid)));
    }
    this.#known = now;
    return found;
  }

  /** As they were read last; empty for a process that is not sampled. */
  threads(pid: number): ThreadSample[] {
    const known = this.#known.get(pid);
    if (known === undefined) return [];
    const { rows, rowsSpanS } = known;
    return Array.from({ length: rows.length / THREAD_WIDTH }, (_, i) => {
      const column = (index: number) => rows[i * THREAD_WIDTH + index]!;
      return {
        tid: column(THREAD_TID),
        cpu: column(THREAD_CPU),
        cores: perSecond(0, column(THREAD_RAN), rowsSpanS),
        cpuSeconds: column(THREAD_SECONDS),
        waitSeconds: column(THREAD_WAIT),
        switches: column(THREAD_SWITCHES),
        maskCpus: column(THREAD_MASK),
      };
    });
  }
}

function newlyKnown(row: Float64Array): Known {
  return {
    cpuSeconds: row[USER]! + row[SYSTEM]!,
    majorFaults: row[MAJOR_FAULTS]!,
    sinceS: 0,
    waitSeconds: row[WAIT]!,
    switches: row[SWITCHES]!,
    waitCores: 0,
    switchesPerS: 0,
    busiestThreadCores: 0,
    byCpu: NONE,
    byCpuSum: 0,
    widestMask: Number.NaN,
    rows: NO_ROWS,
    rowsSpanS: 0,
  };
}

/** `spanS`: since the last time; 0 at the first, whose threads bring all that they ever ran. */
function readThreads(known: Known, row: Float64Array, rows: Float64Array, spanS: number): void {
  const [waitSeconds, switches, mask] = [row[WAIT]!, row[SWITCHES]!, row[WIDEST_MASK]!];
  known.waitCores = perSecond(known.waitSeconds, waitSeconds, spanS);
  known.switchesPerS = perSecond(known.switches, switches, spanS);
  known.waitSeconds = waitSeconds;
  known.switches = switches;
  known.widestMask = mask < 0 ? Number.NaN : mask;
  known.sinceS = 0;
  if (known.rows.length === rows.length) known.rows.set(rows);
  else known.rows = rows.slice();
  known.rowsSpanS = spanS;
  if (spanS <= 0) return;
  const byCpu = new Map<number, number>();
  let most = 0;
  let sum = 0;
  for (let at = 0; at < rows.length; at += THREAD_WIDTH) {
    const ran = rows[at + THREAD_RAN]!;
    const cpu = rows[at + THREAD_CPU]!;
    if (ran === 0 || cpu < 0) continue;
    byCpu.set(cpu, (byCpu.get(cpu) ?? 0) + ran);
    sum += ran;
    if (ran > most) most = ran;
  }
  known.byCpu = byCpu;
  known.byCpuSum = sum;
  known.busiestThreadCores = most / spanS;
}

function sampleOf(
  known: Known,
  row: Float64Array,
  elapsedS: number,
  { ingress, pressure }: ProcessFacts,
): ProcessSample {
  const cpuSeconds = row[USER]! + row[SYSTEM]!;
  const cores = perSecond(known.cpuSeconds, cpuSeconds, elapsedS);
  const majorFaultsPerS = perSecond(known.majorFaults, row[MAJOR_FAULTS]!, elapsedS);
  known.cpuSeconds = cpuSeconds;
  known.majorFaults = row[MAJOR_FAULTS]!;
  return {
    pid: row[PID]!,
    cores,
    coresByCpu: splitByCpu(known, cores, row[THREADS_READ] === 1),
    waitCores: known.waitCores,
    busiestThreadCores: known.busiestThreadCores,
    switchesPerS: known.switchesPerS,
    cpuSeconds,
    threads: row[THREADS]!,
    widestMask: known.widestMask,
    rssBytes: row[RSS]!,
    majorFaultsPerS,
    ingressBps: ingress?.bps ?? Number.NaN,
    sockets: ingress?.sockets ?? NO_SOCKETS,
    pressure,
  };
}

/** Just read every tick, the threads' own nanoseconds say it; else `cores`, whose clock ticks are coarser, is shared out. */
function splitByCpu(known: Known, cores: number, justRead: boolean): ReadonlyMap<number, number> {
  if (known.byCpuSum === 0) return NONE;
  const scale = justRead && known.rowsSpanS > 0 ? 1 / known.rowsSpanS : cores / known.byCpuSum;
  const split = new Map<number, number>();
  for (const [cpu, seconds] of known.byCpu) split.set(cpu, seconds * scale);
  return split;
}

/** Rows of a process stand together, but not in the order of the processes: those watched closely come first. */
function firstRowsByPid({ threads, threadCount }: ProcSample): ReadonlyMap<number, number> {
  const first = new Map<number, number>();
  let last = -1;
  for (let row = 0; row < threadCount; row++) {
    const pid = threads[row * THREAD_WIDTH + THREAD_PID]!;
    if (pid !== last) first.set(pid, row);
    last = pid;
  }
  return first;
}

function rowsOf({ threads, threadCount }: ProcSample, pid: number, first: number): Float64Array {
  let end = first;
  while (end < threadCount && threads[end * THREAD_WIDTH + THREAD_PID] === pid) end++;
  return threads.subarray(first * THREAD_WIDTH, end * THREAD_WIDTH);
}

const NONE: ReadonlyMap<number, number> = new Map();
const NO_ROWS = new Float64Array(0);
