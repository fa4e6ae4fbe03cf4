import { join } from 'node:path';
import type { Cpuset } from '../lib/cpuset.js';
import type { Confiner, HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';
import { readCgroupCpus, readCpus, systemdReloadedMs } from './cgroup-files.js';
import { type CgroupCpus, explainDrift, explainRefusal } from './drift.js';
import type { Repair } from './pinning.js';

export interface RepairsOptions {
  readonly addon: Pick<HostAddon, 'openConfiner'>;
  /** Usually "/proc", "/sys" and "/run". */
  readonly procRoot: string;
  readonly sysRoot: string;
  readonly runRoot: string;
}

interface Known {
  readonly startTicks: number;
  /** When all its threads were last seen in order, milliseconds of performance.now(). */
  seenMs: number;
  cgroup: CgroupCpus | undefined;
}

/**
 * The check of every tick. In order, it costs one look at each thread's mask; only where something is wrong are names,
 * ages and cgroups read.
 */
export class Repairs {
  readonly #options: RepairsOptions;
  readonly #known = new Map<number, Known>();
  #confiner: Confiner | undefined;

  constructor(options: RepairsOptions) {
    this.#options = options;
  }

  /** All threads are on their CPUs now: what is found from here on happened since. */
  pinned({ pid, startTicks }: ProcessRef): void {
    this.#known.set(pid, { startTicks, seenMs: performance.now(), cgroup: this.#cgroupOf(pid) });
  }

  repair(process: ProcessRef, wanted: Cpuset): Repair {
    const { pid, startTicks } = process;
    const known = this.#knownOf(process);
    try {
      const outcome = this.#opened().confine(pid, startTicks, wanted);
      const { threads, changed, strays } = outcome;
      const lookedMs = performance.now();
      const sinceSeconds = (lookedMs - known.seenMs) / 1000;
      known.seenMs = lookedMs;
      if (changed === 0) return { threads, repaired: 0 };
      const cgroup = this.#cgroupOf(pid);
      const drift = explainDrift({
        ...{ wanted, threads, changed, strays, sinceSeconds, cgroup },
        cgroupBefore: known.cgroup,
        reloadedSeconds: this.#reloadedSeconds(),
      });
      known.cgroup = cgroup;
      return { threads, repaired: changed, drift };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      // Nothing can be repaired until the CPUs or the reservation change; the caller is told why.
      const online = readCpus(join(this.#options.sysRoot, 'devices/system/cpu/online')) ?? wanted;
      return { threads: 0, repaired: 0, drift: explainRefusal(wanted, 0, this.#cgroupOf(pid), online) };
    }
  }

  forget({ pid, startTicks }: ProcessRef): void {
    if (this.#known.get(pid)?.startTicks !== startTicks) return;
    this.#known.delete(pid);
    this.#confiner?.forget(pid);
  }

  #knownOf(process: ProcessRef): Known {
    const known = this.#known.get(process.pid);
    if (known?.startTicks === process.startTicks) return known;
    this.pinned(process);
    return this.#known.get(process.pid)!;
  }

  #opened(): Confiner {
    this.#confiner ??= this.#options.addon.openConfiner();
    return this.#confiner;
  }

  #cgroupOf(pid: number): CgroupCpus | undefined {
    const { procRoot, sysRoot } = this.#options;
    return readCgroupCpus({ procRoot, cgroupRoot: join(sysRoot, 'fs/cgroup') }, pid);
  }

  #reloadedSeconds(): number | undefined {
    const reloadedMs = systemdReloadedMs(this.#options.runRoot);
    return reloadedMs === undefined ? undefined : (Date.now() - reloadedMs) / 1000;
  }
}
