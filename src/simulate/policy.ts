import type { Host } from './host.js';
import type { Arrival, Workload } from './workload.js';

/** Who may run. Sees what an operator or a daemon would see of the host; only the oracle is given the workload's future. */
export interface Policy {
  /** The group of CPUs (Host.groupCpus) that an admitted channel runs on; undefined for a refusal. */
  admit(arrival: Arrival, host: Host, step: number): number | undefined;
  /** After each step. */
  observe?(host: Host, step: number): void;
  ended?(arrival: Arrival, host: Host): void;
  /** Changes of running channels so far. */
  readonly adjustments?: number;
  /** Cores that are promised now. */
  reservedCores(): number;
}

export interface PolicyKind {
  readonly name: string;
  /** What `setting` means. */
  readonly setting: string;
  /** Settings to try on a host of so many CPUs, none when there is nothing to set. */
  settings(cpus: number): readonly number[];
  make(workload: Workload, setting: number): Policy;
}

/** The group of a policy that does not divide the host. */
export const ALL = 0;
