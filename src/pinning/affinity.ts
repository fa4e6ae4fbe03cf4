import { type Cpuset, isSubset, sameCpuset, union } from '../lib/cpuset.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';
import { checkCpus, kernelError } from './kernel-error.js';
import type { Pinning, PinResult, ThreadMask } from './pinning.js';
import { Repairs, type RepairsOptions } from './repairs.js';
import { expectSame } from './same-process.js';

/** How often threads that keep leaving their CPUs are brought back within one call. The next tick tries again. */
const MAX_REPAIRS = 3;

export interface AffinityOptions extends Partial<RepairsOptions> {
  readonly addon: HostAddon;
  /** Why cgroups are not used. */
  readonly reason?: string;
}

/** Pinning through sched_setaffinity(2), thread by thread. */
export function createPinning(options: AffinityOptions): Pinning {
  const { addon } = options;
  const repairs = new Repairs({ procRoot: '/proc', sysRoot: '/sys', runRoot: '/run', ...options });
  const known = (process: ProcessRef, result: PinResult) => {
    repairs.pinned(process);
    return result;
  };
  return {
    backend: () => ({ kind: 'affinity', reason: options.reason ?? 'no cgroup was asked for', ownCpusets: 0 }),
    pin: (process, cpus) =>
      known(
        process,
        guarded(addon, process, cpus, () => pin(addon, process, cpus)),
      ),
    verify: (process, cpus) =>
      known(
        process,
        guarded(addon, process, cpus, () => readBack(addon, process, cpus)),
      ),
    repair(process, cpus) {
      checkCpus(cpus);
      try {
        return repairs.repair(process, cpus);
      } catch (error) {
        throw kernelError(error, process.pid, cpus);
      }
    },
    masks: (process) =>
      guarded(addon, process, undefined, () =>
        addon.getProcessAffinity(process.pid).map((thread) => ({ ...thread, verified: true })),
      ),
    forget: (process) => repairs.forget(process),
  };
}

/**
 * Moves a process to other CPUs:
 *
 * 1. Read what every thread has.
 * 2. Widen: if a thread has anything outside the new CPUs, all get the union of the present ones and the new ones. Until
 *    the last thread has moved, work can run on either side, so no thread waits for one that still is on the other.
 * 3. Narrow: every thread gets the new CPUs. A thread that is born meanwhile inherits from one that was not yet done;
 *    the addon looks through the threads until a pass finds none to change.
 * 4. Read every thread back, and bring in again what has left since. libx265's pool threads do: they ask libnuma for the
 *    CPUs of their node.
 *
 * Before the first step and after the last, the pid must still be the process that started at `startTicks`.
 */
function pin(addon: HostAddon, process: ProcessRef, cpus: Cpuset): PinResult {
  const present = addon.getProcessAffinity(process.pid);
  const moving = present.filter((thread) => !sameCpuset(thread.cpus, cpus));
  if (moving.length > 0) {
    const wide = moving.reduce<Cpuset>((all, thread) => union(all, thread.cpus), cpus);
    if (!sameCpuset(wide, cpus)) addon.setProcessAffinity(process.pid, wide);
  }
  addon.setProcessAffinity(process.pid, cpus);
  const after = readBack(addon, process, cpus);
  return { threads: after.threads, repaired: moving.length + after.repaired };
}

/** Reads every thread, brings back those outside, and reads again until all are within or MAX_REPAIRS is reached. */
function readBack(addon: HostAddon, process: ProcessRef, cpus: Cpuset): PinResult {
  let repaired = 0;
  for (let attempt = 0; ; attempt++) {
    const threads = addon.getProcessAffinity(process.pid).map(
      (thread): ThreadMask => ({
        ...thread,
        verified: isSubset(thread.cpus, cpus),
      }),
    );
    if (attempt === MAX_REPAIRS || threads.every((thread) => thread.verified)) return { threads, repaired };
    repaired += addon.confineProcess(process.pid, cpus).changed;
  }
}

function guarded<T>(addon: HostAddon, process: ProcessRef, cpus: Cpuset | undefined, change: () => T): T {
  if (cpus !== undefined) checkCpus(cpus);
  try {
    expectSame(addon, process);
    const result = change();
    expectSame(addon, process);
    return result;
  } catch (error) {
    throw kernelError(error, process.pid, cpus);
  }
}
