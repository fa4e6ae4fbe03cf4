import { SEQUENCE_FEATURES } from '../forecast/network.js';
import type { Row } from './rows.js';

/** (x - mean) / scale, as the model card has it. */
export interface Scaling {
  readonly mean: readonly number[];
  readonly scale: readonly number[];
  /** Features that never change in the training part. */
  readonly constant: readonly boolean[];
}

export interface Normalisation {
  readonly sequence: Scaling;
  readonly fixed: Scaling;
}

/** Deviations below this are a sensor's noise, not a range that the network should be stretched over. */
const LEAST_SCALE = 0.05;
const CONSTANT_BELOW = 1e-5;
/** inference.ts bounds its inputs likewise. */
const BOUND = 10;

/** From the training part only: nothing of what judges a model may reach it. */
export function normalisationOf(training: readonly Row[]): Normalisation {
  return {
    sequence: scalingOf(
      training.map(({ sequence }) => sequence),
      SEQUENCE_FEATURES.length,
    ),
    fixed: scalingOf(
      training.map(({ fixed }) => fixed),
      training[0]!.fixed.length,
    ),
  };
}

/** Rows in the trainer's form. */
export interface Packed {
  readonly count: number;
  readonly sequence: Float32Array;
  readonly fixed: Float32Array;
  readonly target: Float32Array;
}

export function pack(rows: readonly Row[], normalisation: Normalisation): Packed {
  const first = rows[0];
  const width = {
    sequence: first?.sequence.length ?? 0,
    fixed: first?.fixed.length ?? 0,
    target: first?.target.length ?? 0,
  };
  const packed = {
    count: rows.length,
    sequence: new Float32Array(rows.length * width.sequence),
    fixed: new Float32Array(rows.length * width.fixed),
    target: new Float32Array(rows.length * width.target),
  };
  rows.forEach((row, i) => {
    normaliseInto(packed.sequence, i * width.sequence, row.sequence, normalisation.sequence);
    normaliseInto(packed.fixed, i * width.fixed, row.fixed, normalisation.fixed);
    packed.target.set(row.target, i * width.target);
  });
  return packed;
}

function normaliseInto(out: Float32Array, at: number, raw: Float32Array, { mean, scale }: Scaling): void {
  const width = mean.length;
  for (let i = 0; i < raw.length; i++) {
    const x = (raw[i]! - mean[i % width]!) / scale[i % width]!;
    out[at + i] = Math.min(BOUND, Math.max(-BOUND, x));
  }
}

/** Each vector holds one or more groups of `width` features. Two passes: the variance of a near-constant needs it. */
function scalingOf(vectors: readonly Float32Array[], width: number): Scaling {
  const mean = new Array<number>(width).fill(0);
  const variance = new Array<number>(width).fill(0);
  const count = vectors.reduce((sum, { length }) => sum + length / width, 0);
  const each = (visit: (value: number, feature: number) => void) => {
    for (const vector of vectors) {
      for (let i = 0; i < vector.length; i++) visit(vector[i]!, i % width);
    }
  };
  each((value, feature) => {
    mean[feature]! += value / count;
  });
  each((value, feature) => {
    variance[feature]! += (value - mean[feature]!) ** 2 / count;
  });
  const deviation = variance.map(Math.sqrt);
  const constant = deviation.map((x) => x < CONSTANT_BELOW);
  return { mean, scale: deviation.map((x, i) => (constant[i] ? 1 : Math.max(LEAST_SCALE, x))), constant };
}
