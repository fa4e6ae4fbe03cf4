import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelEvidence } from '../forecast/evidence.js';
import type { ModelScore } from '../forecast/network.js';
import type { ModelRegistry } from '../forecast/registry.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError } from '../lib/errors.js';
import { isFor, readCheckpoint, removeCheckpoint } from './checkpoint.js';
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
  /** Where an interrupted training is gone on from; undefined: it is not. */
  readonly checkpointFile?: string;
  /** An interrupted training is forgotten. */
  readonly fromScratch?: boolean;
  /** Milliseconds between two checkpoints. */
  readonly checkpointMs?: number;
  readonly budgetMs?: number;
  readonly onProcess?: (pid: number | undefined) => void;
  /** For tests: the compiled trainer-child.js. */
  readonly childFile?: string;
}

export type TrainEvent =
  | { readonly kind: 'data'; readonly data: ModelEvidence['data']; readonly resumedAfter: number }
  | {
      readonly kind: 'epoch';
      readonly epoch: number;
      /** How many there will be unless it ends early. */
      readonly epochs: number;
      readonly trainingLoss: number;
      readonly validationLoss: number;
      readonly remainingSeconds: number;
    }
  | ({ readonly kind: 'candidate' } & Candidate);

/** Trained, judged offline, and installed unless it is the model in use itself. */
export interface Candidate {
  readonly model: TrainedModel;
  /** Its own, then those of the model in use, on the same unseen rows. */
  readonly scores: readonly ModelScore[];
  readonly verdict: Verdict;
  readonly budgetSpent: boolean;
}

/** A bound, not an aim: training stops when the validation part gains nothing any more (fit.ts). */
export const DEFAULT_EPOCHS = 200;
const MOST_WEIGHTS_BYTES = 64 << 20;
/** A registry changes hands between two trainings, never under one. */
const training = new WeakSet<ModelRegistry>();

/**
 * Trains on the history beside the model in use and installs what came out; what becomes of it the caller decides. Throws
 * MODEL_BUSY while one is under way, WRONG_STATE when the history has too little, CANCELLED.
 */
export async function* trainCandidate(options: TrainOptions): AsyncGenerator<TrainEvent> {
  const { registry, seed, clock, checkpointFile } = options;
  if (training.has(registry)) {
    throw new CorecastError('MODEL_BUSY', 'a training run is already under way; wait for it or cancel it');
  }
  training.add(registry);
  try {
    if (checkpointFile !== undefined && options.fromScratch === true) await removeCheckpoint(checkpointFile);
    const before = checkpointFile === undefined ? undefined : await readCheckpoint(checkpointFile);
    const incumbent = await modelInUse(registry);
    const maxEpochs = options.maxEpochs || DEFAULT_EPOCHS;
    const job = {
      seed,
      maxEpochs,
      origin: 'history' as const,
      trainedMs: clock.nowMs(),
      // The same runs as before, or the interrupted training could not be gone on from.
      untilMs: before !== undefined && isFor({ seed, maxEpochs }, before) ? before.untilMs : clock.nowMs(),
      ...(incumbent === undefined ? {} : { incumbent }),
    };
    for await (const message of runTraining({ ...options, job })) {
      if (message.kind !== 'trained') {
        yield message;
        continue;
      }
      const candidate = await conclude(registry, message.model, incumbent);
      if (checkpointFile !== undefined) await removeCheckpoint(checkpointFile);
      yield { kind: 'candidate', ...candidate, budgetSpent: message.budgetSpent };
    }
  } finally {
    training.delete(registry);
  }
}

/** Whether one is under way, by whomever. */
export function isTraining(registry: ModelRegistry): boolean {
  return training.has(registry);
}

/** Installed whether it won or not: an operator may still want it. */
async function conclude(
  registry: ModelRegistry,
  model: TrainedModel,
  incumbent: Incumbent | undefined,
): Promise<Omit<Candidate, 'budgetSpent'>> {
  const { card, onnx, weights, evidence, incumbentScores, testRows } = model;
  const scores = [...card.scores, ...incumbentScores];
  const inUse = registry.inUse()?.card;
  const lost = (reason: string) => ({ model, scores, verdict: { better: false, reason } });
  if (card.id === inUse?.id) return lost('training ended at the model in use');
  const judged = { ...card, scores };
  await registry.install({ card: judged, onnx, weights, evidence });
  const installed = { ...model, card: judged };
  const barred = registry.barred(card.id);
  if (barred !== undefined) return { ...lost(`it was in use before and was ${barred}`), model: installed };
  if (inUse?.id !== incumbent?.card.id)
    return {
      ...lost(`the model in use changed to ${inUse?.id} meanwhile`),
      model: installed,
    };
  const testRuns = evidence.data.test.runs;
  const verdict = judgePromotion({ scores: card.scores, incumbent: incumbentScores, testRows, testRuns });
  return { model: installed, scores, verdict };
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
