import { readdirSync } from 'node:fs';
import { numberIn, ProcFile, perSecond, unreadable } from './proc-file.js';

/** Devices come and go rarely. */
const DEVICES_EVERY = 60;
/** After the two numbers of the device; partitions and loops outnumber disks, and are passed over by it. */
const NAME = /^\s*\d+\s+\d+\s+(\S+)/;
const NOT_DISKS = /^(loop|ram|zram|sr|fd)\d+$/;
/** Of /proc/diskstats, whatever the device's own are. */
const SECTOR_BYTES = 512;
/** The two times are 32 bits of milliseconds in the kernel (unsigned int), and wrap after 49 days. */
const WRAP_MS = 2 ** 32;

export interface DiskUse {
  readonly readBytesPerS: number;
  readonly writtenBytesPerS: number;
  /** Share 0-1 of time in which it had a request in flight. */
  readonly busy: number;
  /** Mean number of requests in flight. */
  readonly queue: number;
}

/** Cumulative. */
export interface DiskCounters {
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly busyMs: number;
  /** Milliseconds times requests in flight. */
  readonly queuedMs: number;
}

/** Whole disks of /proc/diskstats, Documentation/admin-guide/iostats.rst. */
export class DiskCollector {
  readonly #file: ProcFile;
  readonly #sysRoot: string;
  #disks: ReadonlySet<string> = new Set();
  #reads = 0;
  #before: ReadonlyMap<string, DiskCounters> = new Map();

  constructor(procRoot: string, sysRoot: string) {
    this.#file = new ProcFile(`${procRoot}/diskstats`);
    this.#sysRoot = sysRoot;
  }

  collect(elapsedS: number): ReadonlyMap<string, DiskUse> {
    if (this.#reads++ % DEVICES_EVERY === 0) this.#disks = wholeDisks(this.#sysRoot);
    const now = parseDisks(this.#file.read(), this.#disks, this.#file.path);
    const use = diskUse(this.#before, now, elapsedS);
    this.#before = now;
    return use;
  }

  close(): void {
    this.#file.close();
  }
}

export function parseDisks(
  text: string,
  disks: ReadonlySet<string>,
  file = 'diskstats',
): Map<string, DiskCounters> {
  const found = new Map<string, DiskCounters>();
  for (const [i, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const name = NAME.exec(line)?.[1];
    if (name === undefined) throw unreadable(file, i + 1, 'device name', line);
    if (!disks.has(name)) continue;
    const fields = line.trim().split(/\s+/);
    const field = (item: string, index: number) => numberIn(file, i + 1, `${item} of ${name}`, fields[index]);
    found.set(name, {
      readBytes: field('sectors read', 5) * SECTOR_BYTES,
      writtenBytes: field('sectors written', 9) * SECTOR_BYTES,
      busyMs: field('io_ticks', 12),
      queuedMs: field('time_in_queue', 13),
    });
  }
  return found;
}

/** Of the disks that were there before. */
export function diskUse(
  before: ReadonlyMap<string, DiskCounters>,
  now: ReadonlyMap<string, DiskCounters>,
  elapsedS: number,
): Map<string, DiskUse> {
  const use = new Map<string, DiskUse>();
  for (const [name, counters] of now) {
    const last = before.get(name);
    if (last === undefined) continue;
    use.set(name, {
      readBytesPerS: perSecond(last.readBytes, counters.readBytes, elapsedS),
      writtenBytesPerS: perSecond(last.writtenBytes, counters.writtenBytes, elapsedS),
      busy: Math.min(1, secondsSpent(last.busyMs, counters.busyMs, elapsedS)),
      queue: secondsSpent(last.queuedMs, counters.queuedMs, elapsedS),
    });
  }
  return use;
}

/** The share of the busiest. */
export function busiest(disks: ReadonlyMap<string, DiskUse>): number {
  let most = 0;
  for (const { busy } of disks.values()) most = Math.max(most, busy);
  return most;
}

/** A step back is a wrap when what it then means could have been; else a device that was made anew. */
function secondsSpent(before: number, now: number, elapsedS: number): number {
  const wrapped = now + WRAP_MS - before;
  const step = now >= before ? now - before : wrapped <= elapsedS * 1000 * MOST_REQUESTS ? wrapped : 0;
  return perSecond(0, step / 1000, elapsedS);
}

/** In flight at once; what a step back would have to exceed to be no wrap. */
const MOST_REQUESTS = 1_024;

/** /sys/block lists whole devices, partitions are below them. */
function wholeDisks(sysRoot: string): Set<string> {
  return new Set(readdirSync(`${sysRoot}/block`).filter((name) => !NOT_DISKS.test(name)));
}
