import { CPU_COLUMNS } from '../lib/native.js';

const WIDTH = CPU_COLUMNS.length;
const column = (name: (typeof CPU_COLUMNS)[number]) => CPU_COLUMNS.indexOf(name);
const CPU = column('cpu');
const USER = column('user');
const SYSTEM = column('system');
const IDLE = column('idle');
const IOWAIT = column('iowait');
const IRQ = column('irq');
const STEAL = column('steal');

/** Shares 0-1 of a CPU's time. What `busy` has beyond the other three is interrupts. */
export interface CpuUse {
  /** Everything but idle and iowait; steal too: what the hypervisor took is not there for channels. */
  readonly busy: number;
  readonly user: number;
  readonly system: number;
  readonly steal: number;
  readonly iowait: number;
}

/** What each CPU did between two reads of /proc/stat. */
export class CpuCollector {
  #before = new Map<number, Float64Array>();
  #use: ReadonlyMap<number, CpuUse> = new Map();

  /**
   * `rows`: `count` rows of CPU_COLUMNS. A CPU that was not there before has no share until the next read; one that is
   * gone is forgotten.
   */
  collect(rows: Float64Array, count: number): ReadonlyMap<number, CpuUse> {
    const now = new Map<number, Float64Array>();
    const found = new Map<number, CpuUse>();
    for (let i = 0; i < count; i++) {
      const row = rows.slice(i * WIDTH, (i + 1) * WIDTH);
      const cpu = row[CPU]!;
      now.set(cpu, row);
      const before = this.#before.get(cpu);
      if (before === undefined) continue;
      const use = useBetween(before, row) ?? this.#use.get(cpu);
      if (use !== undefined) found.set(cpu, use);
    }
    this.#before = now;
    this.#use = found;
    return found;
  }
}

/**
 * idle and iowait may go backwards (Documentation/filesystems/proc.rst): a step back counts as none. undefined when no time
 * passed.
 */
export function useBetween(before: Float64Array, now: Float64Array): CpuUse | undefined {
  const spent = (index: number) => Math.max(0, now[index]! - before[index]!);
  const [user, system, steal, iowait] = [spent(USER), spent(SYSTEM), spent(STEAL), spent(IOWAIT)];
  const busy = user + system + steal + spent(IRQ);
  const all = busy + iowait + spent(IDLE);
  if (all === 0) return undefined;
  return {
    busy: busy / all,
    user: user / all,
    system: system / all,
    steal: steal / all,
    iowait: iowait / all,
  };
}
