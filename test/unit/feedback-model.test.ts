import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildDataset } from '../../src/feedback/dataset.js';
import { createTrainer, weightsFromBytes, weightsToBytes } from '../../src/feedback/lstm-addon.js';
import { makeModel, type TrainedModel, type TrainingJob } from '../../src/feedback/model-maker.js';
import { normalisationOf, pack } from '../../src/feedback/normalisation.js';
import { costTable, persistence, signatureLookup } from '../../src/feedback/peers.js';
import { score } from '../../src/feedback/scores.js';
import { renormalised, withoutConstants } from '../../src/feedback/start-weights.js';
import { demandOf } from '../../src/feedback/targets.js';
import { parseEvidence } from '../../src/forecast/evidence.js';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { checkModelCard } from '../../src/forecast/model-card.js';
import { networkShape } from '../../src/forecast/network.js';
import { makeModel as randomModel } from '../support/forecast-models.js';
import { madeRuns } from '../support/training-runs.js';

const JOB: TrainingJob = { seed: 3, maxEpochs: 12, origin: 'history', trainedMs: 1_760_000_000_000 };
const RUNS = madeRuns({ seed: 1, sources: 10, runsPerSource: 5, samples: 30 });
const SHAPE = networkShape(STATIC_FEATURE_NAMES.length);

let model: TrainedModel;
beforeAll(async () => {
  model = await makeModel(RUNS, JOB, { onEpoch: async () => undefined });
});

describe('a trained model', () => {
  it('has a card that the registry takes, with the checksum of its file', () => {
    expect(() => checkModelCard(model.card, 'test')).not.toThrow();
    expect(model.card.onnxSha256).toBe(createHash('sha256').update(model.onnx).digest('hex'));
    expect([model.card.trainingRuns, model.card.validationRuns]).toEqual([35, 5]);
    expect(model.testSources).toEqual(['source-8', 'source-9']);
    expect(model.card.note).toContain('unseen sources: source-8, source-9');
  });

  it('comes with the evidence: its data, how training went, and every test row by encoder and horizon', () => {
    const { data, curve, keptEpoch, groups, points, start } = model.evidence;
    expect(parseEvidence(JSON.parse(JSON.stringify(model.evidence)))).toEqual(model.evidence);
    expect(data).toMatchObject({ timeOrdered: true, leftOut: 2, unusable: 0 });
    expect(data.training.toMs).toBeLessThanOrEqual(data.validation.fromMs);
    expect(start).toBe('random weights');
    expect(curve.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(curve[keptEpoch - 1]!.validationLoss).toBe(
      Math.min(...curve.map(({ validationLoss }) => validationLoss!)),
    );
    expect(groups.map(({ encoder, horizon }) => `${encoder} ${horizon}`).sort()).toEqual([
      'x264 0',
      'x264 1',
      'x264 2',
    ]);
    // The same rows as the score of the card, counted another way.
    const first = groups.find(({ horizon }) => horizon === 0)!;
    const [lstm] = model.card.scores;
    expect(first.runs).toBe(8);
    expect(first.rows).toBe(model.testRows);
    expect(first.covered / first.rows).toBeCloseTo(lstm!.coverage90, 9);
    expect(first.pinball / first.demand).toBeCloseTo(lstm!.pinball90, 9);
    expect((100 * first.error) / first.rows).toBeCloseTo(lstm!.mapePercent, 9);
    expect(points.length).toBeGreaterThan(100);
    for (const { actual, q50, q90 } of points) {
      expect(actual).toBeGreaterThan(0);
      expect(q90).toBeGreaterThanOrEqual(q50);
    }
  });

  it('is scored beside the simple methods, for running channels too', () => {
    expect(model.card.scores.map(({ method }) => method)).toEqual([
      'lstm',
      'signature_lookup',
      'cost_table',
      'lstm_running',
      'last_value',
      'mean_12',
      'ewma',
    ]);
    for (const { mapePercent, pinball90, coverage90 } of model.card.scores) {
      expect(mapePercent).toBeGreaterThan(0);
      expect(pinball90).toBeGreaterThan(0);
      expect(coverage90).toBeGreaterThanOrEqual(0);
      expect(coverage90).toBeLessThanOrEqual(1);
    }
  });

  it('has learned the law of its world better than the cost table', () => {
    const [lstm, , table] = model.card.scores;
    expect(lstm!.pinball90).toBeLessThan(table!.pinball90 / 2);
    expect(lstm!.mapePercent).toBeLessThan(table!.mapePercent);
  });

  it('comes out the same, byte for byte, for the same runs and seed', async () => {
    const again = await makeModel(RUNS, JOB, { onEpoch: async () => undefined });
    expect(Buffer.compare(again.onnx, model.onnx)).toBe(0);
    expect(again.card).toEqual(model.card);
    const other = await makeModel(
      RUNS,
      { ...JOB, seed: 4, maxEpochs: 1 },
      { onEpoch: async () => undefined },
    );
    expect(other.card.id).not.toBe(model.card.id);
  });

  it('judges the model in use on the same rows, and starts from its weights', async () => {
    const epochs: number[] = [];
    const next = await makeModel(
      RUNS,
      { ...JOB, maxEpochs: 1, incumbent: model },
      {
        onEpoch: async (epoch) => {
          epochs.push(epoch.validationLoss);
          return undefined;
        },
      },
    );
    const [own] = model.card.scores;
    const [incumbent, running] = next.incumbentScores;
    expect(incumbent).toMatchObject({ method: 'incumbent' });
    expect(incumbent!.pinball90).toBeCloseTo(own!.pinball90, 4);
    expect(running).toMatchObject({ method: 'incumbent_running' });
    expect(next.card.note).toContain(`Trained from the weights of ${model.card.id}`);
    // One epoch from random weights is nowhere near.
    const cold = await makeModel(
      RUNS,
      { ...JOB, maxEpochs: 1 },
      {
        onEpoch: async (epoch) => {
          epochs.push(epoch.validationLoss);
          return undefined;
        },
      },
    );
    expect(epochs[0]!).toBeLessThan(epochs[1]! * 0.8);
    expect(cold.incumbentScores).toEqual([]);
  });

  it.each<[string, (weights: Uint8Array) => Uint8Array]>([
    ['cut short', (weights) => weights.slice(0, 100)],
    ['of another length', (weights) => new Uint8Array([...weights, 0, 0, 0, 0])],
    ['not numbers', (weights) => weights.slice().fill(0xff, 0, 4)],
  ])('starts cold when the weights of the model in use are %s', async (_, spoil) => {
    const incumbent = { ...model, weights: spoil(model.weights) };
    const next = await makeModel(
      RUNS,
      { ...JOB, maxEpochs: 1, incumbent },
      { onEpoch: async () => undefined },
    );
    expect(next.card.note).toContain('Trained from random weights');
    expect(next.incumbentScores).toHaveLength(2);
  });

  it('cannot be judged against a file that is damaged', async () => {
    const incumbent = { ...model, onnx: model.onnx.slice(0, 1000) };
    await expect(
      makeModel(RUNS, { ...JOB, maxEpochs: 1, incumbent }, { onEpoch: async () => undefined }),
    ).rejects.toThrow(/SHA-256/);
  });
});

describe('a warm start', () => {
  it('computes with the new normalisation what it computed with the old one', async () => {
    const { card, weights } = randomModel('old', {
      staticMean: STATIC_FEATURE_NAMES.map((_, i) => 0.01 * i),
      sequenceMean: new Array(SHAPE.sequenceFeatures).fill(0.2),
      sequenceScale: new Array(SHAPE.sequenceFeatures).fill(1.5),
    });
    const { training } = await buildDataset(RUNS, { seed: 1 });
    const rows = training.rows.slice(0, 20);
    const before = {
      sequence: { mean: card.sequenceMean, scale: card.sequenceScale, constant: [] },
      fixed: { mean: card.staticMean, scale: card.staticScale, constant: [] },
    };
    const after = normalisationOf(training.rows);
    const old = weightsFromBytes(weights);
    const expected = predict(old, pack(rows, before));
    const actual = predict(renormalised(old, card, after), pack(rows, after));
    expect(Math.max(...expected.map((x, i) => Math.abs(x - actual[i]!)))).toBeLessThan(1e-3);
    expect(predict(old, pack(rows, after))).not.toEqual(expected);
  });

  it('from nothing gives no weight to features that training cannot teach', async () => {
    const { training } = await buildDataset(RUNS, { seed: 1 });
    const normalisation = normalisationOf(training.rows);
    const at = STATIC_FEATURE_NAMES.indexOf('schedulableLog');
    expect(normalisation.fixed.constant[at]).toBe(true);
    const trainer = createTrainer(SHAPE, 1);
    const packed = pack(training.rows.slice(0, 1), normalisation);
    const odd = { ...packed, fixed: packed.fixed.with(at, 9) };
    expect(predict(trainer.weights(), odd)).not.toEqual(predict(trainer.weights(), packed));
    const cleared = withoutConstants(trainer.weights(), SHAPE, normalisation);
    expect(predict(cleared, odd)).toEqual(predict(cleared, packed));
  });
});

describe('the simple methods', () => {
  it('know a signature that they have seen and take the nearest for one that they have not', async () => {
    const { training, test } = await buildDataset(RUNS, { seed: 1 });
    const { fixed } = normalisationOf(training.rows);
    const lookup = signatureLookup(training.rows, fixed);
    const row = training.rows.find(({ kind }) => kind === 'new')!;
    const same = training.rows
      .filter((other) => other.kind === 'new' && other.signatureKey === row.signatureKey)
      .map((other) => demandOf(other.target[0]!, row.cost))
      .sort((a, b) => a - b);
    expect(lookup(row).q50).toBeGreaterThanOrEqual(same[0]!);
    expect(lookup(row).q50).toBeLessThanOrEqual(same.at(-1)!);
    expect(lookup({ ...row, signatureKey: 'never seen' }).q50).toBeGreaterThan(0);
    expect(score('x', test.rows, lookup).mapePercent).toBeLessThan(200);
  });

  it('get their spread from training: they cover about 0.9 of it', async () => {
    const { training } = await buildDataset(RUNS, { seed: 1 });
    const running = training.rows.filter(({ kind }) => kind === 'running');
    for (const method of Object.values(persistence(training.rows))) {
      expect(score('x', running, method).coverage90).toBeCloseTo(0.9, 2);
    }
    expect(score('x', training.rows, costTable(training.rows)).coverage90).toBeCloseTo(0.9, 2);
  });

  it('score 0 when they are right', async () => {
    const { test } = await buildDataset(RUNS, { seed: 1 });
    const oracle = score('oracle', test.rows, (row) => {
      const demand = demandOf(row.target[0]!, row.cost);
      return { q50: demand, q90: demand };
    });
    expect(oracle).toEqual({ method: 'oracle', mapePercent: 0, pinball90: 0, coverage90: 1 });
  });
});

it('weights survive their file', () => {
  const weights = createTrainer(SHAPE, 5).weights();
  expect(weightsFromBytes(weightsToBytes(weights))).toEqual(weights);
  expect(() => weightsFromBytes(new Uint8Array(7))).toThrow(/weights is "7 bytes"/);
});

function predict(
  weights: Float32Array,
  rows: { count: number; sequence: Float32Array; fixed: Float32Array },
) {
  const trainer = createTrainer(SHAPE, 0);
  trainer.setWeights(weights);
  return trainer.predict(rows.sequence, rows.fixed, rows.count);
}
