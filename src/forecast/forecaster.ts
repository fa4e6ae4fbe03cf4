import type { History } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { createCalibration, type DriftAlarm } from './calibration.js';
import type { Coverage } from './calibration-coverage.js';
import { costTableDemand } from './cost-table.js';
import { decodeForecast, rowAt } from './decode.js';
import { costTableForecast, ownUsageForecast } from './fallback.js';
import { encodeSequence, encodeStatics } from './features.js';
import type { Forecast, Forecaster, ForecastQuery, ForecastSource } from './forecast.js';
import { meanDemand } from './horizon-demand.js';
import type { Model } from './inference.js';
import { createNearestRuns } from './nearest.js';
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
  coverage(): readonly Coverage[];
  /** Drift alarms that stand now, and how many were raised since the start, by level. */
  drift(): { readonly alarms: readonly DriftAlarm[]; readonly raised: Readonly<Record<1 | 2, number>> };
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
/** After this many slow or failed runs in a row the model rests, so that it cannot slow every admission. */
const STRIKES = 3;
const REST_MS = 60_000;
const SAVE_EVERY_MS = 5_000;
const INDEX_SPANS_DAYS = [1, 7, 36_500];
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
  readonly #nearest = createNearestRuns();
  readonly #bySource: Record<ForecastSource, number> = { lstm: 0, nearest: 0, cost_table: 0 };
  readonly indexed: Promise<void>;
  #slowRuns = 0;
  #failedRuns = 0;
  #lastRunMs = Number.NaN;
  #strikes = 0;
  #restUntilMs = 0;
  #strikeModel = '';
  #savedMs = 0;
  #dirty = false;
  #closed = false;

  constructor(options: ForecasterOptions, calibration: unknown, speed: unknown) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#calibration = createCalibration({ saved: calibration, nowMs: () => options.clock.nowMs() });
    this.#speed = createSpeedFactorTrack(speed);
    this.indexed = this.#indexHistory();
  }

  async forecast(query: ForecastQuery): Promise<readonly Forecast[]> {
    checkCandidates(query.candidates);
    const byModel = await this.#byModel(query);
    const forecasts = Array.isArray(byModel) ? byModel : this.#byFallback(query, [byModel.why]);
    for (const { source } of forecasts) this.#bySource[source]++;
    return forecasts.map((forecast) => this.#correct(forecast, query));
  }

  async forecastBy(model: Model, query: ForecastQuery): Promise<readonly Forecast[]> {
    checkCandidates(query.candidates);
    const statics = encodeStatics(query.signature, query.candidates, query.schedulableCpus);
    const output = await model.run(encodeSequence(query.host, query.channel), statics);
    return this.#decode(model.card, query, output).map((forecast) => this.#correct(forecast, query));
  }

  async learn(run: Run): Promise<void> {
    this.#nearest.add(run);
    if (run.origin !== 'calibration') return;
    const demand = meanDemand(run);
    if (demand === undefined) return;
    const expected = costTableDemand(run.signature);
    this.#speed.add('costTable', demand / expected);
    const model = this.#options.registry.inUse();
    if (model?.card.origin === 'baseline') {
      const byBaseline = await this.#baselineExpectation(model, run);
      if (byBaseline !== undefined) this.#speed.add('baseline', demand / byBaseline, model.card.id);
    }
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
    this.#calibration.observe({ ...outcome, forecast });
    for (const other of this.#fallbacksFor(forecast, signature))
      this.#calibration.observe({ ...outcome, forecast: other, issued: false });
    this.#dirty = true;
    const now = this.#options.clock.monotonicMs();
    if (now - this.#savedMs < SAVE_EVERY_MS) return;
    this.#savedMs = now;
    void this.#saveCalibration();
  }

  coverage(): readonly Coverage[] {
    return this.#calibration.coverage();
  }

  drift() {
    return { alarms: this.#calibration.alarms(), raised: { ...this.#calibration.raised } };
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
    this.#closed = true;
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
    if (this.#resting(id)) return { why: `lstm: ${id} rests after ${STRIKES} slow or failed runs` };
    try {
      return await this.#infer(model, query);
    } catch (error) {
      this.#strike(id);
      return { why: `lstm: ${messageOf(error)}` };
    }
  }

  /** One batched run for all candidates. */
  async #infer(model: Model, query: ForecastQuery): Promise<Forecast[]> {
    const { timeoutMs, clock } = this.#options;
    const { card } = model;
    const started = clock.monotonicMs();
    const statics = encodeStatics(query.signature, query.candidates, query.schedulableCpus);
    const output = await this.#timed(model, encodeSequence(query.host, query.channel), statics);
    this.#lastRunMs = clock.monotonicMs() - started;
    // onnxruntime-node runs on this thread: a late result is there before the timer could tell, and is used.
    if (this.#lastRunMs > timeoutMs) {
      this.#slowRuns++;
      this.#strike(card.id);
    } else {
      this.#strikes = 0;
    }
    return this.#decode(card, query, output);
  }

  #decode(card: ModelCard, query: ForecastQuery, output: Float32Array): Forecast[] {
    const factor = card.origin === 'baseline' ? this.#speed.current().baseline : 1;
    const expectedCores = costTableDemand(query.signature) * factor;
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

  #byFallback(query: ForecastQuery, why: readonly string[]): Forecast[] {
    return query.candidates.map((cpuCount) => {
      const own = ownUsageForecast(query, cpuCount, why);
      if (own !== undefined) return own;
      const near = this.#byNearest(query, cpuCount, why);
      if (!('why' in near)) return near;
      return costTableForecast(query, cpuCount, this.#speed.current().costTable, [...why, near.why]);
    });
  }

  #byNearest(query: ForecastQuery, cpuCount: number, why: readonly string[]) {
    const drift = this.#calibration.drifting('nearest', '', query.signature);
    if (drift !== undefined) return { why: `nearest: drifts: ${drift}` };
    return this.#nearest.forecast(query, cpuCount, why);
  }

  #correct(forecast: Forecast, { signature, channel }: ForecastQuery): Forecast {
    return this.#calibration.correct(forecast, signature, (channel?.length ?? 0) > 0);
  }

  /** What the rest of the chain would have said of a new channel; a running one's fallback is its own use. */
  #fallbacksFor({ source, cpuCount, calibration }: Forecast, signature: Signature): Forecast[] {
    if (source === 'cost_table' || calibration?.running) return [];
    const query = { signature, host: [], candidates: [cpuCount], schedulableCpus: cpuCount };
    const near = source === 'lstm' ? this.#nearest.forecast(query, cpuCount, []) : undefined;
    const table = costTableForecast(query, cpuCount, this.#speed.current().costTable, []);
    return [near, table].flatMap((one) =>
      one === undefined || 'why' in one ? [] : [this.#calibration.correct(one, signature)],
    );
  }

  async #baselineExpectation(model: Model, run: Run): Promise<number | undefined> {
    try {
      const statics = encodeStatics(
        run.signature,
        [Math.max(1, run.cpuCount)],
        Math.max(1, run.schedulableCpus),
      );
      const output = await model.run(encodeSequence(run.hostBefore), statics);
      const forecast = decodeForecast(rowAt(output, 0), {
        modelId: model.card.id,
        cpuCount: Math.max(1, run.cpuCount),
        expectedCores: costTableDemand(run.signature),
        notes: [],
      });
      return forecast.horizons[0]?.demand.q50;
    } catch (error) {
      this.#log.warn({ run: run.id, error: messageOf(error) }, 'the baseline cannot be compared with a run');
      return undefined;
    }
  }

  /** The newest runs are enough: a long history is read in growing spans until the index is full. */
  async #indexHistory(): Promise<void> {
    const { history, clock } = this.#options;
    try {
      for (const days of INDEX_SPANS_DAYS) {
        const sinceMs = Math.max(0, clock.nowMs() - days * 86_400_000);
        for await (const run of history.runs({ sinceMs })) {
          if (this.#closed) return;
          this.#nearest.add(run);
        }
        if (this.#nearest.full) return;
      }
    } catch (error) {
      this.#log.warn(
        { error: messageOf(error) },
        'cannot index the runs of the history for similar channels',
      );
    }
  }

  #resting(id: string): boolean {
    if (this.#strikeModel !== id) return false;
    return this.#restUntilMs > this.#options.clock.monotonicMs();
  }

  #strike(id: string): void {
    if (this.#strikeModel !== id) this.#strikes = 0;
    this.#strikeModel = id;
    this.#strikes++;
    if (this.#strikes < STRIKES) return;
    this.#strikes = 0;
    this.#restUntilMs = this.#options.clock.monotonicMs() + REST_MS;
    this.#log.warn({ model: id, restMs: REST_MS }, 'the model was slow or failed repeatedly: it rests');
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
