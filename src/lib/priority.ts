import { readdirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

/**
 * Gives the threads of a process this nice value, -20 to 19 (setpriority(2): Linux keeps it thread by thread). `from`: only those
 * that have this one. A thread or process that has ended is passed over. Throws where the kernel refuses.
 */
export function renice(pid: number, nice: number, from?: number): void {
  for (const tid of threadsOf(pid)) {
    try {
      if (from === undefined || getPriority(tid) === from) setPriority(tid, nice);
    } catch (error) {
      if (systemErrno(error) !== constants.errno.ESRCH) throw error;
    }
  }
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

/** Node puts the errno of such a call into `info`, negative. */
function systemErrno(error: unknown): number {
  const { info } = error as { info?: { errno?: number } };
  return Math.abs(info?.errno ?? 0);
}
