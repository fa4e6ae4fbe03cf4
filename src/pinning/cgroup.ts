import { type Cpuset, formatCpuset, sameCpuset, union } from '../lib/cpuset.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';
import type { CgroupRoots } from './cgroup-files.js';
import { type ChannelCgroup, openChannelCgroup } from './channel-cgroup.js';
import { checkCpus, kernelError } from './kernel-error.js';
import type { Pinning, PinResult, Repair } from './pinning.js';
import { expectSame, isSame } from './same-process.js';

export interface CgroupPinningOptions {
  readonly addon: Pick<HostAddon, 'startTicks'>;
  /** Sets masks within the cpuset, and all there is to do for processes without one. */
  readonly affinity: Pinning;
  readonly roots: CgroupRoots;
  /** Why new channels shall not get a cpuset of their own; those that have one are kept by it all the same. */
  readonly notAsked?: string;
  /** A process is pinned, and has no cpuset of its own. */
  readonly onWithout?: (process: ProcessRef, why: string) => void;
}

interface Held {
  readonly startTicks: number;
  /** A string says why it is held by its affinity only. */
  readonly cgroup: ChannelCgroup | string;
  /** What the kernel grants at present and was found to be all that it can, though it is not what was asked for. */
  granted: string;
}

/**
 * Pinning by a cpuset of the channel's own where its process is in one, and by affinity within; by affinity alone where
 * it is not. No thread can leave a cpuset, whatever it asks for.
 */
export function createCgroupPinning(options: CgroupPinningOptions): Pinning {
  const { addon, affinity, roots, notAsked } = options;
  const held = new Map<number, Held>();

  const forget = ({ pid, startTicks }: ProcessRef) => {
    const known = held.get(pid);
    if (known === undefined || known.startTicks !== startTicks) return;
    if (typeof known.cgroup !== 'string') known.cgroup.close();
    held.delete(pid);
  };
  /** Its cgroup as it is now: the process may have been moved. */
  const look = (process: ProcessRef): Held => {
    forget(process);
    const found = openChannelCgroup(roots, process.pid);
    const holder = typeof found === 'string' ? undefined : holderOf(found.path);
    if (typeof found !== 'string' && holder !== undefined) found.close();
    const cgroup = holder === undefined ? found : `its cgroup is that of process ${holder}`;
    const now: Held = { startTicks: process.startTicks, cgroup, granted: '' };
    held.set(process.pid, now);
    return now;
  };
  /** The process that is held by this cgroup and lives; one that was replaced in it, at a change of rung, does not. */
  const holderOf = (path: string): number | undefined => {
    for (const [pid, { startTicks, cgroup }] of held) {
      if (typeof cgroup === 'string' || cgroup.path !== path) continue;
      if (isSame(addon, { pid, startTicks })) return pid;
      forget({ pid, startTicks });
    }
    return undefined;
  };
  /** Runs `change` with the process's own cgroup; without one, or when it vanishes meanwhile, `otherwise`. */
  const within = <T>(
    process: ProcessRef,
    cpus: Cpuset,
    now: Held,
    change: (cgroup: ChannelCgroup) => T,
    otherwise: () => T,
  ): T => {
    if (typeof now.cgroup === 'string') return otherwise();
    try {
      return change(now.cgroup);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw kernelError(error, process.pid, cpus);
      look(process);
      return otherwise();
    }
  };

  return {
    backend() {
      const all = [...held.values()];
      const ownCpusets = all.filter(({ cgroup }) => typeof cgroup !== 'string').length;
      if (notAsked !== undefined) return { kind: 'affinity', reason: notAsked, ownCpusets };
      return { kind: 'cgroup', reason: reasonOf(all), ownCpusets };
    },
    pin(process, cpus) {
      checkCpus(cpus);
      const now = look(process);
      if (typeof now.cgroup === 'string') options.onWithout?.(process, now.cgroup);
      return within(
        process,
        cpus,
        now,
        (cgroup) => {
          expectSame(addon, process);
          return move(affinity, cgroup, process, cpus);
        },
        () => affinity.pin(process, cpus),
      );
    },
    verify(process, cpus) {
      checkCpus(cpus);
      return within(
        process,
        cpus,
        look(process),
        (cgroup) => {
          expectSame(addon, process);
          if (sameCpuset(cgroup.cpus(), cpus)) return affinity.verify(process, cpus);
          const { threads, repaired } = move(affinity, cgroup, process, cpus);
          return { threads, repaired: Math.max(repaired, threads.length) };
        },
        () => affinity.verify(process, cpus),
      );
    },
    repair(process, cpus) {
      checkCpus(cpus);
      const known = held.get(process.pid);
      const now = known?.startTicks === process.startTicks ? known : look(process);
      const repair = within(
        process,
        cpus,
        now,
        (cgroup) => restore(addon, affinity, cgroup, now, process, cpus),
        () => affinity.repair(process, cpus),
      );
      // It may be in another cgroup now.
      if (repair.drift?.cause === 'cgroup') look(process);
      return repair;
    },
    masks: (process) => affinity.masks(process),
    forget(process) {
      forget(process);
      affinity.forget(process);
    },
  };
}

/**
 * Moves a channel to other CPUs:
 *
 * 1. Widen its cpuset to the present CPUs and the new ones.
 * 2. Move the threads, which widens and narrows their masks in turn (affinity.ts).
 * 3. Narrow the cpuset.
 * 4. Look at the masks once more: kernels before 6.2 set them anew at each write of a cpuset.
 */
function move(affinity: Pinning, cgroup: ChannelCgroup, process: ProcessRef, cpus: Cpuset): PinResult {
  const present = cgroup.cpus();
  const wide = union(present, cpus);
  if (!sameCpuset(present, wide)) cgroup.write(wide);
  const moved = affinity.pin(process, cpus);
  if (sameCpuset(wide, cpus)) return moved;
  cgroup.write(cpus);
  return { threads: affinity.verify(process, cpus).threads, repaired: moved.repaired };
}

/** One small read where all is in order; that the process is the same one affinity.repair() makes sure of. */
function restore(
  addon: Pick<HostAddon, 'startTicks'>,
  affinity: Pinning,
  cgroup: ChannelCgroup,
  now: Held,
  process: ProcessRef,
  cpus: Cpuset,
): Repair {
  const effective = cgroup.effective();
  if (effective === formatCpuset(cpus) || effective === now.granted) return affinity.repair(process, cpus);
  const found = cgroup.cpus();
  if (sameCpuset(found, cpus)) {
    // CPUs are offline, or a cgroup above has not all of them; the masks show whether that matters.
    now.granted = effective;
    return affinity.repair(process, cpus);
  }
  now.granted = '';
  expectSame(addon, process);
  cgroup.write(cpus);
  const { threads, repaired } = affinity.repair(process, cpus);
  const text = `the CPUs of its cgroup ${cgroup.path} had been set to ${formatCpuset(found) || 'none'} by another process`;
  return { threads, repaired: Math.max(1, threads, repaired), drift: { cause: 'cgroup', threads, text } };
}

function reasonOf(held: readonly Held[]): string {
  const without = held.map(({ cgroup }) => cgroup).filter((cgroup) => typeof cgroup === 'string');
  const own = held.length - without.length;
  const summary = `${own} of ${held.length} channels have a cpuset of their own`;
  return without.length === 0 ? summary : `${summary}; the others their affinity, such as: ${without[0]}`;
}
