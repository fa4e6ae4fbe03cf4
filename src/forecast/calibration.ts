import { type SignatureClass, signatureClass } from './calibration-class.js';
import { type Coverage, count, coverageOf, newCount } from './calibration-coverage.js';
import { HOST_PRIOR, type Location } from './calibration-credibility.js';
import { levelAt, watch, widen } from './calibration-drift.js';
import {
  alarmOf,
  type CalibrationState,
  MOST_STREAMS,
  newStream,
  restoredStreams,
  type Stream,
  stateOf,
} from './calibration-state.js';
import { calibrated, discount, hostLocation, learn, weightOf } from './calibration-track.js';
import { type Forecast, type ForecastSource, HORIZONS, type Quantiles } from './forecast.js';
import type { Signature } from './signature.js';

/**
 * Online calibration: whatever a model believes, the 0.9 quantile that is handed out is exceeded about once in ten on this
 * host, in each class of signatures and each horizon. Forecasts that err alike share a stream: of one model, of the nearest
 * runs, of the cost table; a new model begins anew. In a stream each horizon is a track of its own (calibration-track.ts:
 * how it learns, and what is guaranteed), so that the three outcomes of one channel are never counted as three; a horizon
 * only begins from where the one before it has found the host to lie. Classes: calibration-class.ts. The alarm for models
 * that no longer speak of this host: calibration-drift.ts.
 *
 * Before the first outcome of a stream nothing is corrected.
 */
export interface Calibration {
  /** The forecast with each horizon's demand corrected, and notes where that changes it by more than 1 %, and why. */
  correct(forecast: Forecast, signature: Signature, running?: boolean): Forecast;
  observe(outcome: Outcome): void;
  /** Why a source's forecasts for such channels are left out now. */
  drifting(source: ForecastSource, modelId: string, signature: Signature): string | undefined;
  coverage(): readonly Coverage[];
  /** Those that stand now. */
  alarms(): readonly DriftAlarm[];
  /** Since the start, by level. */
  readonly raised: Readonly<Record<1 | 2, number>>;
  state(): CalibrationState;
}

/** The mean demand of a channel in one horizon, beside a forecast that `correct` gave. */
export interface Outcome {
  readonly forecast: Forecast;
  readonly signature: Signature;
  /** Index into HORIZONS. */
  readonly horizon: number;
  readonly demand: number;
  /** Whose outcome it is: the more often one channel speaks, the less each time counts. Empty: not known. */
  readonly channel: string;
  /** False for a forecast that nobody acted on: learnt from, not counted, no alarm. */
  readonly issued?: boolean;
}

export interface DriftAlarm {
  readonly source: ForecastSource;
  readonly modelId: string;
  readonly family: string;
  /** 1: its quantiles are widened; 2: it is left out. */
  readonly level: 1 | 2;
  readonly sinceMs: number;
  readonly reason: string;
}

export interface CalibrationOptions {
  /** What state() gave before; anything else begins anew. */
  readonly saved?: unknown;
  nowMs(): number;
}

/** How far horizons, and running channels, deviate from what they begin from: standard deviation 0.15 of log demand. */
const BETWEEN_VARIANCE = 0.15 ** 2;
/** Of a family's evidence from before an alarm. */
const KEPT_AFTER_ALARM = 0.15;
/** Below this a demand is a clock's granularity. */
const LEAST_DEMAND = 1e-4;

export function createCalibration(options: CalibrationOptions): Calibration {
  return new OnlineCalibration(options);
}

class OnlineCalibration implements Calibration {
  readonly #streams;
  readonly #nowMs;
  readonly raised: Record<1 | 2, number> = { 1: 0, 2: 0 };

  constructor({ saved, nowMs }: CalibrationOptions) {
    this.#streams = restoredStreams(saved);
    this.#nowMs = nowMs;
  }

  correct(forecast: Forecast, signature: Signature, running = false): Forecast {
    const stream = this.#streams.get(streamName(forecast, running));
    const klass = signatureClass(signature);
    const priors = this.#priors(stream, forecast, running);
    const alarm = stream?.alarms.get(klass.family);
    const level = levelAt(alarm, this.#nowMs());
    const notes = level === 0 ? [] : [`calibration: drift alarm: q90 and q99 widened: ${alarm?.reason}`];
    const horizons = forecast.horizons.map((horizon, h) => {
      const prior = priors[h];
      const raw = horizon.demand;
      if (prior === undefined || !usable(raw)) return horizon;
      const track = stream?.tracks[h] ?? newStream(forecast.source, '', running).tracks[h]!;
      const demand = widen(calibrated(track, { raw, class: klass, prior }).now, level);
      const factor = demand.q90 / raw.q90;
      if (Math.abs(factor - 1) > 0.01)
        notes.push(`calibration: demand ${spanOf(h)} q90 x ${factor.toFixed(2)} (${klass.name})`);
      return { ...horizon, demand };
    });
    const calibration = { running, demand: forecast.horizons.map(({ demand }) => demand) };
    return { ...forecast, horizons, calibration, notes: [...forecast.notes, ...notes] };
  }

  observe({ forecast, signature, horizon, demand, channel, issued = true }: Outcome): void {
    const handedOut = forecast.horizons[horizon]?.demand;
    const raw = forecast.calibration?.demand[horizon];
    // Without the model's own word (kept by an older daemon) there is nothing to learn from.
    if (raw === undefined || handedOut === undefined || HORIZONS[horizon] === undefined) return;
    if (!usable(raw) || !Number.isFinite(demand) || demand < 0) return;
    const { running } = forecast.calibration!;
    const stream = this.#touched(forecast, running);
    const klass = signatureClass(signature);
    const seen = Math.max(demand, LEAST_DEMAND);
    const prior = this.#priors(stream, forecast, running)[horizon] ?? HOST_PRIOR;
    if (issued) {
      count(countsOf(stream, klass)[horizon]!, seen, handedOut, raw);
      this.#watch(stream, klass, { raw, prior, horizon, channel, demand: seen });
    }
    learn(stream.tracks[horizon]!, { raw, class: klass, prior }, { demand: seen, channel });
  }

  drifting(source: ForecastSource, modelId: string, signature: Signature): string | undefined {
    const { family } = signatureClass(signature);
    const alarm = this.#streams.get(streamName({ source, modelId }, false))?.alarms.get(family);
    return levelAt(alarm, this.#nowMs()) === 2 ? alarm?.reason : undefined;
  }

  coverage(): readonly Coverage[] {
    return [...this.#streams.values()].flatMap(({ source, modelId, running, counts }) =>
      [...counts].flatMap(([name, byHorizon]) =>
        byHorizon.flatMap((counted, horizon) =>
          coverageOf(counted).map((of) => ({ source, modelId, running, class: name, horizon, ...of })),
        ),
      ),
    );
  }

  alarms(): readonly DriftAlarm[] {
    return [...this.#streams.values()].flatMap(({ source, modelId, alarms }) =>
      [...alarms].flatMap(([family, alarm]) => {
        const level = levelAt(alarm, this.#nowMs());
        const { sinceMs, reason } = alarm;
        return level === 0 ? [] : [{ source, modelId, family, level, sinceMs, reason }];
      }),
    );
  }

  state(): CalibrationState {
    return stateOf(this.#streams);
  }

  /** Where each horizon begins; undefined where nothing is known of it nor of one before it. */
  #priors(stream: Stream | undefined, forecast: StreamKey, running: boolean): (Location | undefined)[] {
    const parent =
      running && forecast.source === 'lstm' ? this.#streams.get(streamName(forecast, false)) : undefined;
    const inherited = parent && this.#priors(parent, forecast, false);
    let before: Location | undefined;
    return HORIZONS.map((_, h) => {
      const known = parent?.tracks[h]?.clock
        ? hostLocation(parent.tracks[h], inherited?.[h] ?? HOST_PRIOR)
        : before;
      const prior = known && { mean: known.mean, variance: known.variance + BETWEEN_VARIANCE };
      const track = stream?.tracks[h];
      if (!track?.clock) return prior;
      before = hostLocation(track, prior ?? HOST_PRIOR);
      return prior ?? HOST_PRIOR;
    });
  }

  #watch(
    stream: Stream,
    klass: SignatureClass,
    at: { raw: Quantiles; prior: Location; horizon: number; channel: string; demand: number },
  ): void {
    const { horizon, demand, raw, prior } = at;
    const track = stream.tracks[horizon]!;
    const alarm = alarmOf(stream, klass.family);
    const { now, reference } = calibrated(track, { raw, class: klass, prior });
    const weight = weightOf(track, klass, at.channel);
    const widened = widen(now, 1);
    const raised = watch(
      alarm,
      { horizon, span: spanOf(horizon), weight, demand, reference, widened },
      this.#nowMs(),
    );
    if (raised === undefined) return;
    this.raised[raised as 1 | 2]++;
    if (raised === 1) for (const of of stream.tracks) discount(of, klass.family, KEPT_AFTER_ALARM);
  }

  /** Most recently used last: the map's order decides what is forgotten. */
  #touched(forecast: StreamKey, running: boolean): Stream {
    const name = streamName(forecast, running);
    const stream = this.#streams.get(name) ?? newStream(forecast.source, forecast.modelId, running);
    this.#streams.delete(name);
    this.#streams.set(name, stream);
    while (this.#streams.size > MOST_STREAMS) this.#streams.delete(this.#streams.keys().next().value!);
    return stream;
  }
}

type StreamKey = Pick<Forecast, 'source' | 'modelId'>;

function streamName({ source, modelId }: StreamKey, running: boolean): string {
  return `${source}${modelId === '' ? '' : `:${modelId}`}${running ? '/running' : ''}`;
}

function countsOf({ counts }: Stream, { name }: SignatureClass) {
  let byHorizon = counts.get(name);
  if (byHorizon === undefined) {
    byHorizon = HORIZONS.map(newCount);
    counts.set(name, byHorizon);
  }
  return byHorizon;
}

function usable({ q50, q90, q99 }: Quantiles): boolean {
  return q50 > 0 && q90 >= q50 && q99 >= q90 && Number.isFinite(q99);
}

function spanOf(horizon: number): string {
  const { fromS, toS } = HORIZONS[horizon]!;
  return `${fromS}-${toS} s`;
}
