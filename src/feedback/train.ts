import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelRegistry } from '../forecast/registry.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError } from '../lib/errors.js';
import type { TrainingProgress } from '../rpc/control.js';
import type { Incumbent, TrainedModel } from './model-maker.js';
import { judgePromotion, type Verdict } from './promotion.js';
import { runTraining } from './training-run.js';

export interface TrainOptions {
  /** Oldest first. */
  readonly runs: AsyncIterable<Run>;
  readonly registry: ModelRegistry;
  readonly seed: number;
  /** 0: DEFAULT_EPOCHS. */
  readonly maxEpochs: number;
  readonly signal: AbortSignal;
  /** CPUs to train on; empty: all. */
  readonly housekeeping: readonly number[];
  readonly clock: Clock;
  /** For tests: the compiled trainer-child.js. */
  readonly childFile?: string;
}

/** A bound, not an aim: training stops when the validation part gains nothing any more (fit.ts). */
const DEFAULT_EPOCHS = 200;
const MOST_WEIGHTS_BYTES = 64 << 20;
/** A registry changes hands between two trainings, never under one. */
const training = new WeakSet<ModelRegistry>();

/**
 * Trains on the history beside the model in use, installs what came out, and puts it in use only if it is better. Throws
 * MODEL_BUSY while one is under way, WRONG_STATE when the history has too little, CANCELLED.
 */
export async function* trainOnHistory(options: TrainOptions): AsyncGenerator<TrainingProgress> {
  const { registry } = options;
  if (training.has(registry)) {
    throw new CorecastError('MODEL_BUSY', 'a training run is already under way; wait for it or cancel it');
  }
  training.add(registry);
  const maxEpochs = options.maxEpochs || DEFAULT_EPOCHS;
  try {
    const incumbent = await modelInUse(registry);
    const job = {
      seed: options.seed,
      maxEpochs,
      origin: 'history' as const,
      trainedMs: options.clock.nowMs(),
      ...(incumbent === undefined ? {} : { incumbent }),
    };
    let last: Omit<TrainingProgress, 'result'> = {
      epoch: 0,
      maxEpochs,
      trainingLoss: 0,
      validationLoss: 0,
      remainingSeconds: 0,
    };
    for await (const message of runTraining({ ...options, job })) {
      if (message.kind === 'epoch') {
        const { epoch, trainingLoss, validationLoss, remainingSeconds } = message;
        last = { epoch, maxEpochs, trainingLoss, validationLoss, remainingSeconds };
        yield last;
      } else {
        yield { ...last, remainingSeconds: 0, result: await conclude(registry, message.model, incumbent) };
      }
    }
  } finally {
    training.delete(registry);
  }
}

/** Installed whether promoted or not: an operator may still want it. */
async function conclude(
  registry: ModelRegistry,
  { card, onnx, weights, incumbentScores, testRows }: TrainedModel,
  incumbent: Incumbent | undefined,
): Promise<NonNullable<TrainingProgress['result']>> {
  const inUse = registry.inUse()?.card;
  if (card.id === inUse?.id) {
    const reason = 'not promoted: training ended at the model in use';
    return { model: { card: inUse, inUse: true }, promoted: false, reason };
  }
  const verdict: Verdict =
    inUse?.id === incumbent?.card.id
      ? judgePromotion({ scores: card.scores, incumbent: incumbentScores, testRows })
      : { promote: false, reason: `not promoted: the model in use changed to ${inUse?.id} meanwhile` };
  const judged = { ...card, scores: [...card.scores, ...incumbentScores] };
  await registry.install(judged, onnx, weights);
  if (verdict.promote) await registry.promote(card.id, verdict.reason);
  return {
    model: { card: judged, inUse: verdict.promote },
    promoted: verdict.promote,
    reason: verdict.reason,
  };
}

/** The files of the model in use; without weights (an imported model, or a damaged file) training starts cold. */
async function modelInUse(registry: ModelRegistry): Promise<Incumbent | undefined> {
  const model = registry.inUse();
  if (model === undefined) return undefined;
  const folder = await registry.folder(model.card.id);
  const onnx = await readFile(join(folder, 'model.onnx'));
  const { weightsFile } = model.card;
  const weights = weightsFile === undefined ? undefined : await readWeights(join(folder, weightsFile));
  return { card: model.card, onnx, ...(weights === undefined ? {} : { weights }) };
}

async function readWeights(path: string): Promise<Uint8Array | undefined> {
  try {
    const { size } = await stat(path);
    return size > MOST_WEIGHTS_BYTES ? undefined : await readFile(path);
  } catch {
    return undefined;
  }
}
