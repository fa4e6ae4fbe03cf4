import type { Run } from '../history/records.js';
import { costTableDemand } from './cost-table.js';
import { ordered } from './decode.js';
import { forecastOf } from './fallback.js';
import { encodeStatic, STATIC_FEATURE_NAMES } from './features.js';
import { type Forecast, type ForecastQuery, HORIZONS, type Quantiles } from './forecast.js';
import { demandByHorizon, meanDemand } from './horizon-demand.js';

/**
 * The second source: what the most similar channels of this host's history cost, as ratios to the cost table, so that a
 * neighbour of another size still tells something. In memory, the newest MOST_RUNS runs.
 */
export interface NearestRuns {
  add(run: Run): void;
  readonly size: number;
  /** Holds as many runs as it ever does. */
  readonly full: boolean;
  /** Undefined, with the reason in `why`, when fewer than LEAST_NEIGHBOURS runs are near enough. */
  forecast(
    query: ForecastQuery,
    cpuCount: number,
    notes: readonly string[],
  ): Forecast | { readonly why: string };
}

interface Entry {
  readonly id: string;
  readonly features: Float32Array;
  /** Log of demand over the cost table's estimate, by horizon. */
  readonly logRatios: readonly number[];
}

const MOST_RUNS = 2_000;
const LEAST_NEIGHBOURS = 3;
const MOST_NEIGHBOURS = 12;
/** In the weighted units of WEIGHTS: about a third in one size, or one x264 preset. */
const RADIUS = 1;
/** Standard deviation of log demand that is assumed before the neighbours say anything. */
const PRIOR_SPREAD = 0.15;
const PRIOR_WEIGHT = 2;

export function createNearestRuns(): NearestRuns {
  const entries = new Map<string, Entry>();
  return {
    add(run) {
      const entry = entryOf(run);
      if (entry === undefined) return;
      entries.delete(run.id);
      entries.set(run.id, entry);
      while (entries.size > MOST_RUNS) entries.delete(entries.keys().next().value!);
    },
    get size() {
      return entries.size;
    },
    get full() {
      return entries.size >= MOST_RUNS;
    },
    forecast(query, cpuCount, notes) {
      const wanted = encodeStatic(query.signature, cpuCount, query.schedulableCpus);
      const near = neighbours(entries.values(), wanted);
      if (near.length < LEAST_NEIGHBOURS) {
        return {
          why: `nearest: ${near.length} of ${entries.size} runs in the history are similar; it takes 3`,
        };
      }
      return nearestForecast(query, cpuCount, near, notes);
    },
  };
}

function entryOf(run: Run): Entry | undefined {
  const overall = meanDemand(run);
  if (overall === undefined) return undefined;
  const cost = Math.log(costTableDemand(run.signature));
  const demands = run.origin === 'calibration' ? HORIZONS.map(() => overall) : demandByHorizon(run.samples);
  const logRatios = demands.map((demand) => Math.log(demand ?? overall) - cost);
  const features = encodeStatic(run.signature, Math.max(1, run.cpuCount), Math.max(1, run.schedulableCpus));
  if (!logRatios.every(Number.isFinite) || !features.every(Number.isFinite)) return undefined;
  return { id: run.id, features, logRatios };
}

interface Neighbour {
  readonly entry: Entry;
  readonly distance: number;
}

function neighbours(entries: Iterable<Entry>, wanted: Float32Array): Neighbour[] {
  const near: Neighbour[] = [];
  for (const entry of entries) {
    const distance = distanceBetween(entry.features, wanted);
    if (distance <= RADIUS) near.push({ entry, distance });
  }
  return near.sort((a, b) => a.distance - b.distance).slice(0, MOST_NEIGHBOURS);
}

function nearestForecast(
  query: ForecastQuery,
  cpuCount: number,
  near: readonly Neighbour[],
  notes: readonly string[],
): Forecast {
  const cost = costTableDemand(query.signature);
  const demandAt = (_toS: number, horizon: number) => demandQuantiles(near, horizon, cost);
  const note = `nearest: ${near.length} similar runs, within ${near.at(-1)!.distance.toFixed(2)} of ${RADIUS}`;
  return forecastOf('nearest', query, cpuCount, demandAt, [...notes, note]);
}

/** A log-normal around the weighted mean; few neighbours are widened towards the prior spread. */
function demandQuantiles(near: readonly Neighbour[], horizon: number, cost: number): Quantiles {
  const weights = near.map(({ distance }) => 1 / (0.1 + distance));
  const total = weights.reduce((a, b) => a + b, 0);
  const logs = near.map(({ entry }) => entry.logRatios[horizon]!);
  const mean = logs.reduce((sum, log, i) => sum + weights[i]! * log, 0) / total;
  const squares = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);
  const variance = (PRIOR_WEIGHT * PRIOR_SPREAD ** 2 + squares) / (PRIOR_WEIGHT + near.length - 1);
  const spread = Math.sqrt(variance * (1 + 1 / near.length));
  const at = (z: number) => cost * Math.exp(mean + z * spread);
  return ordered({
    q50: at(0),
    q90: at(1.2816),
    q99: Math.max(at(2.3263), cost * Math.exp(Math.max(...logs))),
  });
}

/** Complexity counts only where both know it. */
function distanceBetween(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < WEIGHTS.length; i++) {
    const { weight, presentAt } = WEIGHTS[i]!;
    if (weight === 0 || (presentAt >= 0 && (a[presentAt] === 0 || b[presentAt] === 0))) continue;
    sum += (weight * (a[i]! - b[i]!)) ** 2;
    if (sum > RADIUS * RADIUS) return Number.POSITIVE_INFINITY;
  }
  return Math.sqrt(sum);
}

/** How much a difference in each feature counts; what only repeats another feature or names the host counts nothing. */
const UNWEIGHTED: ReadonlySet<string> = new Set([
  'cpuShare',
  'schedulableLog',
  'costPerCpuLog',
  'costPerHostLog',
  'costLog',
  'inputPixelsLog',
  'largestPixelsLog',
  'smallestPixelsLog',
  'inputBitsPerPixelLog',
]);
const WEIGHT: Readonly<Record<string, number>> = {
  cpuCountLog: 0.2,
  outputCountLog: 1,
  bitsPerPixelLog: 0.3,
  packetSizeVariationLog: 0.3,
  keyframeRatioLog: 0.2,
  spatialLog: 0.5,
  temporalLog: 0.5,
  probeRatioLog: 1,
  inputPixelRateLog: 0.5,
  outputBitsPerPixelLog: 0.3,
  outputPixelRateLog: 1,
  secondsPerMegapixelLog: 1.5,
  fpsLog: 0.5,
};

const WEIGHTS = STATIC_FEATURE_NAMES.map((name) => {
  const family = name.startsWith('family_') ? 3 : 1;
  // "spatialLog" is told by "spatialPresent", "probeRatioLog" by "probePresent"; presence itself is no difference.
  const presence = STATIC_FEATURE_NAMES.indexOf(`${name.replace(/(Ratio)?Log$/, '')}Present`);
  const complexity = STATIC_FEATURE_NAMES.indexOf('bitsPerPixelLog');
  const isComplexity = STATIC_FEATURE_NAMES.indexOf(name) >= complexity;
  const weight =
    UNWEIGHTED.has(name) || (isComplexity && name.endsWith('Present')) ? 0 : (WEIGHT[name] ?? family);
  return { weight, presentAt: isComplexity ? presence : -1 };
});
