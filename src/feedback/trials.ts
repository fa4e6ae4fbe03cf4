import type { Decision } from '../balancer/decision.js';
import type { TrainingConfig } from '../config/schema.js';
import type { ForecastSource, HostState } from '../forecast/forecast.js';
import type { HostForecaster } from '../forecast/forecaster.js';
import type { ModelScore } from '../forecast/network.js';
import type { ModelRegistry, Trial } from '../forecast/registry.js';
import { dominantFamily } from '../forecast/signature-family.js';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import type { JsonLines } from '../lib/json-lines.js';
import type { Log } from '../lib/log.js';
import type { HorizonObserved } from './channel-record.js';
import type { Outcome, Said } from './outcome.js';
import { judgeShadow, judgeWatch, Tally, type TrialVerdict } from './promotion-trial.js';
import { addScore, noScore, scoreOf } from './scores.js';
import { Shadow } from './shadow.js';

export interface TrialsOptions {
  readonly registry: ModelRegistry;
  readonly forecaster: Pick<HostForecaster, 'forecastBy' | 'observe'>;
  readonly outcomes: JsonLines<Outcome>;
  readonly clock: Clock;
  readonly config: () => TrainingConfig;
  readonly schedulableCpus: () => number;
  readonly log: Log;
  /** A trial has come to its end: 'better' or 'over', or the model beside failed. Awaited before the next is looked at. */
  readonly onVerdict: (trial: Trial, verdict: TrialVerdict, scores: ModelScore[]) => Promise<void>;
}

/** As one model sees it. */
export type ModelOutcome = Outcome & { readonly said: Said; readonly inUse: boolean };

const FALLBACKS: readonly string[] = ['nearest', 'cost_table'] satisfies ForecastSource[];
/** Outcomes kept in memory, for the report and the listing. */
const MOST_OUTCOMES = 5_000;

/**
 * The models beside the one in use: asked at each admission, scored at each outcome, judged by promotion-trial.ts. Which
 * trials there are stands in the registry, what they rest on in the outcomes file: a restart goes on with both.
 */
export class Trials {
  readonly #options: TrialsOptions;
  readonly #shadow: Shadow;
  readonly #tallies = new Map<string, { readonly sinceMs: number; readonly tally: Tally }>();
  #outcomes: Outcome[] = [];
  /** Seen before start() had read what was there. */
  #early: HorizonObserved[] | undefined = [];
  #reviewing: Promise<void> | undefined;

  constructor(options: TrialsOptions) {
    this.#options = options;
    const { forecaster, registry, schedulableCpus, log } = options;
    this.#shadow = new Shadow({ forecaster, load: (id) => registry.load(id), schedulableCpus, log });
  }

  /** Reads what was before. Nothing here keeps the daemon from serving. */
  async start(): Promise<void> {
    try {
      const before = await this.#options.outcomes.read();
      this.#fill(before);
      this.#outcomes = before.slice(-MOST_OUTCOMES);
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'the outcomes of earlier trials cannot be read');
    }
    await this.follow();
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const observed of early) this.observed(observed);
  }

  /** Takes up the trials as the registry has them now. */
  async follow(): Promise<void> {
    const trials = this.#options.registry.trials();
    for (const [id, { sinceMs }] of this.#tallies) {
      if (!trials.some((trial) => trial.id === id && trial.sinceMs === sinceMs)) this.#tallies.delete(id);
    }
    if (trials.some(({ id }) => !this.#tallies.has(id))) this.#fill(this.#outcomes);
    await this.#shadow.run(trials.map(({ id }) => id));
  }

  /** An admission, with the host as it was: returns at once. */
  admitted(decision: Decision, host: readonly HostState[]): void {
    if (decision.outcome === 'ACCEPTED' && decision.reservationId !== '')
      this.#shadow.admitted(decision, host);
  }

  observed(observed: HorizonObserved): void {
    if (this.#early !== undefined) {
      this.#early.push(observed);
      return;
    }
    const { id, source, signature, forecast, horizon, demandCores } = observed;
    const said = this.#shadow.said(id);
    const shadows = said.flatMap((beside): Said[] => {
      const demand = beside.horizons[horizon]?.demand;
      if (demand === undefined) return [];
      this.#options.forecaster.observe(signature, beside, horizon, demandCores, source);
      return [{ model: beside.modelId, q50: demand.q50, q90: demand.q90 }];
    });
    const served = forecast.horizons[horizon]?.demand;
    if (served === undefined) return;
    const outcome: Outcome = {
      atMs: this.#options.clock.nowMs(),
      channel: id,
      encoder: dominantFamily(signature),
      horizon,
      demand: demandCores,
      served: {
        model: forecast.modelId === '' ? forecast.source : forecast.modelId,
        q50: served.q50,
        q90: served.q90,
      },
      shadows,
    };
    this.#outcomes.push(outcome);
    if (this.#outcomes.length > MOST_OUTCOMES) this.#outcomes.shift();
    for (const trial of this.#options.registry.trials()) this.#count(trial, outcome);
    this.#options.outcomes
      .append([outcome])
      .catch((error) =>
        this.#options.log.warn({ error: messageOf(error) }, 'an outcome could not be kept for the trials'),
      );
    void this.review();
  }

  /** Judges every trial; also without new outcomes, because trials end by time. Joins a judgement under way. */
  review(): Promise<void> {
    this.#reviewing ??= this.#judge().finally(() => {
      this.#reviewing = undefined;
    });
    return this.#reviewing;
  }

  verdict(trial: Trial): TrialVerdict {
    const failure = this.#shadow.failure(trial.id);
    if (failure !== undefined) return { verdict: 'over', reason: `it cannot answer: ${failure}` };
    const { shadow_outcomes, shadow_ms, watch_outcomes } = this.#options.config();
    const tally = this.#tallies.get(trial.id)?.tally ?? new Tally(trial.id);
    const ageMs = this.#options.clock.nowMs() - trial.sinceMs;
    return trial.kind === 'shadow'
      ? judgeShadow(tally, ageMs, { outcomes: shadow_outcomes, giveUpMs: shadow_ms })
      : judgeWatch(tally, ageMs, { outcomes: watch_outcomes, giveUpMs: shadow_ms });
  }

  /** Live outcomes of a model, in use or beside, oldest first. */
  outcomesOf(id: string): readonly ModelOutcome[] {
    return this.#outcomes.flatMap((outcome): ModelOutcome[] => {
      if (outcome.served.model === id) return [{ ...outcome, said: outcome.served, inUse: true }];
      const said = outcome.shadows.find(({ model }) => model === id);
      return said === undefined ? [] : [{ ...outcome, said, inUse: false }];
    });
  }

  /** Undefined before the first outcome. */
  liveScore(id: string): { outcomes: number; score: ModelScore } | undefined {
    const sums = noScore();
    for (const { demand, said } of this.outcomesOf(id)) addScore(sums, demand, said);
    return sums.count === 0 ? undefined : { outcomes: sums.count, score: scoreOf('live', sums) };
  }

  async stop(): Promise<void> {
    await this.#reviewing;
    this.#shadow.stop();
    await this.#options.outcomes.settled();
  }

  /** Never rejects. */
  async #judge(): Promise<void> {
    try {
      for (const trial of this.#options.registry.trials()) {
        const verdict = this.verdict(trial);
        if (verdict.verdict === 'wait') continue;
        await this.#options.onVerdict(trial, verdict, this.#tallies.get(trial.id)?.tally.scores() ?? []);
        // What follows from it may have changed the trials.
        break;
      }
    } catch (error) {
      this.#options.log.error({ err: error }, 'a trial could not be concluded');
    }
  }

  #fill(outcomes: readonly Outcome[]): void {
    for (const trial of this.#options.registry.trials()) {
      if (this.#tallies.has(trial.id)) continue;
      this.#tallies.set(trial.id, { sinceMs: trial.sinceMs, tally: new Tally(trial.id) });
      for (const outcome of outcomes) this.#count(trial, outcome);
    }
  }

  #count({ kind, id, sinceMs }: Trial, outcome: Outcome): void {
    if (outcome.atMs <= sinceMs) return;
    // A promotion is judged by what the promoted model itself said; a candidate beside what was handed out, be it by the
    // model in use or by a fallback, but not by a model that was in use before.
    const { model } = outcome.served;
    const fallback = kind === 'shadow' && FALLBACKS.includes(model);
    if (model !== this.#options.registry.inUse()?.card.id && !fallback) return;
    this.#tallies.get(id)?.tally.add(outcome);
  }
}
