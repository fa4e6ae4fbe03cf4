import { ordered, spreadOverCores } from './decode.js';
import { expectedDemand } from './expected-demand.js';
import {
  type ChannelState,
  type Forecast,
  type ForecastQuery,
  type ForecastSource,
  HORIZONS,
  type Quantiles,
} from './forecast.js';
import { hostLoadForecast } from './host-load.js';

/**
 * Quantiles over the median of a cost-table forecast. The table knows neither the picture nor the neighbours: over 88
 * calibration runs of 7 encoders on the machine it was measured on, demand / estimate had its 0.9 quantile at 1.9 and
 * its 0.99 quantile at 4.7 times its median.
 */
const TABLE = { name: 'cost table', q90: 1.9, q99: 4.7 };
/** A channel's own trial knows the picture: over 105 calibration runs with one, demand / trial had them at 1.35 and 4.2. */
const TRIAL = { name: "the channel's trial", q90: 1.35, q99: 4.2 };
/** A running channel speaks for itself after this many steps. */
const LEAST_OWN_STEPS = 3;

/** The last resort: needs nothing but the signature. */
export function costTableForecast(
  query: ForecastQuery,
  cpuCount: number,
  speedFactor: number,
  notes: readonly string[],
): Forecast {
  const median = expectedDemand(query.signature, speedFactor);
  const { name, q90, q99 } = query.signature.complexity.probeCpuSecondsPerFrame === undefined ? TABLE : TRIAL;
  const demand = { q50: median, q90: median * q90, q99: median * q99 };
  const factor = speedFactor === 1 ? '' : `, speed factor ${speedFactor.toFixed(2)}`;
  const note = `${name}: q90 and q99 are fixed at ${q90} and ${q99} times the median${factor}`;
  return forecastOf('cost_table', query, cpuCount, () => demand, [...notes, note]);
}

/** Nearest to a running channel is itself: a log-normal around its own last steps. Undefined while there are too few. */
export function ownUsageForecast(
  query: ForecastQuery,
  cpuCount: number,
  notes: readonly string[],
): Forecast | undefined {
  const logs = (query.channel ?? [])
    .map(demandOf)
    .filter((demand) => demand > 0 && Number.isFinite(demand))
    .map(Math.log);
  if (logs.length < LEAST_OWN_STEPS) return undefined;
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1);
  const spread = Math.max(0.08, Math.sqrt(variance * (1 + 1 / logs.length)));
  // Pictures change: what lies farther ahead is less certain.
  const demandAt = (toS: number) => {
    const wide = spread * Math.min(2, Math.sqrt(Math.max(1, toS / 60)));
    return ordered({
      q50: Math.exp(mean),
      q90: Math.exp(mean + 1.2816 * wide),
      q99: Math.exp(mean + 2.3263 * wide),
    });
  };
  const note = `nearest: the channel's own last ${logs.length} steps`;
  return forecastOf('nearest', query, cpuCount, demandAt, [...notes, note]);
}

/** Horizons from a demand alone: spread over the CPUs, and on top of what the host does without this channel. */
export function forecastOf(
  source: ForecastSource,
  { host, channel, schedulableCpus }: ForecastQuery,
  cpuCount: number,
  demandAt: (toS: number, horizon: number) => Quantiles,
  notes: readonly string[],
): Forecast {
  // The window already holds a running channel's own load.
  const own = mean((channel ?? []).map(({ cores }) => cores));
  const horizons = HORIZONS.map(({ fromS, toS }, h) => {
    const demand = demandAt(toS, h);
    const added = { q50: demand.q50 - own, q90: demand.q90 - own, q99: demand.q99 - own };
    return {
      fromS,
      toS,
      demand,
      coreUsage: spreadOverCores(demand, cpuCount),
      hostLoad: hostLoadForecast(host, added, schedulableCpus),
    };
  });
  return { source, modelId: '', cpuCount, horizons, notes };
}

function demandOf({ cores, speed }: ChannelState): number {
  return speed > 0 ? cores / speed : cores;
}

function mean(values: readonly number[]): number {
  const known = values.filter(Number.isFinite);
  return known.length === 0 ? 0 : known.reduce((a, b) => a + b, 0) / known.length;
}
