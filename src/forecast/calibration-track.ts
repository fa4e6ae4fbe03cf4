import type { SignatureClass } from './calibration-class.js';
import {
  addEvidence,
  type Evidence,
  FAST,
  HOST_PRIOR,
  type Location,
  locate,
  type Rate,
  SLOW,
} from './calibration-credibility.js';
import {
  addSquare,
  noiseOf,
  noSquares,
  type Squares,
  scaleOf,
  spreadOf,
  studentFactor,
  sumOf,
} from './calibration-spread.js';
import { clamp, ordered } from './decode.js';
import type { Quantiles } from './forecast.js';

/**
 * One horizon of one stream of forecasts: what its outcomes say of the next one. Two parts, as in conformal PID control
 * (Angelopoulos, Candès and Tibshirani 2023):
 *
 * 1. A forecast of where the outcome lies against the model's quantiles. Location by credibility (see there), at two rates
 *    of forgetting; how far each is believed follows from how well it foretold (Raftery, Kárný and Ettler 2010; a fixed
 *    share flows back, Herbster and Warmuth 1998), and where they disagree, as after a shift, the mixture is wide. The
 *    spread is a multiple of the model's own, by class, with Student's quantiles while outcomes are few.
 * 2. Online adaptive conformal inference on top (Gibbs and Candès 2021, as quantile tracking): after each outcome
 *      theta <- theta + step * weight * (missed - alpha)
 *    in units of the spread, once for the stream and once for the class; their sum moves the quantile. Whatever part 1
 *    says and however the outcomes come, the weighted share of misses differs from alpha by no more than
 *    (range of theta) / (step * total weight), in each class, as long as nothing is clamped.
 *
 * Everything is in log demand. An outcome is scored against what would be handed out now, not against what was handed out
 * when the channel began: twenty channels that began together and were all missed are one lesson, not twenty.
 */
export interface HorizonTrack {
  /** Weight of all outcomes. */
  clock: number;
  /** How far the fast and the slow forgetting are believed; together 1. */
  readonly believed: Pair;
  readonly spread: Squares;
  readonly noise: Squares;
  readonly theta: Triple;
  readonly classes: Map<string, ClassTrack>;
}

export interface ClassTrack {
  readonly family: string;
  readonly evidence: [Evidence, Evidence];
  readonly spread: Squares;
  readonly theta: Triple;
  /** Hashes of the channels behind the newest outcomes. */
  readonly channels: number[];
}

export type Pair = [number, number];
export type Triple = [number, number, number];

/** What a track expects of the next outcome of a class. */
export interface Expectation {
  /** log(outcome / the model's median), by slow memory alone and as it is believed now. */
  readonly slow: Location;
  readonly now: Location;
  readonly each: readonly [Location, Location];
  /** Without what is the family's and the class's own: where the next horizon begins. */
  readonly host: Location;
  /** What the model's spread must be multiplied by. */
  readonly scale: number;
  readonly spread: Squares;
  readonly student: Triple;
  readonly theta: Triple;
}

export const ALPHAS: Triple = [0.5, 0.1, 0.01];
/** By quantile, in units of the spread. Small: location and spread do most of the work. */
export const STREAM_STEPS: Triple = [0.02, 0.04, 0.12];
export const CLASS_STEPS: Triple = [0.01, 0.02, 0.06];
/** The first steps of a stream are larger (decaying steps: Angelopoulos, Barber and Bates 2024). */
const EARLY = { more: 3, outcomes: 30 };
export const LEAST_THETA = -2;
export const MOST_THETA = 3;
/** A quantile is never taken below a quarter or above five times what the model says. */
export const LEAST_FACTOR = 0.25;
export const MOST_FACTOR = 5;

const BELIEVED: Pair = [0.2, 0.8];
const SHARE = 0.02;
/** Residuals beyond so many standard deviations count as so many: one broken outcome does not move the rest. */
const MOST_DEVIATIONS = 4;
/** Degrees of freedom of the density that judges the two rates: robust against single outliers. */
const JUDGE_FREEDOM = 5;
/** Of one channel among this many outcomes of its class: the n-th counts 1 / n. */
const CHANNELS_REMEMBERED = 16;

export function newTrack(): HorizonTrack {
  return {
    clock: 0,
    believed: [...BELIEVED],
    spread: noSquares(),
    noise: noSquares(),
    theta: [0, 0, 0],
    classes: new Map(),
  };
}

/** What is known elsewhere: at the horizon before, or in another stream of the model. */
export interface Prior {
  readonly host: Location;
  readonly spread: Squares;
}

export const NO_PRIOR: Prior = { host: HOST_PRIOR, spread: noSquares() };

/** `spread`: the model's own, for channels like this. */
export function expectationOf(
  track: HorizonTrack,
  { family, name }: SignatureClass,
  prior: Prior,
  spread: number,
): Expectation {
  const { classes, clock } = track;
  const noise = noiseOf(track.noise, spread);
  const at = (rate: Rate) => locate(classes, { family, name, prior: prior.host, noise, clock, rate });
  const [fast, slow] = [at(FAST), at(SLOW)];
  const own = classes.get(name);
  const spreads = sumOf(prior.spread, track.spread);
  const each = [fast.class, slow.class] as const;
  return {
    ...{ each, slow: slow.class, now: mixed(track.believed, each) },
    host: mixed(track.believed, [fast.host, slow.host]),
    scale: scaleOf(spreads, own?.spread),
    student: [studentFactor(0, spreads), studentFactor(1, spreads), studentFactor(2, spreads)],
    spread: spreads,
    theta: track.theta.map((theta, i) => theta + (own?.theta[i] ?? 0)) as Triple,
  };
}

/** The model's quantiles, moved to where the outcome is expected. */
export function moved(raw: Quantiles, expected: Expectation, at = expected.now): Quantiles {
  const spread = spreadOf(raw);
  const width = Math.sqrt(expected.scale ** 2 + at.variance / spread ** 2);
  const move = (i: 0 | 1 | 2, quantile: number) => {
    const above = Math.log(quantile / raw.q50) * expected.student[i];
    const ratio = (raw.q50 / quantile) * Math.exp(at.mean + width * (above + spread * expected.theta[i]));
    return quantile * clamp(ratio, LEAST_FACTOR, MOST_FACTOR);
  };
  return ordered({ q50: move(0, raw.q50), q90: move(1, raw.q90), q99: move(2, raw.q99) });
}

/** What one more outcome of this channel counts in its class: the n-th of the newest counts 1 / n. '': not known, 1. */
export function weightOf(track: HorizonTrack, { name }: SignatureClass, channel: string): number {
  if (channel === '') return 1;
  const hash = hashOf(channel);
  const recent = track.classes.get(name)?.channels ?? [];
  return 1 / (1 + recent.filter((other) => other === hash).length);
}

/** Learns one outcome (above 0) against what was expected of it. */
export function learn(
  track: HorizonTrack,
  klass: SignatureClass,
  expected: Expectation,
  { raw, demand, channel }: { readonly raw: Quantiles; readonly demand: number; readonly channel: string },
): void {
  const weight = weightOf(track, klass, channel);
  const { q50, q90, q99 } = moved(raw, expected);
  const inner = expected.scale * spreadOf(raw);
  const logRatio = Math.log(demand / raw.q50);
  judgeRates(track, expected, inner, logRatio, weight);
  const own = classOf(track, klass);
  const missed = [q50, q90, q99].map((quantile) => Number(demand > quantile));
  const early = 1 + EARLY.more * Math.exp(-track.clock / EARLY.outcomes);
  moveThetas(track.theta, STREAM_STEPS, missed, weight * early);
  moveThetas(own.theta, CLASS_STEPS, missed, weight);

  const { mean, variance } = expected.now;
  const deviation = Math.sqrt(inner ** 2 + variance);
  const z = clamp((logRatio - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS);
  addSquare(track.spread, (z * expected.scale) ** 2, weight);
  addSquare(own.spread, (z * expected.scale) ** 2, weight);
  addSquare(track.noise, (z * inner) ** 2, weight);
  track.clock += weight;
  for (const rate of [FAST, SLOW])
    addEvidence(own.evidence[rate], mean + z * deviation, weight, track.clock, rate);
  if (channel !== '') own.channels.push(hashOf(channel));
  if (own.channels.length > CHANNELS_REMEMBERED) own.channels.shift();
}

/** After an alarm: what a family's classes were counts for little from here on. */
export function discount(track: HorizonTrack, family: string, kept: number): void {
  for (const own of track.classes.values()) {
    if (own.family !== family) continue;
    for (const evidence of own.evidence) {
      evidence.weight *= kept;
      evidence.sum *= kept;
    }
  }
}

function mixed([fast, slow]: Pair, [a, b]: readonly [Location, Location]): Location {
  const mean = fast * a.mean + slow * b.mean;
  const between = fast * (a.mean - mean) ** 2 + slow * (b.mean - mean) ** 2;
  return { mean, variance: fast * a.variance + slow * b.variance + between };
}

/** Bayes' rule with a robust density, and the share that keeps either rate alive. */
function judgeRates(
  track: HorizonTrack,
  { each }: Expectation,
  inner: number,
  logRatio: number,
  weight: number,
): void {
  const likelihood = each.map(({ mean, variance }) => {
    const around = inner ** 2 + variance;
    const square = (logRatio - mean) ** 2 / around / JUDGE_FREEDOM;
    return (around ** -0.5 * (1 + square) ** (-(JUDGE_FREEDOM + 1) / 2)) ** weight;
  });
  const raised = track.believed.map((believed, i) => believed * likelihood[i]!);
  const total = raised.reduce((a, b) => a + b, 0);
  if (!(total > 0)) return;
  for (const i of [0, 1] as const)
    track.believed[i] = (1 - SHARE) * (raised[i]! / total) + SHARE * BELIEVED[i];
}

function moveThetas(theta: Triple, steps: Triple, missed: readonly number[], weight: number): void {
  for (const i of [0, 1, 2] as const) {
    const moved = theta[i] + weight * steps[i] * (missed[i]! - ALPHAS[i]);
    theta[i] = clamp(moved, LEAST_THETA, MOST_THETA);
  }
}

function classOf(track: HorizonTrack, { name, family }: SignatureClass): ClassTrack {
  let own = track.classes.get(name);
  if (own === undefined) {
    const none = () => ({ weight: 0, sum: 0, at: track.clock });
    own = {
      family,
      evidence: [none(), none()],
      spread: noSquares(),
      theta: [0, 0, 0],
      channels: [],
    };
    track.classes.set(name, own);
  }
  return own;
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
