import { type Cpuset, formatCpuset } from '../lib/cpuset.js';
import { CorecastError, invalidField, messageOf } from '../lib/errors.js';

export function checkCpus(cpus: Cpuset): void {
  if (cpus.length === 0) throw invalidField('cpus', '', 'at least one CPU');
}

/** What a failed system call of the addon means: PROCESS_GONE or KERNEL. Anything else is passed on as it is. */
export function kernelError(error: unknown, pid: number, cpus: Cpuset | undefined): unknown {
  // Not from a system call: a CorecastError already, or a defect that must not be dressed up as the kernel's word.
  if (!(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  if (code === 'ESRCH') {
    return new CorecastError('PROCESS_GONE', `process ${pid} has ended`, { errno: code, cause: error });
  }
  const what =
    cpus === undefined
      ? `read the masks of process ${pid}`
      : `pin process ${pid} to CPUs ${formatCpuset(cpus)}`;
  return new CorecastError('KERNEL', `cannot ${what}: ${messageOf(error)}${hint(code)}`, {
    errno: code,
    cause: error,
  });
}

function hint(code: string): string {
  if (code === 'EPERM') return '; processes of other users need CAP_SYS_NICE';
  if (code === 'EINVAL') return '; none of these CPUs is online and inside the cgroup cpuset of the process';
  return '';
}
