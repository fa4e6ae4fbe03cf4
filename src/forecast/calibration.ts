import { z } from 'zod';
import { clamp, ordered } from './decode.js';
import { type Forecast, HORIZONS, type Quantiles } from './forecast.js';

/**
 * Online adaptive conformal inference: whatever the model believes, the 0.9 quantile it hands out is exceeded about once
 * in ten on this host. Gibbs and Candès (2021) move the level by gamma (alpha - err) after each outcome; here the same
 * step is taken on the quantile itself, in log space (as in Angelopoulos, Candès and Tibshirani 2023), so that there is
 * no score window to fill first:
 *
 *   theta <- clamp(theta + step * (err - alpha)),  err = 1 if the outcome was above the quantile that was handed out
 *
 * and the forecast is multiplied by exp(theta). However the outcomes come, the share of misses over T of them is within
 * (width of the clamp / step + 1) / T of alpha while theta stays inside the clamp. One track for each stream (source,
 * model and encoder family: see `streamOf`), horizon and quantile.
 *
 * When coverage stays far below its target although theta moves, the model no longer speaks of this host: `drifting`
 * gives the reason and the fallback chain leaves the model out for a while.
 */
export interface Calibration {
  /** The forecast with each horizon's demand corrected, and a note where that changes it by more than 1 %. */
  correct(forecast: Forecast, family: string): Forecast;
  /** One outcome: the mean demand in a horizon against the (corrected) forecast that was handed out. */
  observe(forecast: Forecast, family: string, horizon: number, demand: number): void;
  /** Why a model's forecasts for this family are not to be trusted now. */
  drifting(modelId: string, family: string): string | undefined;
  coverage(): readonly Coverage[];
  state(): CalibrationState;
}

/** For the metrics: outcomes at or below the quantile. */
export interface Coverage {
  readonly stream: string;
  readonly horizon: number;
  readonly quantile: 0.5 | 0.9 | 0.99;
  readonly observed: number;
  readonly covered: number;
  /** What the quantile is multiplied by. */
  readonly factor: number;
}

export interface CalibrationOptions {
  /** What state() gave before; anything else begins anew. */
  readonly saved?: unknown;
  nowMs(): number;
}

const TRACKS = [
  { key: 'q50', quantile: 0.5, step: 0.04 },
  { key: 'q90', quantile: 0.9, step: 0.1 },
  { key: 'q99', quantile: 0.99, step: 0.3 },
] as const;

/** A quantile is never taken below half or above five times what the model says. */
const LEAST_THETA = Math.log(0.5);
const MOST_THETA = Math.log(5);
const MOST_STREAMS = 128;
const DRIFT_WINDOW = 60;
const DRIFT_LEAST_OUTCOMES = 30;
/** Of 30 outcomes at a true coverage of 0.9 fewer than 21 are covered once in 500 windows. */
const DRIFT_COVERAGE = 0.7;
const DRIFT_HOLD_MS = 30 * 60_000;

export function createCalibration(options: CalibrationOptions): Calibration {
  const streams = restore(options.saved);

  return {
    correct(forecast, family) {
      const stream = streams.get(streamOf(forecast.source, forecast.modelId, family));
      if (stream === undefined) return forecast;
      const notes: string[] = [];
      const horizons = forecast.horizons.map((horizon, h) => {
        const tracks = stream.horizons[h];
        if (tracks === undefined) return horizon;
        const demand = corrected(horizon.demand, tracks);
        const factor = demand.q90 / Math.max(1e-9, horizon.demand.q90);
        if (Math.abs(factor - 1) > 0.01) {
          notes.push(`calibration: demand ${horizon.fromS}-${horizon.toS} s q90 x ${factor.toFixed(2)}`);
        }
        return { ...horizon, demand };
      });
      return { ...forecast, horizons, notes: [...forecast.notes, ...notes] };
    },

    observe(forecast, family, horizon, demand) {
      const issued = forecast.horizons[horizon]?.demand;
      if (issued === undefined || HORIZONS[horizon] === undefined) return;
      if (!Number.isFinite(demand) || demand < 0) return;
      const key = streamOf(forecast.source, forecast.modelId, family);
      const stream = streams.get(key) ?? newStream();
      // Most recently used last: the map's order decides what is forgotten.
      streams.delete(key);
      streams.set(key, stream);
      while (streams.size > MOST_STREAMS) streams.delete(streams.keys().next().value!);
      const tracks = stream.horizons[horizon]!;
      for (const [i, { key: name, quantile, step }] of TRACKS.entries()) {
        const track = tracks[i]!;
        const missed = demand > issued[name];
        track.observed++;
        if (!missed) track.covered++;
        track.theta = clamp(track.theta + step * (Number(missed) - (1 - quantile)), LEAST_THETA, MOST_THETA);
      }
      noteOutcome(stream, horizon, demand <= issued.q90, options.nowMs());
    },

    drifting(modelId, family) {
      const stream = streams.get(streamOf('lstm', modelId, family));
      if (stream === undefined || stream.driftUntilMs <= options.nowMs()) return undefined;
      return stream.driftReason;
    },

    coverage() {
      return [...streams].flatMap(([stream, { horizons }]) =>
        horizons.flatMap((tracks, horizon) =>
          tracks.map(({ observed, covered, theta }, i) => ({
            stream,
            horizon,
            quantile: TRACKS[i]!.quantile,
            observed,
            covered,
            factor: Math.exp(theta),
          })),
        ),
      );
    },

    state: () => ({ format: 1, streams: Object.fromEntries(streams) }),
  };
}

/** What is tracked apart: a new model begins anew, and so does each encoder family. */
export function streamOf(source: Forecast['source'], modelId: string, family: string): string {
  return source === 'lstm' ? `lstm:${modelId}/${family}` : `${source}/${family}`;
}

function corrected(demand: Quantiles, tracks: readonly Track[]): Quantiles {
  const at = (i: number) => Math.exp(tracks[i]?.theta ?? 0);
  return ordered({ q50: demand.q50 * at(0), q90: demand.q90 * at(1), q99: demand.q99 * at(2) });
}

function noteOutcome(stream: Stream, horizon: number, covered: boolean, nowMs: number): void {
  const recent = stream.recent[horizon]!;
  recent.push(covered);
  if (recent.length > DRIFT_WINDOW) recent.shift();
  if (recent.length < DRIFT_LEAST_OUTCOMES) return;
  const share = recent.filter(Boolean).length / recent.length;
  if (share >= DRIFT_COVERAGE) return;
  const { fromS, toS } = HORIZONS[horizon]!;
  stream.driftReason =
    `only ${Math.round(share * 100)} % of the last ${recent.length} outcomes at ${fromS}-${toS} s were at or below the 0.9 ` +
    'quantile: the model is left out for 30 minutes';
  stream.driftUntilMs = nowMs + DRIFT_HOLD_MS;
  // Judged anew when it is tried again.
  for (const window of stream.recent) window.length = 0;
}

function newStream(): Stream {
  return {
    horizons: HORIZONS.map(() => TRACKS.map(() => ({ theta: 0, observed: 0, covered: 0 }))),
    recent: HORIZONS.map(() => []),
    driftUntilMs: 0,
    driftReason: '',
  };
}

function restore(saved: unknown): Map<string, Stream> {
  const parsed = stateSchema.safeParse(saved);
  return new Map(parsed.success ? Object.entries(parsed.data.streams).slice(-MOST_STREAMS) : []);
}

const trackSchema = z.object({
  theta: z.number().min(LEAST_THETA).max(MOST_THETA),
  observed: z.number().int().min(0),
  covered: z.number().int().min(0),
});
const streamSchema = z.object({
  horizons: z.array(z.array(trackSchema).length(TRACKS.length)).length(HORIZONS.length),
  recent: z.array(z.array(z.boolean()).max(DRIFT_WINDOW)).length(HORIZONS.length),
  driftUntilMs: z.number().min(0),
  driftReason: z.string().max(500),
});
const stateSchema = z.object({ format: z.literal(1), streams: z.record(z.string().max(200), streamSchema) });

type Track = z.infer<typeof trackSchema>;
type Stream = z.infer<typeof streamSchema>;
export type CalibrationState = z.infer<typeof stateSchema>;
