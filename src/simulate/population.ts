import type { Random } from '../feedback/random.js';

/**
 * A channel that was measured, with the forecast that the baseline made of it while its source was unseen
 * (bench/simulate/make-population.mjs writes the file).
 */
export interface MeasuredChannel {
  readonly source: string;
  readonly encoder: string;
  /** Mean of the run, cores. */
  readonly demand: number;
  /** What the nearest known signatures took, cores: what a per-signature table says of it. */
  readonly lookup: number;
  /** [q50, q90, q99] of the demand for each of HORIZONS, cores. */
  readonly horizons: readonly (readonly [number, number, number])[];
}

/** Throws when an entry is not one, naming it. */
export function parsePopulation(text: string, file: string): MeasuredChannel[] {
  const entries = JSON.parse(text) as MeasuredChannel[];
  if (!Array.isArray(entries) || entries.length === 0) throw new Error(`${file}: holds no channels`);
  for (const [i, { demand, lookup, horizons }] of entries.entries()) {
    for (const value of [demand, lookup, ...(horizons ?? [Number.NaN]).flat()]) {
      if (!(value > 0 && Number.isFinite(value)))
        throw new Error(`${file}: channel ${i} has a demand of ${value}`);
    }
  }
  return entries;
}

export const STEP_S = 5;
const HOUR_STEPS = 3600 / STEP_S;

/**
 * Variation of a channel's demand within its run, factors with mean 1: what changes from one 5 s step to the next, which
 * was measured (docs/simulation.md) and is not correlated from step to step, times a slow drift (programmes differ), which
 * is assumed. All channels read one table from places of their own.
 */
export const FAST_SIGMA = 0.14;
export const DRIFT_SIGMA = 0.1;
export const DRIFT_S = 600;
const TABLE = 1 << 18;
export const TABLE_MASK = TABLE - 1;

export function variationTable(random: Random): Float32Array {
  const factors = new Float32Array(TABLE);
  const keep = Math.exp(-STEP_S / DRIFT_S);
  const push = DRIFT_SIGMA * Math.sqrt(1 - keep * keep);
  const mean = (FAST_SIGMA ** 2 + DRIFT_SIGMA ** 2) / 2;
  let drift = DRIFT_SIGMA * normal(random);
  for (let i = 0; i < TABLE; i++) {
    drift = keep * drift + push * normal(random);
    factors[i] = Math.exp(drift + FAST_SIGMA * normal(random) - mean);
  }
  return factors;
}

export function hoursOf(steps: number): number {
  return steps / HOUR_STEPS;
}

export function stepsOf(hours: number): number {
  return Math.round(hours * HOUR_STEPS);
}

/** Box and Muller. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
