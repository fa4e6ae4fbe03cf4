import { CPU_COLUMNS } from '../lib/native.js';

const WIDTH = CPU_COLUMNS.length;
const CPU = CPU_COLUMNS.indexOf('cpu');
const IDLE = [CPU_COLUMNS.indexOf('idle'), CPU_COLUMNS.indexOf('iowait')];

/** Busy share of each CPU between two reads of /proc/stat. */
export class CpuCollector {
  #before = new Map<number, Float64Array>();
  #busy = new Map<number, number>();

  /**
   * `rows`: `count` rows of CPU_COLUMNS. A CPU that was not there before has no share until the next read; one that is
   * gone is forgotten.
   */
  collect(rows: Float64Array, count: number): ReadonlyMap<number, number> {
    const now = new Map<number, Float64Array>();
    const busy = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const row = rows.slice(i * WIDTH, (i + 1) * WIDTH);
      const cpu = row[CPU]!;
      now.set(cpu, row);
      const before = this.#before.get(cpu);
      if (before === undefined) continue;
      const share = busyShare(before, row) ?? this.#busy.get(cpu);
      if (share !== undefined) busy.set(cpu, share);
    }
    this.#before = now;
    this.#busy = busy;
    return busy;
  }
}

/**
 * Everything but idle and iowait is busy, steal too: what the hypervisor took is not there for channels. idle and iowait
 * may go backwards (Documentation/filesystems/proc.rst): a step back counts as none. undefined when no time passed.
 */
export function busyShare(before: Float64Array, now: Float64Array): number | undefined {
  let busy = 0;
  let idle = 0;
  for (let column = CPU + 1; column < WIDTH; column++) {
    const spent = Math.max(0, now[column]! - before[column]!);
    if (IDLE.includes(column)) idle += spent;
    else busy += spent;
  }
  return busy + idle === 0 ? undefined : busy / (busy + idle);
}
