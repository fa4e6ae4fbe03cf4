import type { Cpuset } from '../lib/cpuset.js';

export type CoreKind = 'performance' | 'efficiency';

/** One logical processor. Group numbers (core, l2, l3, cluster, die, package) are dense, host-wide and 0-based; cpu and node are the kernel's. */
export interface Cpu {
  readonly cpu: number;
  readonly core: number;
  /** CPUs that share a second-level cache. Where sysfs does not say: those of one core. */
  readonly l2: number;
  /** CPUs that share a last-level cache. Where sysfs does not say: one group per package. */
  readonly l3: number;
  /** Cores that are nearer to each other than to the rest of their L3, as the kernel groups them. Where it does not: the L2. */
  readonly cluster: number;
  /** Where sysfs does not say: the package. */
  readonly die: number;
  readonly node: number;
  readonly package: number;
  readonly kind: CoreKind;
  /** Relative speed, 1024 = the fastest core of this host (the kernel's cpu_capacity scale). */
  readonly capacity: number;
  readonly online: boolean;
  /** Never reserved. */
  readonly housekeeping: boolean;
  /** The kernel balances no load to or from it (isolcpus=, isolated cpuset partitions). */
  readonly isolated: boolean;
  /** It has no timer tick while one thread runs on it alone (nohz_full=). */
  readonly nohzFull: boolean;
}

/** The host as one immutable value. */
export interface Topology {
  /** Ascending by cpu. Offline CPUs are listed, marked. */
  readonly cpus: readonly Cpu[];
  /** Online, allowed to this daemon, not housekeeping, not isolated unless the configuration says so: what may be reserved. */
  readonly schedulable: Cpuset;
  readonly housekeeping: Cpuset;
  /** By class, the schedulable CPUs that it may have ([pools]); absent where each may have all. */
  readonly pools?: { readonly live: Cpuset; readonly vod: Cpuset };
  /** NUMA distances by node number; 10 = local. Missing pairs count as 20. */
  readonly distance: ReadonlyMap<number, ReadonlyMap<number, number>>;
}
