import { setTimeout as later } from 'node:timers/promises';
import type { Decision } from '../balancer/decision.js';
import type { Forecast, HostState } from '../forecast/forecast.js';
import type { HostForecaster } from '../forecast/forecaster.js';
import type { Model } from '../forecast/inference.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';

export interface ShadowOptions {
  readonly forecaster: Pick<HostForecaster, 'forecastBy'>;
  /** A freshly opened model; it is retired here. */
  readonly load: (id: string) => Promise<Model>;
  readonly schedulableCpus: () => number;
  readonly log: Log;
}

/**
 * Models beside the one in use: each admission is forecast by them too. Off the answer's path and at bounded cost: one
 * at a time, PAUSE_MS after the one before, and beyond MOST_WAITING the newest admissions are not forecast. What they
 * say is kept until the channel's horizons are over, and never used.
 */
export class Shadow {
  readonly #options: ShadowOptions;
  readonly #models = new Map<string, Model>();
  readonly #waiting: Admission[] = [];
  /** By reservation, oldest first. */
  readonly #said = new Map<string, readonly Forecast[]>();
  #draining = false;
  #stopped = false;
  #missed = 0;
  readonly #failures = new Map<string, { count: number; last: string }>();

  constructor(options: ShadowOptions) {
    this.#options = options;
  }

  /** Loads and retires until these run. One that does not load is told in `failures`. */
  async run(ids: readonly string[]): Promise<void> {
    for (const [id, model] of this.#models) {
      if (ids.includes(id)) continue;
      this.#models.delete(id);
      this.#failures.delete(id);
      model.retire();
    }
    for (const id of ids) {
      if (this.#models.has(id)) continue;
      try {
        const model = await this.#options.load(id);
        if (this.#stopped || this.#models.has(id)) model.retire();
        else this.#models.set(id, model);
      } catch (error) {
        this.#fail(id, MOST_FAILURES, messageOf(error));
      }
    }
  }

  /** Returns at once. */
  admitted({ reservationId, signature, forecast }: Decision, host: readonly HostState[]): void {
    if (this.#models.size === 0 || this.#stopped) return;
    if (this.#waiting.length >= MOST_WAITING) {
      this.#missed++;
      return;
    }
    this.#waiting.push({ reservationId, signature, cpuCount: forecast.cpuCount, host });
    if (!this.#draining) void this.#drain();
  }

  /** What they said of a channel; empty when it was not asked. */
  said(reservationId: string): readonly Forecast[] {
    return this.#said.get(reservationId) ?? [];
  }

  /** Admissions that came too fast to be forecast. */
  get missed(): number {
    return this.#missed;
  }

  /** Why a model cannot go on: it did not load, or failed several times in a row. */
  failure(id: string): string | undefined {
    const known = this.#failures.get(id);
    return known !== undefined && known.count >= MOST_FAILURES ? known.last : undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting.length = 0;
    for (const model of this.#models.values()) model.retire();
    this.#models.clear();
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    for (;;) {
      // The answer to the caller goes first.
      await later(PAUSE_MS, undefined, { ref: false });
      const admission = this.#waiting.shift();
      if (admission === undefined) break;
      await this.#forecast(admission);
    }
    this.#draining = false;
  }

  async #forecast({ reservationId, signature, cpuCount, host }: Admission): Promise<void> {
    const schedulableCpus = this.#options.schedulableCpus();
    const query = { signature, host, candidates: [cpuCount], schedulableCpus };
    const said: Forecast[] = [];
    for (const [id, model] of this.#models) {
      try {
        said.push(...(await this.#options.forecaster.forecastBy(model, query)));
        this.#failures.delete(id);
      } catch (error) {
        this.#fail(id, 1, messageOf(error));
      }
    }
    this.#said.delete(reservationId);
    this.#said.set(reservationId, said);
    while (this.#said.size > MOST_KEPT) this.#said.delete(this.#said.keys().next().value!);
  }

  #fail(id: string, weight: number, why: string): void {
    const count = (this.#failures.get(id)?.count ?? 0) + weight;
    this.#failures.set(id, { count, last: why });
    this.#options.log.warn({ model: id, error: why }, 'a model beside the one in use failed');
  }
}

interface Admission {
  readonly reservationId: string;
  readonly signature: Decision['signature'];
  readonly cpuCount: number;
  readonly host: readonly HostState[];
}

/** With two models of 0.2 ms each: at most 8 % of one CPU, for as long as channels come as fast as this. */
const PAUSE_MS = 5;
const MOST_WAITING = 64;
/** More channels than that start within five minutes on no host. */
const MOST_KEPT = 4_096;
const MOST_FAILURES = 3;
