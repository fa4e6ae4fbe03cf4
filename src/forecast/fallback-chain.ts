import type { History } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { Calibration } from './calibration.js';
import { costTableForecast, ownUsageForecast } from './fallback.js';
import type { Forecast, ForecastQuery } from './forecast.js';
import { createNearestRuns } from './nearest.js';
import type { Signature } from './signature.js';

export interface FallbackOptions {
  readonly history: Pick<History, 'runs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly calibration: Pick<Calibration, 'drifting'>;
  /** The host's factor on the cost table's estimate of a channel. */
  readonly speed: (signature: Signature) => number;
}

const INDEX_SPANS_DAYS = [1, 7, 36_500];

/** What forecasts when the model does not: a running channel's own use, else the nearest runs, else the cost table. */
export class FallbackChain {
  readonly #options: FallbackOptions;
  readonly #nearest = createNearestRuns();
  #closed = false;
  /** Resolves when the runs of the history are indexed. */
  readonly indexed: Promise<void>;

  constructor(options: FallbackOptions) {
    this.#options = options;
    this.indexed = this.#indexHistory();
  }

  add(run: Run): void {
    this.#nearest.add(run);
  }

  close(): void {
    this.#closed = true;
  }

  /** One forecast per candidate; `why` a better source was not used. */
  forecast(query: ForecastQuery, why: readonly string[]): Forecast[] {
    return query.candidates.map((cpuCount) => {
      const own = ownUsageForecast(query, cpuCount, why);
      if (own !== undefined) return own;
      const near = this.#byNearest(query, cpuCount, why);
      if (!('why' in near)) return near;
      const factor = this.#options.speed(query.signature);
      return costTableForecast(query, cpuCount, factor, [...why, near.why]);
    });
  }

  /**
   * What the rest of the chain would have said of a new channel beside a forecast that was handed out: its calibration
   * learns from that channel too, and is ready when it is needed. A running channel's fallback is its own use.
   */
  beside({ source, cpuCount, calibration }: Forecast, signature: Signature): Forecast[] {
    if (source === 'cost_table' || calibration?.running === true) return [];
    const query = { signature, host: [], candidates: [cpuCount], schedulableCpus: cpuCount };
    const near = source === 'lstm' ? this.#nearest.forecast(query, cpuCount, []) : { why: 'it was used' };
    const table = costTableForecast(query, cpuCount, this.#options.speed(signature), []);
    return 'why' in near ? [table] : [near, table];
  }

  #byNearest(query: ForecastQuery, cpuCount: number, why: readonly string[]) {
    const drift = this.#options.calibration.drifting('nearest', '', query.signature);
    if (drift !== undefined) return { why: `nearest: drifts: ${drift}` };
    return this.#nearest.forecast(query, cpuCount, why);
  }

  /** The newest runs are enough: a long history is read in growing spans until the index is full. */
  async #indexHistory(): Promise<void> {
    const { history, clock, log } = this.#options;
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
      log.warn({ error: messageOf(error) }, 'cannot index the runs of the history for similar channels');
    }
  }
}
