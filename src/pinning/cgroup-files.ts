/**
 * What cgroups allow a process, read from /proc/PID/cgroup and the cgroup file system: version 2, version 1 and both at
 * once (cgroups(7), Documentation/admin-guide/cgroup-v2.rst). Nothing here changes anything.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Cpuset, parseCpuset } from '../lib/cpuset.js';
import type { CgroupCpus } from './drift.js';

export interface CgroupRoots {
  /** Usually "/proc". */
  readonly procRoot: string;
  /** Usually "/sys/fs/cgroup". */
  readonly cgroupRoot: string;
}

export interface CgroupPaths {
  /** In the unified hierarchy; undefined where there is none. */
  readonly unified: string | undefined;
  /** In the version 1 hierarchy that has the cpuset controller. */
  readonly cpuset: string | undefined;
}

/** The lines of /proc/PID/cgroup, "0::/system.slice/a.service" or "3:cpuset:/". */
export function parseCgroupPaths(text: string): CgroupPaths {
  const lines = text.split('\n').map((line) => /^(\d+):([^:]*):(\/.*)$/.exec(line));
  const pathOf = (wanted: (id: string, controllers: string[]) => boolean) =>
    lines.find((match) => match !== null && wanted(match[1]!, match[2]!.split(',')))?.[3];
  return {
    unified: pathOf((id) => id === '0'),
    cpuset: pathOf((_, controllers) => controllers.includes('cpuset')),
  };
}

export function readCgroupPaths(procRoot: string, pid: number | 'self'): CgroupPaths {
  return parseCgroupPaths(read(join(procRoot, String(pid), 'cgroup')) ?? '');
}

/** The nearest cgroup from the process upwards that limits CPUs; undefined where none can be read. */
export function readCgroupCpus({ procRoot, cgroupRoot }: CgroupRoots, pid: number): CgroupCpus | undefined {
  const { unified, cpuset } = readCgroupPaths(procRoot, pid);
  if (cpuset !== undefined) {
    const root = join(cgroupRoot, 'cpuset');
    const found = nearest(root, cpuset, ['cpuset.effective_cpus', 'cpuset.cpus']);
    if (found !== undefined) return found;
  }
  return unified === undefined ? undefined : nearest(cgroupRoot, unified, ['cpuset.cpus.effective']);
}

/** When systemd last ran its generators, which every daemon-reload does first; Unix milliseconds. */
export function systemdReloadedMs(runRoot: string): number | undefined {
  const times = ['generator', 'generator.early', 'generator.late'].map((name) => {
    try {
      return statSync(join(runRoot, 'systemd', name)).mtimeMs;
    } catch {
      return 0;
    }
  });
  const latest = Math.max(...times);
  return latest === 0 ? undefined : latest;
}

export function readCpus(path: string): Cpuset | undefined {
  const text = read(path);
  if (text === undefined) return undefined;
  try {
    return parseCpuset(text);
  } catch {
    return undefined;
  }
}

function nearest(root: string, path: string, files: readonly string[]): CgroupCpus | undefined {
  for (let at = path; ; at = dirname(at)) {
    for (const file of files) {
      const cpus = readCpus(join(root, at, file));
      if (cpus !== undefined && cpus.length > 0) return { path: at, cpus };
    }
    if (at === '/' || at === '.') return undefined;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
