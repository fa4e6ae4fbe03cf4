import type { HostState } from '../forecast/forecast.js';

/** What one tick saw of one process. */
export interface ProcessSample {
  readonly pid: number;
  /** CPU seconds per wall second since the last tick, all threads (ended ones included). */
  readonly cores: number;
  /** CPU seconds per wall second by CPU that its threads were last seen on. */
  readonly coresByCpu: ReadonlyMap<number, number>;
  /** Share of wall time that its threads spent waiting on a run queue, summed over threads. */
  readonly waitCores: number;
  /** Cumulative CPU seconds since the process began. */
  readonly cpuSeconds: number;
  readonly threads: number;
  readonly rssBytes: number;
  /** Bits per second received on the sockets of the process; NaN when not measured. */
  readonly ingressBps: number;
}

/** What one tick saw of the host. */
export interface HostSample {
  /** Unix milliseconds. */
  readonly atMs: number;
  /** Monotonic milliseconds. */
  readonly monotonicMs: number;
  /** Wall seconds since the tick before. */
  readonly elapsedS: number;
  /** Busy share 0-1 by CPU, over the tick. */
  readonly busyByCpu: ReadonlyMap<number, number>;
  /** Everything the forecast wants; `channels`, `queueLength` (its admission part) and `reserved` come from the gauges passed in. */
  readonly state: HostState;
  readonly load1m: number;
  readonly memoryAvailableBytes: number;
  readonly memoryTotalBytes: number;
  readonly processes: ReadonlyMap<number, ProcessSample>;
}

/** Facts the monitor cannot see by itself. */
export interface Gauges {
  channels(): number;
  queued(): number;
  /** Reserved share 0-1 of the schedulable CPUs. */
  reserved(): number;
  /** Ingress reported by ingest servers and not yet stale: bits per second, waiting packets. */
  reportedIngress(): { bps: number; queueLength: number };
}

export interface Monitor {
  /** Begins to sample a process; throws PROCESS_GONE. */
  track(pid: number, startTicks: number): void;
  untrack(pid: number): void;
  /** The last tick; undefined before the first. */
  latest(): HostSample | undefined;
  /** The last WINDOW_STEPS steps of STEP_S seconds, oldest first; may be shorter. */
  window(): readonly HostState[];
  /** Called after every tick, in order of registration; returns a function that unregisters. */
  onTick(listener: (sample: HostSample) => void): () => void;
  start(): void;
  stop(): Promise<void>;
}
