import { readdirSync } from 'node:fs';
import { numberIn, ProcFile, unreadable } from './proc-file.js';

/** Devices come and go rarely. */
const DEVICES_EVERY = 60;
const NOT_DISKS = /^(loop|ram|zram|sr|fd)\d+$/;

/** Share of time in which the busiest disk had a request in flight: /proc/diskstats, Documentation/admin-guide/iostats.rst. */
export class DiskCollector {
  readonly #file: ProcFile;
  readonly #sysRoot: string;
  #disks: ReadonlySet<string> = new Set();
  #reads = 0;
  #before: ReadonlyMap<string, number> = new Map();

  constructor(procRoot: string, sysRoot: string) {
    this.#file = new ProcFile(`${procRoot}/diskstats`);
    this.#sysRoot = sysRoot;
  }

  collect(elapsedS: number): number {
    if (this.#reads++ % DEVICES_EVERY === 0) this.#disks = wholeDisks(this.#sysRoot);
    const now = parseDisks(this.#file.read(), this.#file.path);
    const busy = busiestDisk(this.#before, now, this.#disks, elapsedS);
    this.#before = now;
    return busy;
  }

  close(): void {
    this.#file.close();
  }
}

/** Milliseconds with a request in flight (field 10 of the statistics) by device. */
export function parseDisks(text: string, file = 'diskstats'): Map<string, number> {
  const busyMs = new Map<string, number>();
  for (const [i, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const fields = line.trim().split(/\s+/);
    const name = fields[2];
    if (name === undefined) throw unreadable(file, i + 1, 'device name', line);
    busyMs.set(name, numberIn(file, i + 1, `io_ticks of ${name}`, fields[12]));
  }
  return busyMs;
}

export function busiestDisk(
  before: ReadonlyMap<string, number>,
  now: ReadonlyMap<string, number>,
  disks: ReadonlySet<string>,
  elapsedS: number,
): number {
  let busiest = 0;
  for (const [name, busyMs] of now) {
    const spent = busyMs - (before.get(name) ?? busyMs);
    // The counter is 32 bits and wraps: a step back is no time.
    if (disks.has(name) && elapsedS > 0) busiest = Math.max(busiest, Math.min(1, spent / 1000 / elapsedS));
  }
  return busiest;
}

/** /sys/block lists whole devices, partitions are below them. */
function wholeDisks(sysRoot: string): Set<string> {
  return new Set(readdirSync(`${sysRoot}/block`).filter((name) => !NOT_DISKS.test(name)));
}
