import type { HostState } from '../forecast/forecast.js';
import type { GpuUse } from '../lib/native.js';
import type { CpuUse } from './cpu.js';
import type { DiskUse } from './disk.js';
import type { Load } from './load.js';
import type { Memory } from './memory.js';
import type { InterfaceUse } from './network.js';
import type { Paging } from './paging.js';
import type { HostPressure } from './pressure.js';

/** What one tick saw of one process. */
export interface ProcessSample {
  readonly pid: number;
  /** CPU seconds per wall second since the last tick, all threads (ended ones included). */
  readonly cores: number;
  /**
   * CPU seconds per wall second by CPU that its threads were last seen on. In a tick that did not read its threads, `cores`
   * split as when they were read last; the same holds for the next three.
   */
  readonly coresByCpu: ReadonlyMap<number, number>;
  /** Share of wall time that its threads spent waiting on a run queue, summed over threads. */
  readonly waitCores: number;
  /** CPU seconds per wall second of its busiest thread: at 1 it can't go faster, however many CPUs it has. */
  readonly busiestThreadCores: number;
  /** How often a second its threads were switched in. */
  readonly switchesPerS: number;
  /** Cumulative CPU seconds since the process began. */
  readonly cpuSeconds: number;
  readonly threads: number;
  readonly rssBytes: number;
  /** CPUs in the widest affinity mask of its threads; NaN when not known. */
  readonly widestMask: number;
  readonly majorFaultsPerS: number;
  /** Bits per second that reach it, measured or reported; NaN when neither. */
  readonly ingressBps: number;
  /** What waits to be read, and what was lost for want of room since the first look, at its sockets. */
  readonly sockets: SocketQueues;
  /** Of its cgroup, where it has one of its own kind; undefined where the kernel does not tell. */
  readonly pressure: Pressure | undefined;
}

export interface SocketQueues {
  /** UDP. */
  readonly datagrams: number;
  /** UDP, cumulative. */
  readonly dropped: number;
  /** TCP. */
  readonly bytes: number;
}

/** What the holder of a process knows of its inputs, and a daemon of another user does not. */
export interface HeldInputs {
  readonly socketInodes: readonly number[];
  /** Passed to read(2) and its kin, cumulative. */
  readonly readBytes: number;
}

/** Shares 0-1 of the last ten seconds in which some task waited for it. */
export interface Pressure {
  readonly cpu: number;
  readonly memory: number;
  readonly io: number;
}

/** One thread as it was read last. */
export interface ThreadSample {
  readonly tid: number;
  /** It was last on. */
  readonly cpu: number;
  /** Over the time between its two latest reads. */
  readonly cores: number;
  readonly cpuSeconds: number;
  readonly waitSeconds: number;
  readonly switches: number;
  /** CPUs in its affinity mask; -1 when not known. */
  readonly maskCpus: number;
}

/** What operators want to know of the host and forecasts do not. */
export interface HostDetail {
  readonly cpus: ReadonlyMap<number, CpuUse>;
  /** By CPU; empty where the kernel does not tell. */
  readonly frequencyHz: ReadonlyMap<number, number>;
  readonly load: Load;
  readonly memory: Memory;
  readonly paging: Paging;
  readonly disks: ReadonlyMap<string, DiskUse>;
  readonly interfaces: ReadonlyMap<string, InterfaceUse>;
  readonly pressure: HostPressure;
  readonly gpus: readonly GpuUse[];
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
  readonly detail: HostDetail;
}

/** Facts the monitor cannot see by itself. */
export interface Gauges {
  channels(): number;
  queued(): number;
  /** Reserved share 0-1 of the schedulable CPUs. */
  reserved(): number;
  /** Ingress reported by ingest servers and not yet stale: bits per second, waiting packets. */
  reportedIngress(): { bps: number; queueLength: number };
  /** What ingest servers report of the channel of this process; NaN for nothing. */
  reportedIngressOf?(pid: number): number;
}

export interface Monitor {
  /** Begins to sample a process; throws PROCESS_GONE. */
  track(pid: number, startTicks: number): void;
  untrack(pid: number): void;
  /** Something is amiss with a process: looks at it more often and more closely for a while. */
  attend(pid: number): void;
  /** What its holder says of a tracked process. */
  told(pid: number, inputs: HeldInputs): void;
  /** The threads of a tracked process as they were read last; empty before. */
  threads(pid: number): readonly ThreadSample[];
  /** The last tick; undefined before the first. */
  latest(): HostSample | undefined;
  /** The last WINDOW_STEPS steps of STEP_S seconds, oldest first; may be shorter. */
  window(): readonly HostState[];
  /** Called after every tick, in order of registration; returns a function that unregisters. */
  onTick(listener: (sample: HostSample) => void): () => void;
  start(): void;
  stop(): Promise<void>;
}
