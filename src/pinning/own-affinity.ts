import type { Cpuset } from '../lib/cpuset.js';
import { type HostAddon, hostAddon } from '../lib/native.js';
import { checkCpus, kernelError } from './kernel-error.js';

/**
 * Gives every thread of this very process a CPU list, those of the runtime included, so that children inherit it
 * whichever thread forks them. What the wrapper does before it starts FFmpeg. Throws KERNEL.
 */
export function setOwnAffinity(cpus: Cpuset, addon: HostAddon = hostAddon()): void {
  checkCpus(cpus);
  try {
    addon.setProcessAffinity(process.pid, cpus);
  } catch (error) {
    throw kernelError(error, process.pid, cpus);
  }
}
