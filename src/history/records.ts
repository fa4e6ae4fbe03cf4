import type { Forecast, HostState } from '../forecast/forecast.js';
import type { Signature } from '../forecast/signature.js';

/** One step of a run, relative to its start. */
export interface RunSample {
  /** Seconds after the start at which the step ended. */
  readonly atS: number;
  /** Demand: CPU seconds per media second (per wall second when the media time is unknown). */
  readonly demandCores: number;
  /** CPU seconds per wall second on each CPU it held, 0-1, busiest first. */
  readonly coreUsage: readonly number[];
  /** Busy share 0-1 of the schedulable CPUs. */
  readonly hostLoad: number;
  readonly ingressBps: number;
  readonly speed: number;
  /** The host during this step; lets a dataset cut windows at any point of the run. */
  readonly host: HostState;
}

/** What became of one channel, or of one calibration measurement: the unit that models learn from. */
export interface Run {
  readonly id: string;
  /** 'calibration' runs go as fast as they can; 'live' and 'vod' ones were channels. */
  readonly origin: 'calibration' | 'live' | 'vod';
  /** Unix milliseconds of the start. */
  readonly startedMs: number;
  readonly signature: Signature;
  /** CPUs it was pinned to. */
  readonly cpuCount: number;
  readonly schedulableCpus: number;
  /** The host before the start, oldest first. */
  readonly hostBefore: readonly HostState[];
  /** Steps of STEP_S seconds (calibration: any length), oldest first, at most 720. */
  readonly samples: readonly RunSample[];
  /** What was forecast at the start; absent for calibration. */
  readonly forecast?: Forecast;
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly mediaSeconds: number;
  /** Groups runs of one source, so that train and test never share one ("car-detection.mp4", a stream name). */
  readonly source: string;
}
