import type { NetworkShape } from '../forecast/network.js';
import { createTrainer } from './lstm-addon.js';
import type { Packed } from './normalisation.js';
import { coverAnswers } from './quantile-bias.js';
import { seededRandom, shuffle } from './random.js';

export interface FitOptions {
  readonly shape: NetworkShape;
  readonly seed: number;
  readonly maxEpochs: number;
  /** What the upper quantiles are made to cover; undefined: as they come out of training. */
  readonly toCover: Packed | undefined;
  /** Changes the fresh weights before the first epoch: a warm start, or features without meaning cleared. */
  readonly prepare: (fresh: Float32Array) => Float32Array;
  /** Where an interrupted training of the same rows, seed and start was; it ends in the same bits. */
  readonly resume?: FitState;
  /**
   * Awaited after every epoch, so that messages can be sent and a parent's end noticed; `state` is what to resume from.
   * 'stop' ends the training with the best so far.
   */
  readonly onEpoch: (epoch: EpochReport, state: () => FitState) => Promise<'stop' | undefined>;
}

export interface FitState {
  readonly epoch: number;
  readonly rate: number;
  readonly sinceBetter: number;
  readonly weights: Float32Array;
  readonly optimiser: Float32Array;
  readonly best: Fit;
}

export interface EpochReport {
  readonly epoch: number;
  readonly trainingLoss: number;
  readonly validationLoss: number;
}

export interface Fit {
  /** Those of the epoch with the least validation loss (epoch 0 is the start itself), their quantiles made to cover. */
  readonly weights: Float32Array;
  readonly bestEpoch: number;
  readonly validationLoss: number;
}

const BATCH = 64;
const LEARNING_RATE = 7e-4;
const LEAST_LEARNING_RATE = 2e-5;
/** Epochs without a better validation loss before the rate is halved; three times as many in a row end the training. */
const PATIENCE = 8;
const WEIGHT_DECAY = 1e-2;

/** Early stopping on the validation part. The same rows, seed and instruction set give the same bits. */
export async function fitNetwork(training: Packed, validation: Packed, options: FitOptions): Promise<Fit> {
  const trainer = createTrainer(options.shape, options.seed, { weightDecay: WEIGHT_DECAY });
  trainer.setWeights(options.prepare(trainer.weights()));
  const judge = () =>
    trainer.loss(validation.sequence, validation.fixed, validation.target, validation.count);
  const random = seededRandom(options.seed + 1);
  const order = Uint32Array.from({ length: training.count }, (_, i) => i);
  let best: Fit = { weights: trainer.weights(), bestEpoch: 0, validationLoss: judge() };
  let rate = LEARNING_RATE;
  let sinceBetter = 0;
  const { resume } = options;
  if (resume !== undefined) {
    trainer.setWeights(resume.weights);
    trainer.setOptimiser(resume.optimiser);
    ({ best, rate, sinceBetter } = resume);
    for (let past = 0; past < resume.epoch; past++) shuffle(order, random);
  }
  const goesOn = () => sinceBetter < 3 * PATIENCE && rate >= LEAST_LEARNING_RATE;
  for (let epoch = (resume?.epoch ?? 0) + 1; epoch <= options.maxEpochs && goesOn(); epoch++) {
    shuffle(order, random);
    let sum = 0;
    let batches = 0;
    for (const batch of batches64(training, order)) {
      const loss = trainer.step(batch.sequence, batch.fixed, batch.target, batch.count, rate);
      if (Number.isNaN(loss)) continue;
      sum += loss;
      batches++;
    }
    const validationLoss = judge();
    if (validationLoss < best.validationLoss) {
      best = { weights: trainer.weights(), bestEpoch: epoch, validationLoss };
      sinceBetter = 0;
    } else {
      sinceBetter++;
      if (sinceBetter % PATIENCE === 0) rate /= 2;
    }
    const state = { epoch, rate, sinceBetter, best };
    const report = { epoch, trainingLoss: sum / batches, validationLoss };
    const asked = await options.onEpoch(report, () => ({
      ...state,
      weights: trainer.weights(),
      optimiser: trainer.optimiser(),
    }));
    if (asked === 'stop') break;
  }
  trainer.setWeights(best.weights);
  if (options.toCover === undefined) return best;
  return { ...best, weights: coverAnswers(trainer, options.shape, options.toCover) };
}

/** One set of buffers for all full batches. */
function* batches64(rows: Packed, order: Uint32Array): Generator<Packed> {
  const width = {
    sequence: rows.sequence.length / rows.count,
    fixed: rows.fixed.length / rows.count,
    target: rows.target.length / rows.count,
  };
  const buffers = (count: number): Packed => ({
    count,
    sequence: new Float32Array(count * width.sequence),
    fixed: new Float32Array(count * width.fixed),
    target: new Float32Array(count * width.target),
  });
  const full = buffers(Math.min(BATCH, rows.count));
  for (let from = 0; from < rows.count; from += BATCH) {
    const count = Math.min(BATCH, rows.count - from);
    const batch = count === full.count ? full : buffers(count);
    for (let i = 0; i < count; i++) {
      const row = order[from + i]!;
      for (const key of ['sequence', 'fixed', 'target'] as const) {
        const size = width[key];
        batch[key].set(rows[key].subarray(row * size, (row + 1) * size), i * size);
      }
    }
    yield batch;
  }
}
