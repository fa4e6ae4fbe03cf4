import type { Sharing } from '../balancer/choose-shared.js';
import type { HostUse } from '../balancer/host-use.js';
import type { SeenDemand } from '../balancer/shared-demand.js';
import type { Config } from '../config/schema.js';
import type { Forecaster, HostState } from '../forecast/forecast.js';
import type { History } from '../history/history.js';
import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Pinning } from '../pinning/pinning.js';
import type { ProcessSignals } from '../pinning/signals.js';
import type { Topology } from '../topology/topology.js';
import type { Ledger } from './ledger.js';
import type { ProcessRef } from './reservation.js';
import type { Scheduler } from './scheduler.js';

/** Everything that the reservation system needs of the world. Functions are asked each time: the answers change. */
export interface ReservationDeps {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly log: Log;
  readonly pinning: Pinning;
  readonly signals: ProcessSignals;
  readonly exits: ExitWatcher;
  /** Real uid of a process; throws an error with code ESRCH when there is none. */
  processUid(pid: number): number;
  /** Field 22 of /proc/PID/stat; throws an error with code ESRCH when there is no such process. */
  processStartTicks(pid: number): number;
  /** Of the running kernel: /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  readonly forecaster: Forecaster;
  topology(): Topology;
  host(): HostNow;
  limits(): Config['limits'];
  leases(): Config['leases'];
  preemption(): Config['preemption'];
  /** How live channels share CPUs; undefined where each is reserved for by itself. */
  sharing?(): Omit<Sharing, 'sharers'> | undefined;
  /** What a running channel was seen to use; undefined for one that was not. */
  seen?(id: string): SeenDemand | undefined;
  smtCoreMilli(): number;
  /** Why no new channel is accepted now, for instance a sustained overload; empty when they are. */
  closedReason(): string;
  readonly history: Pick<History, 'putDecision' | 'decision'>;
  /** Short, unique, ascending in time. */
  newId(): string;
}

export interface ExitWatcher {
  /** Calls back once when the process ends; throws when it is gone already. */
  watch(process: ProcessRef, onExit: () => void): { close(): void };
}

/** What the monitor saw last. */
export interface HostNow {
  /** Oldest first, at most WINDOW_STEPS; empty before the first step. */
  readonly window: readonly HostState[];
  /** Undefined before the first sample. */
  readonly now: HostState | undefined;
  /** Over the last seconds; undefined before the first sample. */
  readonly use?: HostUse | undefined;
  readonly memory: { readonly availableBytes: number; readonly totalBytes: number } | undefined;
}
