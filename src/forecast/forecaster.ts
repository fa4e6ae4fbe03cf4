import type { History } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { createCalibration, type Drift, type DriftAlarm } from './calibration.js';
import type { Coverage } from './calibration-coverage.js';
import { costTableDemand } from './cost-table.js';
import { decodeForecast, rowAt } from './decode.js';
import { expectedDemand } from './expected-demand.js';
import { FallbackChain } from './fallback-chain.js';
import { encodeSequence, encodeStatics } from './features.js';
import type { Forecast, Forecaster, ForecastQuery, ForecastSource } from './forecast.js';
import { meanDemand } from './horizon-demand.js';
import type { Model } from './inference.js';
import { medianDemand } from './median-demand.js';
import { ModelRest, STRIKES } from './model-rest.js';
import type { ModelCard } from './network.js';
import type { ModelRegistry } from './registry.js';
import type { Signature } from './signature.js';
import { createSpeedFactorTrack, type SpeedFactor } from './speed-factor.js';

/**
 * The fallback chain: the LSTM, else the nearest runs of this host's history, else the static cost table. Each forecast
 * says in its notes why a better source was passed over. Whatever state the model is in, a forecast comes back: a model
 * that is missing, slow, broken or drifting costs accuracy, never an admission.
 */
export interface HostForecaster extends Forecaster {
  /** What another model would hand out, by its own calibration: for its trial. Counts nowhere; rejects where it fails. */
  forecastBy(model: Model, query: ForecastQuery): Promise<readonly Forecast[]>;
  /** Takes a finished run (or calibration measurement) into the index and the speed factor. */
  learn(run: Run): Promise<void>;
  /**
   * Tells what came of a forecast: the mean demand over HORIZONS[horizon]. Feeds the calibration, that of the fallback
   * too, so that it is ready when it is needed. `channel` names the picture, over restarts: see Outcome.
   */
  observe(
    signature: Signature,
    forecast: Forecast,
    horizon: number,
    demandCores: number,
    channel?: string,
  ): void;
  /** Of the model in use and of the fallbacks. */
  coverage(): readonly Coverage[];
  /** Drift alarms of these that stand now, and how many were raised since the start, by level. */
  drift(): Drift;
  speedFactor(): SpeedFactor;
  counters(): ForecastCounters;
  /** Resolves when the runs of the history are indexed; forecasts need not wait for it. */
  readonly indexed: Promise<void>;
  /** Saves the calibration. */
  close(): Promise<void>;
}

export interface ForecastCounters {
  readonly bySource: Readonly<Record<ForecastSource, number>>;
  readonly slowRuns: number;
  readonly failedRuns: number;
  /** Duration of the last model run, milliseconds; NaN before the first. */
  readonly lastRunMs: number;
}

export interface ForecasterOptions {
  readonly registry: ModelRegistry;
  readonly history: History;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly log?: Log;
}

const MOST_CANDIDATES = 256;
const SAVE_EVERY_MS = 5_000;
const CALIBRATION_FACT = 'forecast.calibration';
const SPEED_FACT = 'speed_factor';

export async function createForecaster(options: ForecasterOptions): Promise<HostForecaster> {
  const { history, log = silentLog } = options;
  const fact = async (name: string) => {
    try {
      return await history.getFact<unknown>(name);
    } catch (error) {
      log.warn({ fact: name, error: messageOf(error) }, 'cannot read a saved forecast state: it begins anew');
      return undefined;
    }
  };
  return new ChainForecaster(options, await fact(CALIBRATION_FACT), await fact(SPEED_FACT));
}

class ChainForecaster implements HostForecaster {
  readonly #options: ForecasterOptions;
  readonly #log: Log;
  readonly #calibration;
  readonly #speed;
  readonly #fallback;
  readonly #rest;
  readonly #bySource: Record<ForecastSource, number> = { lstm: 0, nearest: 0, cost_table: 0 };
  readonly indexed: Promise<void>;
  #slowRuns = 0;
  #failedRuns = 0;
  #lastRunMs = Number.NaN;
  #savedMs = 0;
  #dirty = false;

  constructor(options: ForecasterOptions, calibration: unknown, speed: unknown) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#calibration = createCalibration({ saved: calibration, nowMs: () => options.clock.nowMs() });
    this.#speed = createSpeedFactorTrack(speed);
    this.#rest = new ModelRest(options.clock, this.#log);
    this.#fallback = new FallbackChain({
      history: options.history,
      clock: options.clock,
      log: this.#log,
      calibration: this.#calibration,
      speed: (signature) => this.#speed.factorFor('costTable', signature),
    });
    this.indexed = this.#fallback.indexed;
  }

  async forecast(query: ForecastQuery): Promise<readonly Forecast[]> {
    checkCandidates(query.candidates);
    const byModel = await this.#byModel(query);
    const forecasts = Array.isArray(byModel) ? byModel : this.#fallback.forecast(query, [byModel.why]);
    for (const { source } of forecasts) this.#bySource[source]++;
    return this.#correct(forecasts, query);
  }

  async forecastBy(model: Model, query: ForecastQuery): Promise<readonly Forecast[]> {
    checkCandidates(query.candidates);
    const statics = this.#staticsFor(model.card, query);
    const output = await model.run(encodeSequence(query.host, query.channel), statics);
    return this.#correct(this.#decode(model.card, query, output), query);
  }

  async learn(run: Run): Promise<void> {
    this.#fallback.add(run);
    if (run.origin !== 'calibration') return;
    const demand = meanDemand(run);
    if (demand === undefined) return;
    const costTable = demand / costTableDemand(run.signature);
    const baseline = await this.#baselineRatio(run, demand);
    this.#speed.add({ signature: run.signature, costTable, ...(baseline && { baseline }) });
    await this.#save(SPEED_FACT, this.#speed.state());
  }

  observe(
    signature: Signature,
    forecast: Forecast,
    horizon: number,
    demandCores: number,
    channel = '',
  ): void {
    const outcome = { signature, horizon, demand: demandCores, channel };
    this.#tell(this.#calibration.observe({ ...outcome, forecast }));
    // Models on trial speak of the same channels: once is enough.
    if (this.#serves(forecast.modelId)) {
      const beside = this.#fallback.beside(forecast, signature);
      for (const other of this.#calibration.correct(beside, signature))
        this.#calibration.observe({ ...outcome, forecast: other, issued: false });
    }
    this.#dirty = true;
    const now = this.#options.clock.monotonicMs();
    if (now - this.#savedMs < SAVE_EVERY_MS) return;
    this.#savedMs = now;
    void this.#saveCalibration();
  }

  coverage(): readonly Coverage[] {
    return this.#calibration.coverage().filter(({ modelId }) => this.#serves(modelId));
  }

  drift(): Drift {
    const alarms = this.#calibration.alarms().filter(({ modelId }) => this.#serves(modelId));
    return { alarms, raised: { ...this.#calibration.raised } };
  }

  speedFactor(): SpeedFactor {
    return this.#speed.current();
  }

  counters(): ForecastCounters {
    return {
      bySource: { ...this.#bySource },
      slowRuns: this.#slowRuns,
      failedRuns: this.#failedRuns,
      lastRunMs: this.#lastRunMs,
    };
  }

  async close(): Promise<void> {
    this.#fallback.close();
    await this.indexed;
    await this.#saveCalibration();
  }

  async #byModel(query: ForecastQuery): Promise<Forecast[] | { why: string }> {
    const { registry } = this.#options;
    const model = registry.inUse();
    if (model === undefined) {
      const problem = registry.problems().at(-1);
      return { why: `lstm: no model in use${problem === undefined ? '' : ` (${problem})`}` };
    }
    const { id } = model.card;
    const drift = this.#calibration.drifting('lstm', id, query.signature);
    if (drift !== undefined) return { why: `lstm: ${id} drifts: ${drift}` };
    if (this.#rest.resting(id)) return { why: `lstm: ${id} rests after ${STRIKES} slow or failed runs` };
    try {
      return await this.#infer(model, query);
    } catch (error) {
      this.#rest.strike(id);
      return { why: `lstm: ${messageOf(error)}` };
    }
  }

  /** Measured over expected demand, where a baseline is in use: only it needs the host's factor. */
  async #baselineRatio(run: Run, demand: number): Promise<{ id: string; ratio: number } | undefined> {
    const model = this.#options.registry.inUse();
    if (model?.card.origin !== 'baseline') return undefined;
    try {
      return { id: model.card.id, ratio: demand / (await medianDemand(model, run)) };
    } catch (error) {
      this.#log.warn({ run: run.id, error: messageOf(error) }, 'the baseline cannot be compared with a run');
      return undefined;
    }
  }

  /** One batched run for all candidates. */
  async #infer(model: Model, query: ForecastQuery): Promise<Forecast[]> {
    const { timeoutMs, clock } = this.#options;
    const { card } = model;
    const started = clock.monotonicMs();
    const statics = this.#staticsFor(card, query);
    const output = await this.#timed(model, encodeSequence(query.host, query.channel), statics);
    this.#lastRunMs = clock.monotonicMs() - started;
    // onnxruntime-node runs on this thread: a late result is there before the timer could tell, and is used.
    if (this.#lastRunMs > timeoutMs) {
      this.#slowRuns++;
      this.#rest.strike(card.id);
    } else {
      this.#rest.ranWell();
    }
    return this.#decode(card, query, output);
  }

  #staticsFor(card: ModelCard, query: ForecastQuery): readonly Float32Array[] {
    const { signature, candidates, schedulableCpus } = query;
    return encodeStatics(signature, candidates, schedulableCpus, {
      vocabulary: card.vocabulary,
      speedFactor: this.#factorFor(card, query),
    });
  }

  /** A model that was trained here knows this host's speed. */
  #factorFor({ origin }: ModelCard, { signature }: ForecastQuery): number {
    return origin === 'baseline' ? this.#speed.factorFor('baseline', signature) : 1;
  }

  #decode(card: ModelCard, query: ForecastQuery, output: Float32Array): Forecast[] {
    const factor = this.#factorFor(card, query);
    const expectedCores = expectedDemand(query.signature, factor);
    const notes = factor === 1 ? [] : [`speed factor ${factor.toFixed(2)}`];
    return query.candidates.map((cpuCount, i) =>
      decodeForecast(rowAt(output, i), { modelId: card.id, cpuCount, expectedCores, notes }),
    );
  }

  async #timed(
    model: Model,
    sequence: Float32Array,
    statics: readonly Float32Array[],
  ): Promise<Float32Array> {
    const { timeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#slowRuns++;
        reject(new Error(`${model.card.id} took longer than ${timeoutMs} ms`));
      }, timeoutMs);
    });
    const run = model.run(sequence, statics);
    run.catch(() => this.#failedRuns++);
    try {
      return await Promise.race([run, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The model in use, or a fallback. */
  #serves(modelId: string): boolean {
    return modelId === '' || modelId === this.#options.registry.inUse()?.card.id;
  }

  #correct(forecasts: readonly Forecast[], { signature, channel }: ForecastQuery): Forecast[] {
    return this.#calibration.correct(forecasts, signature, (channel?.length ?? 0) > 0);
  }

  #tell(alarm: DriftAlarm | undefined): void {
    if (alarm === undefined) return;
    const { level, source, modelId, family, reason } = alarm;
    const done = level === 2 ? 'they are left out for a while' : 'they are widened';
    this.#log.warn({ part: 'forecast', source, modelId, family, reason }, `forecasts drift: ${done}`);
  }

  async #saveCalibration(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    await this.#save(CALIBRATION_FACT, this.#calibration.state());
  }

  async #save(fact: string, value: unknown): Promise<void> {
    try {
      await this.#options.history.putFact(fact, value);
    } catch (error) {
      this.#log.warn(
        { fact, error: messageOf(error) },
        'cannot save a forecast state: a restart will begin from an older one',
      );
    }
  }
}

function checkCandidates(candidates: readonly number[]): void {
  const bad = candidates.find((count) => !Number.isSafeInteger(count) || count < 1);
  if (bad !== undefined || candidates.length > MOST_CANDIDATES) {
    const value = bad === undefined ? `${candidates.length} candidates` : String(bad);
    throw new CorecastError(
      'INVALID_ARGUMENT',
      `candidate CPU counts: ${value}; expected at most ${MOST_CANDIDATES} whole numbers of 1 or more`,
    );
  }
}
