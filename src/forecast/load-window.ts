import { clamp } from './decode.js';
import { mean, quantile } from './load-statistics.js';
import type { NetworkShape } from './network.js';

/**
 * What the host-load network sees of one series of CPU percents, and how its answers become percents again.
 *
 * The load of a shared machine is noise around a level that moves slowly, with bursts. A mean follows the bursts, which
 * cost the most in absolute error; so the level here is a mean of medians over nested windows, and the network learns
 * only what is left: (next - centre) / spread. What is older than a day of 5-minute samples is not looked at.
 *
 * The load benchmark alone trains this network: it shows what the project's LSTM code reaches on load recorded elsewhere.
 * The daemon's own forecasts of its host's load are the channel network's (network.ts), or host-load.ts without it.
 */
export interface LoadWindow {
  /** [LOAD_STEPS, LOAD_SEQUENCE_FEATURES], oldest first. */
  readonly sequence: Float32Array;
  /** LOAD_STATIC_FEATURES numbers, not yet normalised. */
  readonly statics: Float32Array;
  /** CPU points. */
  readonly centre: number;
  /** CPU points, 1 or more: what an answer of 1 is worth. */
  readonly spread: number;
}

export const LOAD_STEPS = 24;
/** Deviation from the centre in spreads, level, and whether there was a sample at all. */
export const LOAD_SEQUENCE_FEATURES = 3;
/** Samples ahead that the network answers for: 1 is the next one. The ones between 1 and 12 steady its training. */
export const LOAD_HORIZONS = [1, 2, 3, 6, 12] as const;
/** Samples that are looked at: a day of 5-minute samples. */
export const LONGEST_HISTORY = 288;

const SUMMARY_WINDOWS = [6, 12, 24, 48, 96, LONGEST_HISTORY] as const;
const CENTRE_WINDOWS = [12, 24, 48, LONGEST_HISTORY] as const;
const SUMMARY_LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9] as const;
const LAGS = [1, 2, 3, 4, 5, 6, 8, 12] as const;
const SPREAD_WINDOW = 48;
/** A spread of 2 points counts as much as four samples: a window of three equal samples is not a machine without noise. */
const PRIOR_SPREAD = 2;
const PRIOR_SAMPLES = 4;
const LEAST_SPREAD = 1;
const MOST_SPREADS = 6;

export const LOAD_STATIC_FEATURES = 5 + SUMMARY_WINDOWS.length * (SUMMARY_LEVELS.length + 1) + LAGS.length;

export function loadNetworkShape(): NetworkShape {
  return {
    steps: LOAD_STEPS,
    sequenceFeatures: LOAD_SEQUENCE_FEATURES,
    staticFeatures: LOAD_STATIC_FEATURES,
    hidden: 32,
    embed: 32,
    head: 32,
    targets: LOAD_HORIZONS.length,
  };
}

/** `history`: one sample or more, oldest first, up to the moment of the forecast. */
export function loadWindow(history: Float64Array): LoadWindow {
  const past = history.subarray(Math.max(0, history.length - LONGEST_HISTORY));
  const sorted = new Map(SUMMARY_WINDOWS.map((length) => [length, sortedTail(past, length)]));
  const centre = mean(CENTRE_WINDOWS.map((length) => quantile(sorted.get(length)!, 0.5)));
  const recent = past.subarray(Math.max(0, past.length - SPREAD_WINDOW));
  const spread = spreadAbout(recent, centre);
  const inSpreads = (x: number) => clamp((x - centre) / spread, -MOST_SPREADS, MOST_SPREADS);
  return {
    sequence: steps(past, inSpreads),
    statics: Float32Array.from([
      Math.log(spread),
      centre / 30,
      Math.log1p(Math.max(0, centre)),
      // How much there is to go by. Not the hour: machines of one data set share its clock, others do not.
      Math.log(Math.min(past.length, 96)),
      recent.reduce((count, x) => count + Number(x === centre), 0) / recent.length,
      ...SUMMARY_WINDOWS.flatMap((length) => {
        const window = sorted.get(length)!;
        return [
          ...SUMMARY_LEVELS.map((level) => inSpreads(quantile(window, level))),
          inSpreads(mean(window)),
        ];
      }),
      ...autocorrelations(past),
    ]),
    centre,
    spread,
  };
}

/** The network's unit back to CPU percent. */
export function loadOf({ centre, spread }: LoadWindow, answer: number): number {
  return clamp(centre + spread * answer, 0, 100);
}

/** CPU percent in the network's unit. */
export function loadTarget({ centre, spread }: LoadWindow, load: number): number {
  return (load - centre) / spread;
}

/** The level that the network starts from, on its own a plain forecast: the mean of medians of 12, 24, 48 and all samples. */
export function nestedMedians(history: Float64Array): number {
  const past = history.subarray(Math.max(0, history.length - LONGEST_HISTORY));
  return mean(CENTRE_WINDOWS.map((length) => quantile(sortedTail(past, length), 0.5)));
}

/** Missing steps stand first and are zeros. */
function steps(past: Float64Array, inSpreads: (x: number) => number): Float32Array {
  const sequence = new Float32Array(LOAD_STEPS * LOAD_SEQUENCE_FEATURES);
  for (let step = Math.max(0, LOAD_STEPS - past.length); step < LOAD_STEPS; step++) {
    const x = past[past.length - LOAD_STEPS + step]!;
    sequence.set([inSpreads(x), x / 50, 1], step * LOAD_SEQUENCE_FEATURES);
  }
  return sequence;
}

function spreadAbout(recent: Float64Array, centre: number): number {
  const sum = recent.reduce((total, x) => total + Math.abs(x - centre), PRIOR_SPREAD * PRIOR_SAMPLES);
  return Math.max(LEAST_SPREAD, sum / (recent.length + PRIOR_SAMPLES));
}

/** Zero where the history is too short to say. */
function autocorrelations(past: Float64Array): number[] {
  const middle = mean(past);
  const about = past.map((x) => x - middle);
  const variance = about.reduce((sum, x) => sum + x * x, 1e-3);
  return LAGS.map((lag) => {
    if (past.length <= lag + 3) return 0;
    let sum = 0;
    for (let i = lag; i < about.length; i++) sum += about[i]! * about[i - lag]!;
    return sum / variance;
  });
}

function sortedTail(past: Float64Array, length: number): Float64Array {
  return past.slice(Math.max(0, past.length - length)).sort();
}
