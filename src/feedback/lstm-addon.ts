import { createRequire } from 'node:module';
import type { NetworkShape } from '../forecast/network.js';
import { CorecastError, invalidField, messageOf } from '../lib/errors.js';

/**
 * The trainer (native/lstm_*). Every call runs on the calling thread until it is done, so only the training child and
 * the bench load this; the daemon never does. The same seed and calls give the same bits on CPUs with the same
 * instruction set (`instructionSet`), and nearly the same on others.
 *
 * Arrays are row-major, one row a sample, already normalised: sequence [batch, steps, sequenceFeatures], fixed [batch,
 * staticFeatures], target [batch, targets] with NaN for what is not known. Lengths are checked.
 */
export interface LstmTrainer {
  /** A copy of all parameters, in the order of lstm-layout.ts. */
  weights(): Float32Array;
  /** Also forgets the optimiser's moments. Throws INVALID_ARGUMENT on a wrong length or a number that is not finite. */
  setWeights(weights: Float32Array): void;
  /** A copy of Adam's moments and step count: with weights() and the order of rows, all that a training goes on from. */
  optimiser(): Float32Array;
  /** After setWeights(), which forgets them. Throws INVALID_ARGUMENT like setWeights(). */
  setOptimiser(state: Float32Array): void;
  /**
   * One Adam step on one batch of at most 4096 rows; returns the loss before it. A batch with no known target, or whose
   * loss is not finite, changes nothing and returns NaN.
   */
  step(
    sequence: Float32Array,
    fixed: Float32Array,
    target: Float32Array,
    batch: number,
    learningRate: number,
  ): number;
  /** Mean pinball loss over the known targets; NaN when there are none. */
  loss(sequence: Float32Array, fixed: Float32Array, target: Float32Array, batch: number): number;
  /** [batch, OUTPUTS], cumulated: q50 <= q90 <= q99 in every triple. */
  predict(sequence: Float32Array, fixed: Float32Array, batch: number): Float32Array;
  /** "avx512", "avx2" or "portable". */
  readonly instructionSet: string;
}

export interface TrainerOptions {
  /** Decoupled, 0-1; 1e-4 when absent. */
  readonly weightDecay?: number;
  /** Largest norm of a gradient; 0 for none, 1 when absent. */
  readonly clipNorm?: number;
  /** "portable", "avx2" or "avx512"; the fastest that this CPU has when absent. */
  readonly instructionSet?: string;
}

/** Fresh weights from a seed (a whole number below 2^53). Throws INVALID_ARGUMENT on an impossible shape. */
export function createTrainer(shape: NetworkShape, seed: number, options: TrainerOptions = {}): LstmTrainer {
  const { LstmTrainer: Native } = addon();
  const native = coded(() => new Native(shape, seed, options));
  return {
    weights: () => native.weights(),
    setWeights: (weights) => coded(() => native.setWeights(weights)),
    optimiser: () => native.optimiser(),
    setOptimiser: (state) => coded(() => native.setOptimiser(state)),
    step: (...args) => coded(() => native.step(...args)),
    loss: (...args) => coded(() => native.loss(...args)),
    predict: (...args) => coded(() => native.predict(...args)),
    instructionSet: native.instructionSet,
  };
}

/** Analytic against central differences in double precision, over every parameter; for shapes of up to 20,000. */
export function gradientCheck(
  shape: NetworkShape,
  batch: number,
  seed: number,
): { maxRelativeError: number; parameters: number } {
  return coded(() => addon().gradientCheck(shape, batch, seed));
}

interface LstmAddon {
  LstmTrainer: new (shape: NetworkShape, seed: number, options: TrainerOptions) => LstmTrainer;
  gradientCheck(
    shape: NetworkShape,
    batch: number,
    seed: number,
  ): { maxRelativeError: number; parameters: number };
}

const require = createRequire(import.meta.url);
let loaded: LstmAddon | undefined;

function addon(): LstmAddon {
  loaded ??= require('../../build/Release/corecast_lstm.node') as LstmAddon;
  return loaded;
}

function coded<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const { code, field } = error as { code?: unknown; field?: unknown };
    if (code !== 'INVALID_ARGUMENT') {
      throw new CorecastError('INTERNAL', `the trainer failed: ${messageOf(error)}`, { cause: error });
    }
    const description = messageOf(error);
    throw new CorecastError('INVALID_ARGUMENT', description, {
      violations: [{ field: String(field), description }],
      cause: error,
    });
  }
}

/** Weights as they lie in a file: float32, little-endian. */
export function weightsToBytes(weights: Float32Array): Uint8Array {
  const bytes = new Uint8Array(weights.length * 4);
  const view = new DataView(bytes.buffer);
  weights.forEach((weight, i) => {
    view.setFloat32(i * 4, weight, true);
  });
  return bytes;
}

export function weightsFromBytes(bytes: Uint8Array): Float32Array {
  if (bytes.byteLength % 4 !== 0) {
    throw invalidField('weights', `${bytes.byteLength} bytes`, 'a multiple of 4 bytes');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getFloat32(i * 4, true));
}
