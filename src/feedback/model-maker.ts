import { createHash } from 'node:crypto';
import { COST_TABLE_ID } from '../forecast/cost-table.js';
import { STATIC_FEATURE_NAMES } from '../forecast/features.js';
import { HORIZONS } from '../forecast/forecast.js';
import { type Model, openModel } from '../forecast/inference.js';
import {
  type ModelCard,
  type ModelScore,
  type NetworkShape,
  networkShape,
  OUTPUTS,
} from '../forecast/network.js';
import type { Run } from '../history/records.js';
import { CorecastError } from '../lib/errors.js';
import { buildDataset, type Dataset } from './dataset.js';
import { type Fit, type FitOptions, fitNetwork } from './fit.js';
import { createTrainer, weightsFromBytes, weightsToBytes } from './lstm-addon.js';
import { lstmLayout } from './lstm-layout.js';
import { type Normalisation, normalisationOf, type Packed, pack } from './normalisation.js';
import { writeOnnx } from './onnx-writer.js';
import {
  costTable,
  type DemandForecast,
  isKnown,
  type Method,
  persistence,
  signatureLookup,
} from './peers.js';
import type { Row } from './rows.js';
import { score } from './scores.js';
import { nearCostTable, renormalised, sameShape, withoutConstants } from './start-weights.js';
import { demandOf } from './targets.js';

export interface TrainingJob {
  readonly seed: number;
  readonly maxEpochs: number;
  readonly origin: ModelCard['origin'];
  /** For the card. */
  readonly trainedMs: number;
  /** Rows kept of all runs; the default of dataset.ts when absent. */
  readonly mostRows?: number;
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
  /** Of the model in use on the same unseen rows: incumbent, incumbent_running; empty without one. */
  readonly incumbentScores: readonly ModelScore[];
  readonly testRows: number;
  readonly testSources: readonly string[];
}

/** From runs to a model with its card: dataset, training, judgement on the unseen part. */
export async function makeModel(
  runs: AsyncIterable<Run> | Iterable<Run>,
  job: TrainingJob,
  onEpoch: FitOptions['onEpoch'],
): Promise<TrainedModel> {
  const dataset = await buildDataset(runs, {
    seed: job.seed,
    ...(job.mostRows === undefined ? {} : { mostRows: job.mostRows }),
  });
  checkParts(dataset);
  const shape = networkShape(STATIC_FEATURE_NAMES.length);
  const normalisation = normalisationOf(dataset.training.rows);
  const start = startFrom(job, normalisation);
  const result = await fitNetwork(
    pack(dataset.training.rows, normalisation),
    pack(dataset.validation.rows, normalisation),
    {
      shape,
      seed: job.seed,
      maxEpochs: job.maxEpochs,
      toCover: toCover(dataset, normalisation),
      prepare: start.prepare,
      onEpoch,
    },
  );
  const weights = weightsToBytes(result.weights);
  const id = modelId(weights, normalisation);
  const onnx = writeOnnx(shape, result.weights, {
    'corecast.model': id,
    'corecast.cost_table': COST_TABLE_ID,
  });
  const testRows = dataset.test.rows.filter(isKnown);
  const card: ModelCard = {
    format: 1,
    id,
    origin: job.origin,
    trainedMs: job.trainedMs,
    seed: job.seed,
    shape,
    staticFeatureNames: STATIC_FEATURE_NAMES,
    costTable: COST_TABLE_ID,
    sequenceMean: normalisation.sequence.mean,
    sequenceScale: normalisation.sequence.scale,
    staticMean: normalisation.fixed.mean,
    staticScale: normalisation.fixed.scale,
    onnxSha256: createHash('sha256').update(onnx).digest('hex'),
    trainingRuns: dataset.training.runs,
    validationRuns: dataset.validation.runs,
    scores: judge(dataset, testRows, normalisation, result.weights),
    weightsFile: 'weights.bin',
    note: noteOf(dataset, testRows.length, result, start.name),
  };
  const incumbentScores = job.incumbent === undefined ? [] : await judgeIncumbent(job.incumbent, testRows);
  return {
    card,
    onnx,
    weights,
    incumbentScores,
    testRows: testRows.length,
    testSources: dataset.test.sources,
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

function startFrom({ incumbent }: TrainingJob, normalisation: Normalisation) {
  const shape = networkShape(STATIC_FEATURE_NAMES.length);
  const weights = incumbent?.weights && usableWeights(incumbent.weights, incumbent.card, shape);
  if (incumbent !== undefined && weights !== undefined) {
    const { card } = incumbent;
    const warm = renormalised(weights, card, normalisation);
    return { name: `the weights of ${card.id}`, prepare: () => warm };
  }
  return {
    name: 'random weights',
    prepare: (fresh: Float32Array) => nearCostTable(withoutConstants(fresh, shape, normalisation), shape),
  };
}

/** A damaged or foreign weights file means a cold start, no more. */
function usableWeights(bytes: Uint8Array, card: ModelCard, shape: NetworkShape): Float32Array | undefined {
  if (!sameShape(card.shape, shape) || bytes.byteLength !== 4 * lstmLayout(shape).size) return undefined;
  const weights = weightsFromBytes(bytes);
  return weights.every(Number.isFinite) ? weights : undefined;
}

function judge(
  dataset: Dataset,
  rows: readonly Row[],
  normalisation: Normalisation,
  weights: Float32Array,
): ModelScore[] {
  const training = dataset.training.rows;
  const network = networkMethod(rows, normalisation, weights);
  const running = rows.filter(({ kind }) => kind === 'running');
  const scores = [
    score('lstm', rows, network),
    score('signature_lookup', rows, signatureLookup(training, normalisation.fixed)),
    score('cost_table', rows, costTable(training)),
  ];
  if (running.length > 0) {
    scores.push(score('lstm_running', running, network));
    for (const [name, method] of Object.entries(persistence(training))) {
      scores.push(score(name, running, method));
    }
  }
  return scores;
}

/** All rows in one pass of the trainer, which the ONNX file equals to 1e-4. */
function networkMethod(rows: readonly Row[], normalisation: Normalisation, weights: Float32Array): Method {
  const trainer = createTrainer(networkShape(STATIC_FEATURE_NAMES.length), 0);
  trainer.setWeights(weights);
  const { sequence, fixed, count } = pack(rows, normalisation);
  const quantiles = trainer.predict(sequence, fixed, count);
  const places = new Map(rows.map((row, i) => [row, i * OUTPUTS]));
  return (row) => demandQuantiles(quantiles, places.get(row)!, row.cost);
}

/** By its ONNX file, as the daemon runs it. */
async function judgeIncumbent({ card, onnx }: Incumbent, rows: readonly Row[]): Promise<ModelScore[]> {
  let model: Model | undefined;
  try {
    model = await openModel(card, onnx);
    const forecasts = new Map<Row, DemandForecast>();
    for (const row of rows) {
      forecasts.set(row, demandQuantiles(await model.run(row.sequence, [row.fixed]), 0, row.cost));
    }
    const running = rows.filter(({ kind }) => kind === 'running');
    const forecast = (row: Row) => forecasts.get(row)!;
    return [
      score('incumbent', rows, forecast),
      ...(running.length > 0 ? [score('incumbent_running', running, forecast)] : []),
    ];
  } finally {
    model?.retire();
  }
}

function demandQuantiles(quantiles: Float32Array, at: number, cost: number): DemandForecast {
  return { q50: demandOf(quantiles[at]!, cost), q90: demandOf(quantiles[at + 1]!, cost) };
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
  const { training, validation, test, unusable, unusableReason } = dataset;
  const parts = [
    `Trained from ${start}, epoch ${bestEpoch} kept (validation loss ${validationLoss.toFixed(4)}).`,
    `Training: ${training.rows.length} rows of ${training.runs} runs (${training.sources.length} sources).`,
    `Validation: ${validation.rows.length} rows of ${validation.runs} runs (${validation.sources.length} sources).`,
    `Test: ${testRows} rows of ${test.runs} runs; unseen sources: ${test.sources.slice(0, 20).join(', ')}.`,
    ...(unusable > 0 ? [`${unusable} runs left out: ${unusableReason}.`] : []),
  ];
  return parts.join(' ').slice(0, 4000);
}
