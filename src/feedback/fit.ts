import type { NetworkShape } from '../forecast/network.js';
import { dropInputs, type InputGroup } from './input-dropout.js';
import { createTrainer, type LstmTrainer } from './lstm-addon.js';
import type { Packed } from './normalisation.js';
import { coverAnswers } from './quantile-bias.js';
import { seededRandom, shuffle } from './random.js';

export interface FitOptions {
  readonly shape: NetworkShape;
  readonly seed: number;
  readonly maxEpochs: number;
  /** What channels may come without, taken from training rows at random. */
  readonly dropout?: { readonly groups: readonly InputGroup[]; readonly absent: Float32Array };
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
  readonly sinceBetter: number;
  readonly weights: Float32Array;
  readonly optimiser: Float32Array;
  readonly best: Fit;
}

export interface EpochReport {
  readonly epoch: number;
  /** How many there will be unless training ends early. */
  readonly epochs: number;
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
const LEARNING_RATE = 2e-3;
const WEIGHT_DECAY = 1e-2;
/** Steps after which even a large dataset has been learnt; fewer epochs of more rows. */
const WANTED_STEPS = 8_000;
const LEAST_EPOCHS = 3;
/** Share of the steps in which the rate rises; over the rest it falls to zero along a cosine. */
const WARM_UP = 0.1;
/** Share of the epochs without a better validation loss that ends the training early. */
const PATIENCE = 0.3;

/** How many epochs a training of so many rows takes when nothing ends it early. */
export function epochsFor(rows: number, maxEpochs: number): number {
  const wanted = Math.ceil(WANTED_STEPS / Math.ceil(rows / BATCH));
  return Math.min(maxEpochs, Math.max(LEAST_EPOCHS, wanted));
}

/** Early stopping on the validation part. The same rows, seed and instruction set give the same bits. */
export async function fitNetwork(training: Packed, validation: Packed, options: FitOptions): Promise<Fit> {
  const trainer = createTrainer(options.shape, options.seed, { weightDecay: WEIGHT_DECAY });
  trainer.setWeights(options.prepare(trainer.weights()));
  const judge = () =>
    trainer.loss(validation.sequence, validation.fixed, validation.target, validation.count);
  const random = seededRandom(options.seed + 1);
  const order = Uint32Array.from({ length: training.count }, (_, i) => i);
  const epochs = epochsFor(training.count, options.maxEpochs);
  let best: Fit = { weights: trainer.weights(), bestEpoch: 0, validationLoss: judge() };
  let sinceBetter = 0;
  const { resume } = options;
  if (resume !== undefined) {
    trainer.setWeights(resume.weights);
    trainer.setOptimiser(resume.optimiser);
    ({ best, sinceBetter } = resume);
    for (let past = 0; past < resume.epoch; past++) shuffle(order, random);
  }
  const goesOn = () => sinceBetter < Math.max(LEAST_EPOCHS, PATIENCE * epochs);
  for (let epoch = (resume?.epoch ?? 0) + 1; epoch <= epochs && goesOn(); epoch++) {
    shuffle(order, random);
    const trainingLoss = runEpoch(trainer, training, order, epoch, epochs, options);
    const validationLoss = judge();
    if (validationLoss < best.validationLoss) {
      best = { weights: trainer.weights(), bestEpoch: epoch, validationLoss };
      sinceBetter = 0;
    } else {
      sinceBetter++;
    }
    const state = { epoch, sinceBetter, best };
    const asked = await options.onEpoch({ epoch, epochs, trainingLoss, validationLoss }, () => ({
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

/** The mean training loss. */
function runEpoch(
  trainer: LstmTrainer,
  training: Packed,
  order: Uint32Array,
  epoch: number,
  epochs: number,
  { dropout, seed }: FitOptions,
): number {
  const width = training.fixed.length / training.count;
  // Of the epoch's own seed: a training that is resumed drops what it would have dropped.
  const random = seededRandom(seed + 1_000 * epoch);
  const steps = Math.ceil(training.count / BATCH);
  let step = (epoch - 1) * steps;
  let sum = 0;
  let batches = 0;
  for (const batch of batches64(training, order)) {
    for (let row = 0; dropout !== undefined && row < batch.count; row++)
      dropInputs(batch.fixed, row * width, dropout.groups, dropout.absent, random);
    const rate = rateAt(step++ / (steps * epochs));
    const loss = trainer.step(batch.sequence, batch.fixed, batch.target, batch.count, rate);
    if (Number.isNaN(loss)) continue;
    sum += loss;
    batches++;
  }
  return sum / batches;
}

/** One cycle (Smith & Topin 2018): `progress` is the share of all steps that are done. */
function rateAt(progress: number): number {
  if (progress < WARM_UP) return (LEARNING_RATE * (progress + 1e-3)) / WARM_UP;
  return (LEARNING_RATE * (1 + Math.cos((Math.PI * (progress - WARM_UP)) / (1 - WARM_UP)))) / 2;
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
