import { createHash } from 'node:crypto';
import { COST_TABLE_ID } from '../forecast/cost-table.js';
import type { ModelEvidence } from '../forecast/evidence.js';
import { staticFeatureNames } from '../forecast/features.js';
import { HORIZONS } from '../forecast/forecast.js';
import { type ModelCard, type ModelScore, type NetworkShape, networkShape } from '../forecast/network.js';
import type { Vocabulary } from '../forecast/vocabulary.js';
import type { Run } from '../history/records.js';
import { CorecastError } from '../lib/errors.js';
import { buildDataset, type Dataset } from './dataset.js';
import type { EpochReport, Fit, FitState } from './fit.js';
import { fitMembers } from './fit-members.js';
import { absentInputs, droppableInputs } from './input-dropout.js';
import { answersOf, judgeIncumbent, judgeNetwork, methodOf } from './judge.js';
import { weightsFromBytes, weightsToBytes } from './lstm-addon.js';
import { lstmLayout } from './lstm-layout.js';
import { recordOfData, testEvidence } from './make-evidence.js';
import { type Normalisation, normalisationOf, type Packed, pack } from './normalisation.js';
import { writeOnnx } from './onnx-writer.js';
import { isKnown } from './peers.js';
import { carriedOver, nearCostTable, withoutConstants } from './start-weights.js';
import { vocabularyOf, withVocabulary } from './words.js';

export interface TrainingJob {
  readonly seed: number;
  readonly maxEpochs: number;
  /** Networks that are trained from different random weights and answer with their mean; 1 when absent. */
  readonly members?: number;
  readonly origin: ModelCard['origin'];
  /** For the card. */
  readonly trainedMs: number;
  /** Rows kept of all runs; the default of dataset.ts when absent. */
  readonly mostRows?: number;
  /** Runs that ended later are not looked at. */
  readonly untilMs?: number;
  readonly incumbent?: Incumbent;
}

/** The model in use, to start from and to be judged beside. */
export interface Incumbent {
  readonly card: ModelCard;
  readonly onnx: Uint8Array;
  /** Absent: a cold start. */
  readonly weights?: Uint8Array;
}

export interface TrainedModel {
  readonly card: ModelCard;
  readonly onnx: Uint8Array;
  readonly weights: Uint8Array;
  readonly evidence: ModelEvidence;
  /** Of the model in use on the same unseen rows: incumbent, incumbent_running; empty without one. */
  readonly incumbentScores: readonly ModelScore[];
  readonly testRows: number;
  readonly testSources: readonly string[];
}

/** How far a training is, and all that it takes to go on from there. */
export interface TrainingState {
  /** What it started from, in words. */
  readonly start: string;
  readonly resumedAfter: readonly number[];
  readonly curve: ModelEvidence['curve'];
  readonly fit: FitState;
}

export interface TrainingHooks {
  /** Awaited after every epoch; 'stop' ends the training with the best so far. */
  readonly onEpoch: (epoch: EpochReport, state: () => TrainingState) => Promise<'stop' | undefined>;
  /** Told once the data is there; gives back where an interrupted training of the same data and seed was. */
  readonly onData?: (data: ModelEvidence['data']) => Promise<TrainingState | undefined>;
}

/** From runs to a model with its card: dataset, training, judgement on the unseen part. */
export async function makeModel(
  runs: AsyncIterable<Run> | Iterable<Run>,
  job: TrainingJob,
  { onEpoch, onData }: TrainingHooks,
): Promise<TrainedModel> {
  const { seed, mostRows, untilMs } = job;
  const bare = await buildDataset(runs, {
    seed,
    ...(mostRows === undefined ? {} : { mostRows }),
    ...(untilMs === undefined ? {} : { untilMs }),
  });
  checkParts(bare);
  const data = recordOfData(bare);
  const before = await onData?.(data);
  const vocabulary = vocabularyOf(bare.training.rows);
  const dataset = withVocabulary(bare, vocabulary);
  const names = staticFeatureNames(vocabulary);
  const shape = networkShape(names.length);
  const normalisation = normalisationOf(dataset.training.rows);
  const fresh = startFrom(job, names, normalisation);
  const start = before?.start ?? fresh.name;
  const resumedAfter = before === undefined ? [] : [...before.resumedAfter, before.fit.epoch];
  const curve = [...(before?.curve ?? [])];
  const result = await fitMembers(
    pack(dataset.training.rows, normalisation),
    pack(dataset.validation.rows, normalisation),
    job.members ?? 1,
    {
      shape,
      seed: job.seed,
      maxEpochs: job.maxEpochs,
      dropout: { groups: droppableInputs(vocabulary), absent: absentInputs(normalisation.fixed) },
      toCover: toCover(dataset, normalisation),
      prepare: fresh.prepare,
      ...(before === undefined ? {} : { resume: before.fit }),
      onEpoch: (epoch, state) => {
        curve.push(pointOf(epoch));
        return onEpoch(epoch, () => ({ start, resumedAfter, curve, fit: state() }));
      },
    },
    normalisation.fixed,
  );
  const weights = weightsToBytes(result.first);
  const id = modelId(weightsToBytes(result.weights), normalisation);
  const onnx = writeOnnx(result.shape, result.weights, {
    'corecast.model': id,
    'corecast.cost_table': COST_TABLE_ID,
  });
  const { rows } = dataset.test;
  const answers = answersOf(rows, result.shape, normalisation, result.weights);
  const testRows = rows.filter(isKnown);
  const card = cardOf(job, dataset, normalisation, {
    id,
    shape: result.shape,
    vocabulary,
    onnx,
    scores: judgeNetwork(dataset.training.rows, testRows, normalisation, methodOf(rows, answers)),
    note: noteOf(dataset, testRows.length, result, start),
  });
  const { incumbent } = job;
  return {
    card,
    onnx,
    weights,
    evidence: {
      format: 1,
      data,
      start,
      keptEpoch: result.bestEpoch,
      resumedAfter,
      curve,
      ...testEvidence(rows, answers),
    },
    incumbentScores:
      incumbent === undefined ? [] : await judgeIncumbent(incumbent.card, incumbent.onnx, testRows),
    testRows: testRows.length,
    testSources: dataset.test.sources,
  };
}

/** JSON has no NaN: a training that blows up has none to show. */
function pointOf({ epoch, trainingLoss, validationLoss }: EpochReport): ModelEvidence['curve'][number] {
  const known = (loss: number) => (Number.isFinite(loss) ? loss : null);
  return { epoch, trainingLoss: known(trainingLoss), validationLoss: known(validationLoss) };
}

function cardOf(
  { origin, trainedMs, seed }: TrainingJob,
  dataset: Dataset,
  normalisation: Normalisation,
  made: Pick<ModelCard, 'id' | 'shape' | 'scores' | 'note'> & { vocabulary: Vocabulary; onnx: Uint8Array },
): ModelCard {
  const { id, shape, vocabulary, onnx, scores, note } = made;
  const names = staticFeatureNames(vocabulary);
  return {
    format: 1,
    id,
    origin,
    trainedMs,
    seed,
    shape,
    staticFeatureNames: names,
    vocabulary,
    costTable: COST_TABLE_ID,
    sequenceMean: normalisation.sequence.mean,
    sequenceScale: normalisation.sequence.scale,
    staticMean: normalisation.fixed.mean,
    staticScale: normalisation.fixed.scale,
    onnxSha256: createHash('sha256').update(onnx).digest('hex'),
    trainingRuns: dataset.training.runs,
    validationRuns: dataset.validation.runs,
    scores,
    weightsFile: 'weights.bin',
    note,
  };
}

/** A source counts once, however many rows it has: what covers one or two of them says nothing of the next. */
const LEAST_SOURCES_TO_COVER = 3;

/** Measured rows only: an imagined one repeats the demand of another. */
function toCover({ validation }: Dataset, normalisation: Normalisation): Packed | undefined {
  if (validation.sources.length < LEAST_SOURCES_TO_COVER) return undefined;
  return pack(
    validation.rows.filter(({ imagined }) => !imagined),
    normalisation,
  );
}

/** Follows from what the model computes: training that ends at the same weights gives the same id. */
function modelId(weights: Uint8Array, { sequence, fixed }: Normalisation): string {
  const numbers = JSON.stringify([sequence.mean, sequence.scale, fixed.mean, fixed.scale, COST_TABLE_ID]);
  return `lstm-${createHash('sha256').update(weights).update(numbers).digest('hex').slice(0, 12)}`;
}

function startFrom({ incumbent }: TrainingJob, names: readonly string[], normalisation: Normalisation) {
  const shape = networkShape(names.length);
  const weights = incumbent?.weights && usableWeights(incumbent.weights, incumbent.card);
  if (incumbent !== undefined && weights !== undefined) {
    const { card } = incumbent;
    const member = { ...card, shape: memberShape(card.shape) };
    const warm = carriedOver(weights, member, names, normalisation);
    return { name: `the weights of ${card.id}`, prepare: () => warm };
  }
  return {
    name: 'random weights',
    prepare: (fresh: Float32Array) => nearCostTable(withoutConstants(fresh, shape, normalisation), shape),
  };
}

/** The weights file of a model of several members has one of them, to start from. */
function memberShape({ staticFeatures }: NetworkShape): NetworkShape {
  return networkShape(staticFeatures);
}

/** A damaged or foreign weights file means a cold start, no more. */
function usableWeights(bytes: Uint8Array, { shape }: ModelCard): Float32Array | undefined {
  if (bytes.byteLength !== 4 * lstmLayout(memberShape(shape)).size) return undefined;
  const weights = weightsFromBytes(bytes);
  return weights.every(Number.isFinite) ? weights : undefined;
}

function checkParts({ training, validation, test }: Dataset): void {
  const counts = {
    training: training.rows.length,
    validation: validation.rows.filter(isKnown).length,
    test: test.rows.filter(isKnown).length,
  };
  for (const [part, rows] of Object.entries(counts)) {
    if (rows > 0) continue;
    throw new CorecastError(
      'WRONG_STATE',
      `the ${part} part has no run with a sample in the first ${HORIZONS[0].toS} seconds`,
      { metadata: { part } },
    );
  }
}

function noteOf(
  dataset: Dataset,
  testRows: number,
  { bestEpoch, validationLoss }: Fit,
  start: string,
): string {
  const { training, validation, test, timeOrdered, leftOut, unusable, unusableReason } = dataset;
  const parts = [
    `Trained from ${start}, epoch ${bestEpoch} kept (validation loss ${validationLoss.toFixed(4)}).`,
    `Training: ${training.rows.length} rows of ${training.runs} runs (${training.sources.length} sources).`,
    `Validation: ${validation.rows.length} rows of ${validation.runs} runs (${validation.sources.length} sources).`,
    `Test: ${testRows} rows of ${test.runs} runs; unseen sources: ${test.sources.slice(0, 20).join(', ')}.`,
    ...(timeOrdered ? [] : ['The channels overlap too much to be put in order: split by source alone.']),
    ...(leftOut > 0 ? [`${leftOut} runs lie outside the time of their part.`] : []),
    ...(unusable > 0 ? [`${unusable} runs left out: ${unusableReason}.`] : []),
  ];
  return parts.join(' ').slice(0, 4000);
}
