import { type SignatureClass, signatureClass } from './calibration-class.js';
import { type Coverage, count, coverageOf, newCount } from './calibration-coverage.js';
import { levelAt, watch, widen } from './calibration-drift.js';
import { inherited, spreadOf } from './calibration-spread.js';
import {
  alarmOf,
  type CalibrationState,
  MOST_STREAMS,
  newStream,
  restoredStreams,
  type Stream,
  stateOf,
} from './calibration-state.js';
import {
  discount,
  type Expectation,
  expectationOf,
  learn,
  moved,
  NO_PRIOR,
  newTrack,
  type Prior,
  weightOf,
} from './calibration-track.js';
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
  /** Forecasts with each horizon's demand corrected, and notes where that changes it by more than 1 %, and why. */
  correct(forecasts: readonly Forecast[], signature: Signature, running?: boolean): Forecast[];
  /** The alarm that the outcome raised, if any. */
  observe(outcome: Outcome): DriftAlarm | undefined;
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

export interface Drift {
  /** Those that stand now. */
  readonly alarms: readonly DriftAlarm[];
  /** Since the start, by level. */
  readonly raised: Readonly<Record<1 | 2, number>>;
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
const UNSEEN = newTrack();

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

  correct(forecasts: readonly Forecast[], signature: Signature, running = false): Forecast[] {
    const klass = signatureClass(signature);
    // What is expected of one candidate is expected of the others.
    const expected = new Map<string, Expected>();
    return forecasts.map((forecast) => {
      const name = streamName(forecast, running);
      const known = expected.get(name) ?? this.#expectations(forecast, klass, running);
      expected.set(name, known);
      return this.#corrected(forecast, klass, running, known);
    });
  }

  observe({ forecast, signature, horizon, demand, channel, issued = true }: Outcome): DriftAlarm | undefined {
    const handedOut = forecast.horizons[horizon]?.demand;
    const modelled = forecast.calibration;
    const raw = modelled?.demand[horizon];
    // Without the model's own word (kept by an older daemon) there is nothing to learn from.
    if (modelled === undefined || raw === undefined || handedOut === undefined) return undefined;
    if (!usable(raw) || !Number.isFinite(demand) || demand < 0) return undefined;
    const stream = this.#touched(forecast, modelled.running);
    const track = stream.tracks[horizon]!;
    const klass = signatureClass(signature);
    const horizons = modelled.demand.map((of) => ({ demand: of }));
    const expected =
      this.#expectations({ ...forecast, horizons }, klass, modelled.running)[horizon] ??
      expectationOf(track, klass, NO_PRIOR, spreadOf(raw));
    const seen = { raw, channel, demand: Math.max(demand, LEAST_DEMAND) };
    if (issued) count(countsOf(stream, klass)[horizon]!, seen.demand, handedOut, raw);
    const raised = issued && this.#watch(stream, klass, horizon, expected, seen);
    learn(track, klass, expected, seen);
    return raised ? alarmsOf(stream, this.#nowMs()).find(({ family }) => family === klass.family) : undefined;
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
    return [...this.#streams.values()].flatMap((stream) => alarmsOf(stream, this.#nowMs()));
  }

  state(): CalibrationState {
    return stateOf(this.#streams);
  }

  /** By horizon; undefined where nothing is known of it nor of one before it. */
  #expectations(forecast: Modelled, klass: SignatureClass, running: boolean): Expected {
    const stream = this.#streams.get(streamName(forecast, running));
    // A running channel's model has been seen on new ones; a channel's own use has not.
    const parent = running && forecast.source === 'lstm' ? this.#expectations(forecast, klass, false) : [];
    let before: Expectation | undefined;
    return forecast.horizons.map(({ demand }, h) => {
      const known = parent[h] ?? before;
      const track = stream?.tracks[h] ?? UNSEEN;
      if ((known === undefined && track.clock === 0) || !usable(demand)) return undefined;
      const expected = expectationOf(track, klass, priorFrom(known), spreadOf(demand));
      if (track.clock > 0) before = expected;
      return expected;
    });
  }

  #corrected(forecast: Forecast, klass: SignatureClass, running: boolean, expected: Expected): Forecast {
    const alarm = this.#streams.get(streamName(forecast, running))?.alarms.get(klass.family);
    const level = levelAt(alarm, this.#nowMs());
    const notes = level === 0 ? [] : [`calibration: drift alarm: q90 and q99 widened: ${alarm?.reason}`];
    const horizons = forecast.horizons.map((horizon, h) => {
      const raw = horizon.demand;
      const at = expected[h];
      if (at === undefined || !usable(raw)) return horizon;
      const demand = widen(moved(raw, at), level);
      const factor = demand.q90 / raw.q90;
      if (Math.abs(factor - 1) > 0.01)
        notes.push(`calibration: demand ${spanOf(h)} q90 x ${factor.toFixed(2)} (${klass.name})`);
      return { ...horizon, demand };
    });
    const calibration = { running, demand: forecast.horizons.map(({ demand }) => demand) };
    return { ...forecast, horizons, calibration, notes: [...forecast.notes, ...notes] };
  }

  #watch(
    stream: Stream,
    klass: SignatureClass,
    horizon: number,
    expected: Expectation,
    { raw, demand, channel }: { raw: Quantiles; demand: number; channel: string },
  ): boolean {
    const outcome = {
      ...{ horizon, demand, span: spanOf(horizon) },
      weight: weightOf(stream.tracks[horizon]!, klass, channel),
      reference: moved(raw, expected, expected.slow),
      widened: widen(moved(raw, expected), 1),
    };
    const raised = watch(alarmOf(stream, klass.family), outcome, this.#nowMs());
    if (raised === undefined) return false;
    this.raised[raised]++;
    if (raised === 1) for (const track of stream.tracks) discount(track, klass.family, KEPT_AFTER_ALARM);
    return true;
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
type Modelled = StreamKey & { readonly horizons: readonly { readonly demand: Quantiles }[] };
type Expected = readonly (Expectation | undefined)[];

function streamName({ source, modelId }: StreamKey, running: boolean): string {
  return `${source}${modelId === '' ? '' : `:${modelId}`}${running ? '/running' : ''}`;
}

function alarmsOf({ source, modelId, alarms }: Stream, nowMs: number): DriftAlarm[] {
  return [...alarms].flatMap(([family, alarm]) => {
    const level = levelAt(alarm, nowMs);
    const { sinceMs, reason } = alarm;
    return level === 0 ? [] : [{ source, modelId, family, level, sinceMs, reason }];
  });
}

function countsOf({ counts }: Stream, { name }: SignatureClass) {
  let byHorizon = counts.get(name);
  if (byHorizon === undefined) {
    byHorizon = HORIZONS.map(newCount);
    counts.set(name, byHorizon);
  }
  return byHorizon;
}

function priorFrom(known: Expectation | undefined): Prior {
  if (known === undefined) return NO_PRIOR;
  const { mean, variance } = known.host;
  return { host: { mean, variance: variance + BETWEEN_VARIANCE }, spread: inherited(known.spread) };
}

function usable({ q50, q90, q99 }: Quantiles): boolean {
  return q50 > 0 && q90 >= q50 && q99 >= q90 && Number.isFinite(q99);
}

function spanOf(horizon: number): string {
  const { fromS, toS } = HORIZONS[horizon]!;
  return `${fromS}-${toS} s`;
}
