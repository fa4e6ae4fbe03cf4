/**
 * A cgroup (version 2) of a channel's own: a threaded cgroup with the cpuset controller, made inside the one that the
 * channel was started in, by the one who may (own-cgroup.ts), and kept on the reserved CPUs by the daemon (cgroup.ts).
 *
 * Threaded, because then only the CPUs are the channel's own: memory, I/O and the process itself still belong to the
 * unit or container around it, whose limits hold and whose stop reaches it; and because the wrapper may stay beside it in
 * the same cgroup, which the rule "no internal processes" forbids otherwise (Documentation/admin-guide/cgroup-v2.rst,
 * "Threads", "Delegation").
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Cpuset, formatCpuset, parseCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import { type CgroupRoots, readCgroupPaths } from './cgroup-files.js';

/** Names of such cgroups begin so. Others are somebody else's: their CPUs are not the daemon's to write. */
export const CHANNEL_PREFIX = 'corecast-';
/** A CPU list of 8,192 CPUs with every second one fits. */
const MAX_LIST_BYTES = 32_768;

export class ChannelCgroup {
  /** As in /proc/PID/cgroup. */
  readonly path: string;
  readonly #cpus: number;
  readonly #effective: number;

  /** Opens both files for as long as the channel runs. Throws what open(2) says. */
  constructor(cgroupRoot: string, path: string) {
    this.path = path;
    this.#cpus = openSync(join(cgroupRoot, path, 'cpuset.cpus'), 'r+');
    try {
      this.#effective = openSync(join(cgroupRoot, path, 'cpuset.cpus.effective'), 'r');
    } catch (error) {
      closeSync(this.#cpus);
      throw error;
    }
  }

  /** What was asked for; throws ENODEV when the cgroup is gone, as the others do. */
  cpus(): Cpuset {
    return parseCpuset(listOf(this.#cpus));
  }

  /** What the kernel grants, in its own words: those of cpus() that are online and that the cgroups above have. */
  effective(): string {
    return listOf(this.#effective);
  }

  /** Kernels before 6.2 give every thread in the cgroup these CPUs; later ones, those that its own mask leaves of them. */
  write(cpus: Cpuset): void {
    // The newline, because a file that is not of the kernel's making keeps what a shorter write leaves behind.
    writeSync(this.#cpus, `${formatCpuset(cpus)}\n`, 0);
  }

  close(): void {
    closeSync(this.#cpus);
    closeSync(this.#effective);
  }
}

/** The channel's own cgroup that a process is in; a string says why there is none. */
export function openChannelCgroup(
  { procRoot, cgroupRoot }: CgroupRoots,
  pid: number,
): ChannelCgroup | string {
  const { unified } = readCgroupPaths(procRoot, pid);
  if (unified === undefined) return 'it is in no cgroup of version 2';
  if (!basename(unified).startsWith(CHANNEL_PREFIX)) return `${unified} is not a cgroup of its own`;
  try {
    return new ChannelCgroup(cgroupRoot, unified);
  } catch (error) {
    return `the cpuset of ${unified} cannot be written (${messageOf(error)})`;
  }
}

const buffer = Buffer.alloc(MAX_LIST_BYTES);

function listOf(fd: number): string {
  const text = buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0));
  return text.split('\n', 1)[0]!.trim();
}
