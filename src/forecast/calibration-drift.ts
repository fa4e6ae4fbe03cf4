import type { Quantiles } from './forecast.js';

/**
 * The drift alarm of one encoder family: do outcomes lie higher than the host's past says? Each outcome falls into one of
 * four bins: up to q50, q90, q99, above. Evidence for a drift is the likelihood ratio of the bins, multiplied up and
 * restarted at 1 (an e-detector: Shin, Ramdas and Rinaldo 2024), the mean over three sizes of drift:
 *
 *   evidence <- max(evidence, 1) * (share of the bin under drift / share of the bin without)
 *
 * While no more than 55 % of the outcomes lie above q50, 12 % above q90 and 1.5 % above q99, whatever their distribution,
 * the mean number of outcomes until it reaches a threshold is at least that threshold: at most one false alarm in
 * RAISE_AT outcomes of a horizon. (Measured, `npm run -s bench -- coverage`: some in 10,000.)
 *
 * Level 1, widened: the past is no guide any more. It is judged against the slow memory alone, because the calibration
 * follows a shift quickly enough to hide it. q90 and q99 are taken WIDEN times as far from q50, and what the family's
 * classes were counts for little. It ends after CLEAR_AFTER outcomes without new evidence.
 * Level 2, fall back: SETTLE_AFTER outcomes later even the widened, newly calibrated quantiles are exceeded too often (at
 * most one false alarm in FALL_BACK_AT outcomes of level 1). The model is left out for HOLD_MS, then tried again at level
 * 1; each time in a row it fails it is left out twice as long, up to MOST_HOLD_MS.
 */
export interface FamilyAlarm {
  level: AlarmLevel;
  sinceMs: number;
  /** End of level 2. */
  untilMs: number;
  /** Of the next level 2. */
  holdMs: number;
  reason: string;
  /** Outcomes since level 1 was raised, and since there was last evidence. */
  settled: number;
  quiet: number;
  readonly horizons: HorizonWatch[];
}

export type AlarmLevel = 0 | 1 | 2;

export interface HorizonWatch {
  outcomes: number;
  readonly reference: Excursion;
  readonly widened: Excursion;
}

/** Evidence by size of drift, with the outcomes since it last stood at 1. */
export interface Excursion {
  evidence: number[];
  outcomes: number;
  above: number;
}

export interface WatchedOutcome {
  readonly horizon: number;
  /** "10-60 s", for the reason. */
  readonly span: string;
  readonly weight: number;
  readonly demand: number;
  /** By the slow memory alone, and as handed out. */
  readonly reference: Quantiles;
  readonly widened: Quantiles;
}

export const RAISE_AT = 300;
export const FALL_BACK_AT = 1_000;
export const WIDEN = 1.25;
export const CLEAR_AFTER = 40;
export const SETTLE_AFTER = 8;
export const HOLD_MS = 30 * 60_000;
export const MOST_HOLD_MS = 8 * 3_600_000;
/** A host's first outcomes say how it differs from others: no drift. */
const LEARNING = 6;

const WITHOUT = [0.45, 0.43, 0.105, 0.015] as const;
/** Shares of the bins after a rise by about 0.35, 0.8 and 1.6 standard deviations. */
const DRIFTS = [
  [0.35, 0.45, 0.16, 0.04],
  [0.22, 0.42, 0.25, 0.11],
  [0.06, 0.3, 0.38, 0.26],
] as const;

export function newAlarm(horizons: number): FamilyAlarm {
  return {
    ...{ level: 0, sinceMs: 0, untilMs: 0, holdMs: HOLD_MS, reason: '', settled: 0, quiet: 0 },
    horizons: Array.from({ length: horizons }, () => ({
      outcomes: 0,
      reference: newExcursion(),
      widened: newExcursion(),
    })),
  };
}

/** A fallback whose time is over counts as level 1. */
export function levelAt(alarm: FamilyAlarm | undefined, nowMs: number): AlarmLevel {
  if (alarm === undefined) return 0;
  if (alarm.level < 2) return alarm.level;
  // A clock that was set back must not leave the model out for longer than was meant.
  const over = nowMs >= alarm.untilMs || alarm.untilMs - nowMs > MOST_HOLD_MS;
  return over ? 1 : 2;
}

export function widen({ q50, q90, q99 }: Quantiles, level: AlarmLevel): Quantiles {
  if (level === 0) return { q50, q90, q99 };
  return { q50, q90: q50 * (q90 / q50) ** WIDEN, q99: q50 * (q99 / q50) ** WIDEN };
}

/** Takes one outcome; the level that it raised, if any. */
export function watch(alarm: FamilyAlarm, outcome: WatchedOutcome, nowMs: number): 1 | 2 | undefined {
  if (alarm.level === 2 && levelAt(alarm, nowMs) === 1) tryAgain(alarm, nowMs);
  // What comes during a fallback was forecast before it.
  if (alarm.level === 2) return undefined;
  const at = alarm.horizons[outcome.horizon]!;
  at.outcomes += outcome.weight;
  if (at.outcomes <= LEARNING) return undefined;
  const evidence = add(at.reference, outcome, outcome.reference);
  if (alarm.level === 1) {
    alarm.settled += outcome.weight;
    alarm.quiet += outcome.weight;
    if (alarm.settled > SETTLE_AFTER && add(at.widened, outcome, outcome.widened) >= FALL_BACK_AT)
      return fallBack(alarm, at, outcome, nowMs);
  }
  if (evidence >= RAISE_AT) return raise(alarm, at, outcome, nowMs);
  if (alarm.level === 1 && alarm.quiet >= CLEAR_AFTER) clear(alarm);
  return undefined;
}

/** 0 for at most q50, up to 3 for above q99. */
export function binOf({ q50, q90, q99 }: Quantiles, demand: number): 0 | 1 | 2 | 3 {
  if (demand <= q50) return 0;
  if (demand <= q90) return 1;
  return demand <= q99 ? 2 : 3;
}

function add(excursion: Excursion, { weight, demand }: WatchedOutcome, quantiles: Quantiles): number {
  if (excursion.evidence.every((evidence) => evidence <= 1)) Object.assign(excursion, newExcursion());
  const bin = binOf(quantiles, demand);
  // An outcome that counts half is half the evidence: E[ratio^w] <= E[ratio]^w for w up to 1.
  excursion.evidence = excursion.evidence.map(
    (evidence, i) => Math.max(evidence, 1) * (DRIFTS[i]![bin] / WITHOUT[bin]) ** weight,
  );
  excursion.outcomes++;
  if (bin >= 2) excursion.above++;
  return excursion.evidence.reduce((a, b) => a + b, 0) / excursion.evidence.length;
}

function raise(alarm: FamilyAlarm, at: HorizonWatch, { span }: WatchedOutcome, nowMs: number): 1 | undefined {
  const { above, outcomes } = at.reference;
  Object.assign(at.reference, newExcursion());
  alarm.quiet = 0;
  if (alarm.level === 1) return undefined;
  alarm.level = 1;
  alarm.sinceMs = nowMs;
  alarm.settled = 0;
  alarm.reason = `${above} of the last ${outcomes} outcomes at ${span} were above the 0.9 quantile of this host's past`;
  for (const { widened } of alarm.horizons) Object.assign(widened, newExcursion());
  return 1;
}

function fallBack(alarm: FamilyAlarm, at: HorizonWatch, { span }: WatchedOutcome, nowMs: number): 2 {
  const { above, outcomes } = at.widened;
  alarm.level = 2;
  alarm.sinceMs = nowMs;
  alarm.untilMs = nowMs + alarm.holdMs;
  alarm.reason =
    `${above} of the last ${outcomes} outcomes at ${span} were above the 0.9 quantile, calibrated and widened: ` +
    `left out for ${Math.round(alarm.holdMs / 60_000)} minutes`;
  alarm.holdMs = Math.min(MOST_HOLD_MS, alarm.holdMs * 2);
  return 2;
}

function tryAgain(alarm: FamilyAlarm, nowMs: number): void {
  Object.assign(alarm, { level: 1, sinceMs: nowMs, settled: SETTLE_AFTER, quiet: 0 });
  alarm.reason = `on trial again after it was left out (${alarm.reason})`;
  for (const { reference, widened } of alarm.horizons) {
    Object.assign(reference, newExcursion());
    Object.assign(widened, newExcursion());
  }
}

function clear(alarm: FamilyAlarm): void {
  Object.assign(alarm, {
    level: 0,
    sinceMs: 0,
    untilMs: 0,
    holdMs: HOLD_MS,
    reason: '',
    settled: 0,
    quiet: 0,
  });
}

function newExcursion(): Excursion {
  return { evidence: DRIFTS.map(() => 1), outcomes: 0, above: 0 };
}
