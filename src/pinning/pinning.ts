import type { Cpuset } from '../lib/cpuset.js';
import type { ProcessRef } from '../reservation/reservation.js';

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

/**
 * The only code that changes the kernel's mind. Every call checks pid and start time first and throws PROCESS_GONE when
 * they no longer name the same process, KERNEL (with errno) when the kernel refuses.
 */
export interface Pinning {
  /** Widens to old + new CPUs, then narrows to `cpus`; reads back every thread. */
  pin(process: ProcessRef, cpus: Cpuset): PinResult;
  /** Reads every thread back and repairs those that left `cpus`. */
  verify(process: ProcessRef, cpus: Cpuset): PinResult;
  /** verify() for every tick: repairs what left `cpus`, but does not read names and masks back. A fifth of its cost. */
  repair(process: ProcessRef, cpus: Cpuset): { readonly threads: number; readonly repaired: number };
  /** Masks as they are; changes nothing. */
  masks(process: ProcessRef): readonly ThreadMask[];
}
