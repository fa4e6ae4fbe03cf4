import { type Cpuset, formatCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import { daemonOf, enterOwnCgroup } from '../pinning/own-cgroup.js';

export interface Place {
  readonly cpus: Cpuset;
  /** The daemon can hold the channel by a cpuset of its own. */
  readonly ownCpuset: boolean;
  readonly socket: string;
  readonly note: (text: string) => void;
}

/**
 * Puts this process where FFmpeg will run, before it starts: it inherits both the cgroup and the mask, and encoders that
 * size themselves by the mask see it. The mask comes last: kernels before 6.2 reset it when the cgroup changes.
 *
 * Returns what takes this process out of that cgroup again, once FFmpeg has ended.
 */
export function placeProcess({ cpus, ownCpuset, socket, note }: Place): () => void {
  const leave = ownCpuset ? enter(cpus, socket) : () => {};
  try {
    hostAddon().setProcessAffinity(process.pid, cpus);
  } catch (error) {
    note(`could not move to CPUs ${formatCpuset(cpus)} (${messageOf(error)}); the daemon will pin FFmpeg`);
  }
  return leave;
}

function enter(cpus: Cpuset, socket: string): () => void {
  const daemon = daemonOf(socket);
  if (daemon === undefined) return () => {};
  const own = enterOwnCgroup(cpus, {
    procRoot: '/proc',
    cgroupRoot: '/sys/fs/cgroup',
    runRoot: '/run',
    uid: process.getuid?.() ?? 0,
    pid: process.pid,
    daemon,
  });
  // Why there is none the daemon finds out as well, and says for all channels: corecast status.
  return typeof own === 'string' ? () => {} : () => own.leave();
}
