import type { Cpuset } from '../lib/cpuset.js';
import type { ProcessRef } from '../reservation/reservation.js';
import type { Drift } from './drift.js';

export interface ThreadMask {
  readonly tid: number;
  readonly name: string;
  readonly cpus: Cpuset;
  /** The mask lies within the wanted CPUs. */
  readonly verified: boolean;
}

export interface PinResult {
  /** As read back from the kernel after the change. */
  readonly threads: readonly ThreadMask[];
  /** Threads whose mask had to be changed. */
  readonly repaired: number;
}

export interface Repair {
  readonly threads: number;
  readonly repaired: number;
  /** What had changed and, where it can be known, who did it; absent when all was in order. */
  readonly drift?: Drift;
}

/** How processes are held on their CPUs. */
export interface PinningBackend {
  /** "cgroup": a cpuset of its own for each process, and the affinity of its threads within. */
  readonly kind: 'affinity' | 'cgroup';
  /** Why this one, and what it could not do. */
  readonly reason: string;
  /** Channels that have a cpuset of their own now. */
  readonly ownCpusets: number;
}

/**
 * The only code that changes the kernel's mind. Every call checks pid and start time first and throws PROCESS_GONE when
 * they no longer name the same process, KERNEL (with errno) when the kernel refuses.
 */
export interface Pinning {
  backend(): PinningBackend;
  /** Widens to old + new CPUs, then narrows to `cpus`; reads back every thread. */
  pin(process: ProcessRef, cpus: Cpuset): PinResult;
  /** Reads every thread back and repairs those that left `cpus`. */
  verify(process: ProcessRef, cpus: Cpuset): PinResult;
  /** verify() for every tick: repairs what left `cpus` and says how it left. Names and masks in order are not read. */
  repair(process: ProcessRef, cpus: Cpuset): Repair;
  /** Masks as they are; changes nothing. */
  masks(process: ProcessRef): readonly ThreadMask[];
  /** The process has ended, or is nobody's any more: closes what is kept open for its repairs. */
  forget(process: ProcessRef): void;
}
