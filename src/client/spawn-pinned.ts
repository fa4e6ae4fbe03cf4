import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import type { Cpuset } from '../lib/cpuset.js';
import { formatCpuset } from '../lib/cpuset.js';
import { type HostAddon, hostAddon } from '../lib/native.js';

/**
 * Starts a program that has its CPUs from the first instruction on: a child inherits the mask of the thread that forks
 * it, so the mask is set here, and set back once the child exists. Without the addon, taskset(1) does the same.
 */
export function spawnPinned(
  program: string,
  args: readonly string[],
  cpus: Cpuset,
  options: SpawnOptions,
): ChildProcess {
  const addon = loadAddon();
  if (addon === undefined) return spawn('taskset', ['-c', formatCpuset(cpus), program, ...args], options);
  const own = addon.getThreadAffinity(0);
  addon.setThreadAffinity(0, cpus);
  try {
    return spawn(program, [...args], options);
  } finally {
    addon.setThreadAffinity(0, own);
  }
}

/** Brings threads back that left the mask (libx265's pools do). Without the addon they stay where they are. */
export function repin(pid: number, cpus: Cpuset): void {
  try {
    loadAddon()?.setProcessAffinity(pid, cpus);
  } catch {
    // The process ended meanwhile.
  }
}

let addon: HostAddon | undefined | null = null;

function loadAddon(): HostAddon | undefined {
  if (addon !== null) return addon;
  try {
    addon = hostAddon();
    addon.getThreadAffinity(0);
  } catch {
    addon = undefined;
  }
  return addon;
}
