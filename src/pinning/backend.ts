import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/schema.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';
import { createPinning } from './affinity.js';
import { createCgroupPinning } from './cgroup.js';
import type { Pinning } from './pinning.js';

export interface HostPinningOptions {
  readonly addon: HostAddon;
  readonly backend: Config['pinning']['backend'];
  /** Usually "/proc" and "/sys". */
  readonly procRoot: string;
  readonly sysRoot: string;
  /** With backend "cgroup": a channel is held by its affinity only. */
  readonly onWithout: (process: ProcessRef, why: string) => void;
}

/** What the configuration asks for and this host can. Never fails: affinity can be had everywhere. */
export function createHostPinning(options: HostPinningOptions): Pinning {
  const { addon, backend, procRoot, sysRoot, onWithout } = options;
  const cgroupRoot = join(sysRoot, 'fs/cgroup');
  const hindrance = whyNoCpusets(cgroupRoot);
  if (hindrance !== undefined) return createPinning({ addon, procRoot, sysRoot, reason: hindrance });
  return createCgroupPinning({
    addon,
    affinity: createPinning({ addon, procRoot, sysRoot }),
    roots: { procRoot, cgroupRoot },
    ...(backend === 'affinity' ? { notAsked: 'pinning.backend = "affinity"' } : {}),
    ...(backend === 'cgroup' ? { onWithout } : {}),
  });
}

function whyNoCpusets(cgroupRoot: string): string | undefined {
  try {
    const controllers = readFileSync(join(cgroupRoot, 'cgroup.controllers'), 'utf8');
    if (controllers.split(/\s+/).includes('cpuset')) return undefined;
    return `the cgroups of version 2 at ${cgroupRoot} have no cpuset controller`;
  } catch {
    return `there are no cgroups of version 2 at ${cgroupRoot}`;
  }
}
