import { HORIZONS } from '../forecast/forecast.js';
import type { ModelScore } from '../forecast/network.js';
import type { Outcome } from './outcome.js';
import { COVERAGE_SLACK, MARGIN, uncovered } from './promotion.js';
import { addScore, noScore, pinball90, type ScoreSums, scoreOf } from './scores.js';

/**
 * A trial: a model answers beside the one in use, both are scored by what the channels then used. Both quantiles are as they
 * are handed out, each corrected by its own online calibration: that is what cores are reserved by.
 *
 * The comparison is paired, outcome by outcome, so that a hard evening is hard for both. The outcomes of one channel stand or
 * fall together: their differences are summed by channel before their spread is taken (a cluster-robust standard error). A
 * difference counts when it is larger than a margin, because a change is never free, and than Z standard errors, because
 * everything is looked at again after every outcome and luck would be found sooner or later.
 */
export class Tally {
  readonly #trial: string;
  readonly served = noScore();
  readonly beside = noScore();
  readonly byHorizon = HORIZONS.map(() => ({ served: noScore(), beside: noScore() }));
  /** By channel: pinball loss of what was served less that of the model beside it. */
  readonly #differences = new Map<string, number>();
  #sum = 0;
  #sumOfSquares = 0;
  /** Outcomes that only one of the two covered. */
  #onlyServed = 0;
  #onlyBeside = 0;

  /** `trial`: the model beside the one in use. */
  constructor(trial: string) {
    this.#trial = trial;
  }

  /** An outcome on which this model did not answer is not counted. */
  add({ channel, horizon, demand, served, shadows }: Outcome): void {
    const beside = shadows.find(({ model }) => model === this.#trial);
    const own = this.byHorizon[horizon];
    if (beside === undefined || own === undefined) return;
    for (const [sums, said] of [
      [this.served, served],
      [own.served, served],
      [this.beside, beside],
      [own.beside, beside],
    ] as const)
      addScore(sums, demand, said);
    const difference = pinball90(demand, served.q90) - pinball90(demand, beside.q90);
    const before = this.#differences.get(channel) ?? 0;
    this.#differences.set(channel, before + difference);
    this.#sum += difference;
    this.#sumOfSquares += (before + difference) ** 2 - before ** 2;
    if (demand <= served.q90 && demand > beside.q90) this.#onlyServed++;
    if (demand > served.q90 && demand <= beside.q90) this.#onlyBeside++;
  }

  get outcomes(): number {
    return this.served.count;
  }

  get channels(): number {
    return this.#differences.size;
  }

  /** How many standard errors the model beside is better by in pinball loss; negative: worse. */
  get z(): number {
    return this.#sum === 0 ? 0 : this.#sum / Math.sqrt(this.#sumOfSquares);
  }

  /** How many standard errors what was served covers less by (McNemar's test of paired shares). */
  get coverageZ(): number {
    const differ = this.#onlyServed + this.#onlyBeside;
    return differ === 0 ? 0 : (this.#onlyBeside - this.#onlyServed) / Math.sqrt(differ);
  }

  scores(): ModelScore[] {
    return [scoreOf('served', this.served), scoreOf(this.#trial, this.beside)];
  }
}

export interface TrialTerms {
  /** Outcomes before anything is decided. */
  readonly outcomes: number;
  /** The trial is over after this long. */
  readonly giveUpMs: number;
}

export interface TrialVerdict {
  readonly verdict: 'wait' | 'better' | 'over';
  /** One sentence, with the numbers. */
  readonly reason: string;
}

/** Of equals that are looked at after every outcome, from the wanted ones to ENOUGH times as many, 5 % ever get so far. */
const Z = 2.5;
/** By how much the predecessor must have been better: an alarm that goes off for little is one that is switched off. */
const ROLLBACK_MARGIN = 0.1;
const ROLLBACK_COVERAGE = 0.05;
/** One horizon of few outcomes varies more than all of them. */
const HORIZON_SLACK = 0.06;
const LEAST_OF_HORIZON = 30;
/** As many times the wanted outcomes without a decision: there is no difference that matters. */
const ENOUGH = 8;

/** 'better': the candidate is to be promoted. 'over': it is to be given up. */
export function judgeShadow(tally: Tally, ageMs: number, terms: TrialTerms): TrialVerdict {
  const { outcomes, z } = tally;
  const late = ageMs >= terms.giveUpMs;
  if (outcomes < terms.outcomes) {
    const reason = `${outcomes} of ${terms.outcomes} outcomes after ${lasted(ageMs)}`;
    return { verdict: late ? 'over' : 'wait', reason: late ? `not promoted: only ${reason}` : reason };
  }
  const ratio = tally.beside.pinball / tally.served.pinball;
  const told = `${compared(tally)}, ${z.toFixed(1)} standard errors`;
  if (ratio < 1 - MARGIN && z > Z) {
    const short = shortOfCoverage(tally);
    if (short === undefined) return { verdict: 'better', reason: `promoted: ${told}` };
    return { verdict: late ? 'over' : 'wait', reason: `not promoted: ${told}; ${short}` };
  }
  const worse = ratio > 1 + MARGIN && z < -Z;
  if (worse || late || outcomes >= ENOUGH * terms.outcomes) {
    const why = worse ? 'it is worse' : `${(100 * MARGIN).toFixed(0)} % and ${Z} standard errors are needed`;
    return { verdict: 'over', reason: `not promoted: ${told}; ${why}` };
  }
  return { verdict: 'wait', reason: told };
}

/** 'better': the predecessor is to come back. 'over': the model in use stood its test. */
export function judgeWatch(tally: Tally, ageMs: number, terms: TrialTerms): TrialVerdict {
  const { outcomes, z, coverageZ } = tally;
  const late = ageMs >= terms.giveUpMs;
  if (outcomes < terms.outcomes) {
    const reason = `${outcomes} of ${terms.outcomes} outcomes after ${lasted(ageMs)}`;
    return { verdict: late ? 'over' : 'wait', reason };
  }
  const told = compared(tally, 'the predecessor');
  if (tally.served.pinball > tally.beside.pinball * (1 + ROLLBACK_MARGIN) && z > Z)
    return {
      verdict: 'better',
      reason: `rolled back: ${told}: it was better by ${z.toFixed(1)} standard errors`,
    };
  const [served, beside] = [coverage(tally.served), coverage(tally.beside)];
  if (uncovered(served) > uncovered(beside) + ROLLBACK_COVERAGE && coverageZ > Z)
    return {
      verdict: 'better',
      reason: `rolled back: ${told}: it covered more by ${coverageZ.toFixed(1)} standard errors`,
    };
  const over = late || outcomes >= ENOUGH * terms.outcomes;
  return { verdict: over ? 'over' : 'wait', reason: told };
}

function shortOfCoverage({ served, beside, byHorizon }: Tally): string | undefined {
  if (uncovered(coverage(beside)) > uncovered(coverage(served)) + COVERAGE_SLACK) return 'it covers less';
  const horizon = byHorizon.findIndex(
    (own) =>
      own.beside.count >= LEAST_OF_HORIZON &&
      uncovered(coverage(own.beside)) > uncovered(coverage(own.served)) + HORIZON_SLACK,
  );
  if (horizon < 0) return undefined;
  const { fromS, toS } = HORIZONS[horizon]!;
  const { served: now, beside: then } = byHorizon[horizon]!;
  return `at ${fromS}-${toS} s it covers ${percent(coverage(then).coverage90)} against ${percent(coverage(now).coverage90)}`;
}

function compared({ served, beside, outcomes, channels }: Tally, whose = 'it'): string {
  const [inUse, trial] = [scoreOf('', served), scoreOf('', beside)];
  return (
    `on ${outcomes} outcomes of ${channels} live channels ${whose} had pinball loss ${number(trial.pinball90)} and coverage ` +
    `${percent(trial.coverage90)} against ${number(inUse.pinball90)} and ${percent(inUse.coverage90)} of what was in use`
  );
}

function coverage({ covered, count }: ScoreSums): { coverage90: number } {
  return { coverage90: covered / count };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function number(x: number): string {
  return x.toPrecision(3);
}

function lasted(ms: number): string {
  const hours = ms / 3_600_000;
  return hours < 48 ? `${hours.toFixed(1)} hours` : `${(hours / 24).toFixed(1)} days`;
}
