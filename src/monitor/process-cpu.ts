import { readFileSync } from 'node:fs';

/** CPU seconds of a process since it began, user and system, ended threads included; 0 when it is gone. */
export function cpuSecondsOf(procRoot: string, pid: number, ticksPerSecond: number): number {
  try {
    return parseCpuTicks(readFileSync(`${procRoot}/${pid}/stat`, 'latin1')) / ticksPerSecond;
  } catch {
    return 0;
  }
}

/** utime + stime, fields 14 and 15 of proc_pid_stat(5). */
export function parseCpuTicks(stat: string): number {
  // The name, field 2, may hold spaces and parentheses of its own.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[14 - 3]) + Number(fields[15 - 3]);
}
