import type { SignatureClass } from './calibration-class.js';
import {
  addEvidence,
  type Evidence,
  FAST,
  type Located,
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

/** What is asked of a track: a model's quantiles for a channel of a class. */
export interface TrackQuery {
  readonly raw: Quantiles;
  readonly class: SignatureClass;
  /** Where the host lies as far as is known elsewhere: at the horizon before, or in the stream of the same model. */
  readonly prior: Location;
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

/** Quantiles for the next outcome. `reference`: as they would be without the fast forgetting, for the drift alarm. */
export function calibrated(track: HorizonTrack, query: TrackQuery): { now: Quantiles; reference: Quantiles } {
  const expected = expectedOf(track, query);
  return {
    now: quantilesAt(track, query, expected, expected.mixed),
    reference: quantilesAt(track, query, expected, expected.each[SLOW]),
  };
}

/** Where the host lies at this horizon; the prior where nothing was observed. */
export function hostLocation(track: HorizonTrack | undefined, prior: Location): Location {
  if (track === undefined || track.clock === 0) return prior;
  const each = atEachRate(track, { family: '', name: '' }, prior, noiseOf(track.noise));
  return mixed(track.believed, [each[0].host, each[1].host]);
}

/** What one more outcome of this channel counts in its class: the n-th of the newest counts 1 / n. '': not known, 1. */
export function weightOf(track: HorizonTrack, { name }: SignatureClass, channel: string): number {
  if (channel === '') return 1;
  const hash = hashOf(channel);
  const recent = track.classes.get(name)?.channels ?? [];
  return 1 / (1 + recent.filter((other) => other === hash).length);
}

/** Learns one outcome (above 0). */
export function learn(
  track: HorizonTrack,
  query: TrackQuery,
  outcome: { readonly demand: number; readonly channel: string },
): void {
  const weight = weightOf(track, query.class, outcome.channel);
  const expected = expectedOf(track, query);
  const now = quantilesAt(track, query, expected, expected.mixed);
  const logRatio = Math.log(outcome.demand / query.raw.q50);
  judgeRates(track, expected, logRatio, weight);
  const own = classOf(track, query.class);
  const missed = [now.q50, now.q90, now.q99].map((quantile) => Number(outcome.demand > quantile));
  const early = 1 + EARLY.more * Math.exp(-track.clock / EARLY.outcomes);
  moveThetas(track.theta, STREAM_STEPS, missed, weight * early);
  moveThetas(own.theta, CLASS_STEPS, missed, weight);

  const { mean, variance } = expected.mixed;
  const inner = expected.scale * expected.spread;
  const deviation = Math.sqrt(inner ** 2 + variance);
  const z = clamp((logRatio - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS);
  addSquare(track.spread, (z * expected.scale) ** 2, weight);
  addSquare(own.spread, (z * expected.scale) ** 2, weight);
  addSquare(track.noise, (z * inner) ** 2, weight);
  track.clock += weight;
  for (const rate of [FAST, SLOW])
    addEvidence(own.evidence[rate], mean + z * deviation, weight, track.clock, rate);
  if (outcome.channel !== '') own.channels.push(hashOf(outcome.channel));
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

interface Expected {
  readonly each: readonly [Location, Location];
  readonly mixed: Location;
  /** The model's standard deviation in log demand. */
  readonly spread: number;
  /** What it must be multiplied by. */
  readonly scale: number;
}

function expectedOf(track: HorizonTrack, query: TrackQuery): Expected {
  const spread = spreadOf(query.raw);
  const noise = noiseOf(track.noise, spread);
  const [fast, slow] = atEachRate(track, query.class, query.prior, noise);
  const each = [fast.class, slow.class] as const;
  return {
    each,
    mixed: mixed(track.believed, each),
    spread,
    scale: scaleOf(track.spread, track.classes.get(query.class.name)?.spread),
  };
}

function atEachRate(
  { classes, clock }: HorizonTrack,
  { family, name }: { readonly family: string; readonly name: string },
  prior: Location,
  noise: number,
): [Located, Located] {
  const at = (rate: Rate) => locate(classes, { family, name, prior, noise, clock, rate });
  return [at(FAST), at(SLOW)];
}

function mixed([fast, slow]: Pair, [a, b]: readonly [Location, Location]): Location {
  const mean = fast * a.mean + slow * b.mean;
  const between = fast * (a.mean - mean) ** 2 + slow * (b.mean - mean) ** 2;
  return { mean, variance: fast * a.variance + slow * b.variance + between };
}

function quantilesAt(track: HorizonTrack, query: TrackQuery, expected: Expected, at: Location): Quantiles {
  const { raw } = query;
  const { spread, scale } = expected;
  const width = Math.sqrt(scale ** 2 + at.variance / spread ** 2);
  const own = track.classes.get(query.class.name)?.theta;
  const moved = (i: 0 | 1 | 2, quantile: number) => {
    const above = Math.log(quantile / raw.q50) * studentFactor(i, track.spread);
    const theta = track.theta[i] + (own?.[i] ?? 0);
    const ratio = (raw.q50 / quantile) * Math.exp(at.mean + width * (above + spread * theta));
    return quantile * clamp(ratio, LEAST_FACTOR, MOST_FACTOR);
  };
  return ordered({ q50: moved(0, raw.q50), q90: moved(1, raw.q90), q99: moved(2, raw.q99) });
}

/** Bayes' rule with a robust density, and the share that keeps either rate alive. */
function judgeRates(
  track: HorizonTrack,
  { each, spread, scale }: Expected,
  logRatio: number,
  weight: number,
): void {
  const likelihood = each.map(({ mean, variance }) => {
    const around = (scale * spread) ** 2 + variance;
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
