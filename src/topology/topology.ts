import type { Cpuset } from '../lib/cpuset.js';

export type CoreKind = 'performance' | 'efficiency';

/** One logical processor. Group numbers (core, l3, package) are dense, host-wide and 0-based; cpu and node are the kernel's. */
export interface Cpu {
  readonly cpu: number;
  readonly core: number;
  /** CPUs that share a last-level cache. Where sysfs does not say: one group per package. */
  readonly l3: number;
  readonly node: number;
  readonly package: number;
  readonly kind: CoreKind;
  /** Relative speed, 1024 = the fastest core of this host (the kernel's cpu_capacity scale). */
  readonly capacity: number;
  readonly online: boolean;
  /** Never reserved. */
  readonly housekeeping: boolean;
}

/** The host as one immutable value. */
export interface Topology {
  /** Ascending by cpu. Offline CPUs are listed, marked. */
  readonly cpus: readonly Cpu[];
  /** Online, allowed to this daemon, not housekeeping: what may be reserved. */
  readonly schedulable: Cpuset;
  readonly housekeeping: Cpuset;
  /** By class, the schedulable CPUs that it may have ([pools]); absent where each may have all. */
  readonly pools?: { readonly live: Cpuset; readonly vod: Cpuset };
  /** NUMA distances by node number; 10 = local. Missing pairs count as 20. */
  readonly distance: ReadonlyMap<number, ReadonlyMap<number, number>>;
}
