import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostState } from '../forecast/forecast.js';
import { type Cpuset, parseCpuset } from '../lib/cpuset.js';

/** Busy and total time of each CPU since boot, in clock ticks, from /proc/stat. */
export type CpuTimes = ReadonlyMap<number, { readonly busy: number; readonly total: number }>;

export function readCpuTimes(procRoot = '/proc'): CpuTimes {
  return parseCpuTimes(readFileSync(join(procRoot, 'stat'), 'utf8'));
}

export function parseCpuTimes(stat: string): CpuTimes {
  const times = new Map<number, { busy: number; total: number }>();
  for (const match of stat.matchAll(/^cpu(\d+) (.*)$/gm)) {
    // user nice system idle iowait irq softirq steal; guest time is part of user already.
    const fields = match[2]!.trim().split(/\s+/).map(Number).slice(0, 8);
    const total = fields.reduce((a, b) => a + b, 0);
    times.set(Number(match[1]), { busy: total - fields[3]! - fields[4]!, total });
  }
  return times;
}

/** Busy share 0-1 of each of the CPUs between two readings. */
export function busyShares(before: CpuTimes, after: CpuTimes, cpus: Cpuset): number[] {
  return cpus.map((cpu) => {
    const a = before.get(cpu);
    const b = after.get(cpu);
    if (a === undefined || b === undefined || b.total <= a.total) return 0;
    return Math.min(1, Math.max(0, (b.busy - a.busy) / (b.total - a.total)));
  });
}

/** CPUs that this process may use. */
export function allowedCpus(procRoot = '/proc'): Cpuset {
  const status = readFileSync(join(procRoot, 'self/status'), 'utf8');
  return parseCpuset(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '');
}

/** The host as calibration sees it: nothing reserved, no channels. */
export function hostState(shares: readonly number[], procRoot = '/proc'): HostState {
  const busy = mean(shares);
  return {
    busy,
    coreSpread: Math.sqrt(mean(shares.map((share) => (share - busy) ** 2))),
    busiestCore: Math.max(0, ...shares),
    memoryUsed: memoryUsed(procRoot),
    diskBusy: 0,
    ingressBps: 0,
    queueLength: 0,
    cpuPressure: cpuPressure(procRoot),
    channels: 0,
    reserved: 0,
  };
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;
}

function memoryUsed(procRoot: string): number {
  const text = readFileSync(join(procRoot, 'meminfo'), 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const total = kilobytes('MemTotal');
  return total === 0 ? 0 : 1 - kilobytes('MemAvailable') / total;
}

function cpuPressure(procRoot: string): number {
  try {
    const text = readFileSync(join(procRoot, 'pressure/cpu'), 'utf8');
    return Number(/^some avg10=([\d.]+)/m.exec(text)?.[1] ?? 0) / 100;
  } catch {
    return 0; // Kernels without PSI.
  }
}
