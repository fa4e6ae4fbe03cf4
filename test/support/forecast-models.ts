import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lstmLayout } from '../../src/feedback/lstm-layout.js';
import { writeOnnx } from '../../src/feedback/onnx-writer.js';
import { COST_TABLE_ID } from '../../src/forecast/cost-table.js';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { type ModelCard, networkShape } from '../../src/forecast/network.js';
import { seededRandom, uniform } from './seeded-random.js';

export interface MadeModel {
  readonly card: ModelCard;
  readonly onnx: Uint8Array;
  readonly weights: Uint8Array;
}

/** A real ONNX network of this version's shape with random weights, and its card. */
export function makeModel(id: string, change: Partial<ModelCard> = {}, size = 0.1): MadeModel {
  const names = STATIC_FEATURE_NAMES;
  const shape = change.shape ?? networkShape(names.length);
  const weights = uniform(seededRandom(change.seed ?? 1), lstmLayout(shape).size, size);
  const onnx = writeOnnx(shape, weights, { model: id });
  const card: ModelCard = {
    format: 1,
    id,
    origin: 'history',
    trainedMs: 1_760_000_000_000,
    seed: 1,
    shape,
    staticFeatureNames: names,
    costTable: COST_TABLE_ID,
    sequenceMean: new Array(shape.sequenceFeatures).fill(0),
    sequenceScale: new Array(shape.sequenceFeatures).fill(1),
    staticMean: new Array(shape.staticFeatures).fill(0),
    staticScale: new Array(shape.staticFeatures).fill(3),
    onnxSha256: createHash('sha256').update(onnx).digest('hex'),
    trainingRuns: 0,
    validationRuns: 0,
    scores: [],
    weightsFile: 'weights.bin',
    note: 'random weights, made by a test',
    ...change,
  };
  return { card, onnx, weights: new Uint8Array(weights.buffer) };
}

/** Writes a model's folder as it ships: FOLDER/{model.json,model.onnx,weights.bin}. */
export function writeModelFolder(
  folder: string,
  { card, onnx, weights }: Omit<MadeModel, 'weights'> & Partial<MadeModel>,
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.json'), JSON.stringify(card));
  writeFileSync(join(folder, 'model.onnx'), onnx);
  if (weights !== undefined) writeFileSync(join(folder, 'weights.bin'), weights);
}
