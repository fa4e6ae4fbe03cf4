import type { Signature } from './signature.js';

/** P(value <= qNN) = NN %. q50 <= q90 <= q99. */
export interface Quantiles {
  readonly q50: number;
  readonly q90: number;
  readonly q99: number;
}

/** Spans after the start (or after now) that a forecast speaks of, in seconds. */
export const HORIZONS = [
  { fromS: 0, toS: 10 },
  { fromS: 10, toS: 60 },
  { fromS: 60, toS: 300 },
] as const;

/** Length of one step of every window fed to the model, seconds. */
export const STEP_S = 5;
/** Steps in a window: one minute. */
export const WINDOW_STEPS = 12;

export interface HorizonForecast {
  readonly fromS: number;
  readonly toS: number;
  /** Cores: CPU seconds per second of media at real time. */
  readonly demand: Quantiles;
  /** Usage 0-1 of each CPU it would get, busiest first; `cpuCount` entries. */
  readonly coreUsage: readonly Quantiles[];
  /** Busy share 0-1 of all schedulable CPUs if the channel runs. */
  readonly hostLoad: Quantiles;
}

export type ForecastSource = 'lstm' | 'nearest' | 'cost_table';

export interface Forecast {
  readonly source: ForecastSource;
  /** Empty unless source is lstm. */
  readonly modelId: string;
  /** The number of CPUs the forecast assumes. */
  readonly cpuCount: number;
  /** One entry per HORIZONS entry. */
  readonly horizons: readonly HorizonForecast[];
  /** Why a better source was not used, and which corrections were applied. */
  readonly notes: readonly string[];
  /** What the calibration was given: outcomes are learnt against it. Absent in a forecast that it has not seen. */
  readonly calibration?: { readonly running: boolean; readonly demand: readonly Quantiles[] };
}

/** The host during one step of STEP_S seconds. Shares are 0-1. */
export interface HostState {
  readonly busy: number;
  /** Standard deviation of the busy share over the schedulable CPUs. */
  readonly coreSpread: number;
  readonly busiestCore: number;
  readonly memoryUsed: number;
  readonly diskBusy: number;
  readonly ingressBps: number;
  /** Packets waiting at ingest servers and sockets, and channels waiting for admission. */
  readonly queueLength: number;
  /** PSI cpu "some" avg10, 0-1; 0 where the kernel has none. */
  readonly cpuPressure: number;
  readonly channels: number;
  /** Reserved share of the schedulable CPUs. */
  readonly reserved: number;
}

/** A host that does nothing, and what is assumed of one that was not looked at. */
export const IDLE_HOST: HostState = {
  busy: 0,
  coreSpread: 0,
  busiestCore: 0,
  memoryUsed: 0,
  diskBusy: 0,
  ingressBps: 0,
  queueLength: 0,
  cpuPressure: 0,
  channels: 0,
  reserved: 0,
};

/** A running channel during one step. */
export interface ChannelState {
  readonly cores: number;
  readonly ingressBps: number;
  /** Media seconds per wall second; 1 when unknown. */
  readonly speed: number;
}

export interface ForecastQuery {
  readonly signature: Signature;
  /** Oldest first, at most WINDOW_STEPS; fewer while the daemon is young (padded with the oldest). */
  readonly host: readonly HostState[];
  /** The channel's own last steps, oldest first; absent or empty for a new channel. */
  readonly channel?: readonly ChannelState[];
  /** Candidate CPU counts, each 1 or more. */
  readonly candidates: readonly number[];
  /** Number of schedulable CPUs of this host. */
  readonly schedulableCpus: number;
}

/** Never rejects for want of a model: it falls back and says so in `notes`. */
export interface Forecaster {
  /** One forecast per candidate, in the order of the candidates. */
  forecast(query: ForecastQuery): Promise<readonly Forecast[]>;
}
