import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { createTrainer } from '../../src/feedback/lstm-addon.js';
import { lstmLayout } from '../../src/feedback/lstm-layout.js';
import { writeOnnx } from '../../src/feedback/onnx-writer.js';
import {
  type NetworkShape,
  networkShape,
  ONNX_INPUT_SEQUENCE,
  ONNX_INPUT_STATIC,
  ONNX_OUTPUT,
} from '../../src/forecast/network.js';
import { isCorecastError } from '../../src/lib/errors.js';
import { seededRandom, uniform } from '../support/seeded-random.js';

const { InferenceSession, Tensor } = createRequire(import.meta.url)(
  'onnxruntime-node',
) as typeof import('onnxruntime-node');

const SHAPES: [string, NetworkShape][] = [
  ['the real shape', networkShape(60)],
  [
    'an odd shape',
    { steps: 5, sequenceFeatures: 3, staticFeatures: 7, hidden: 9, embed: 11, head: 13, targets: 4 },
  ],
];

describe.each(SHAPES)('the ONNX file of %s', (_, shape) => {
  it.each([
    ['fresh weights', undefined],
    ['weights of 0.2', 0.2],
    ['weights of 1, gates saturated', 1],
  ])('gives what the trainer gives, within 1e-4: %s', async (_, size) => {
    const random = seededRandom(3);
    const trainer = createTrainer(shape, 5);
    if (size !== undefined) trainer.setWeights(uniform(random, lstmLayout(shape).size, size));
    const session = await InferenceSession.create(writeOnnx(shape, trainer.weights(), { model: 'm' }));
    try {
      for (const batch of [1, 7, 64]) {
        const sequence = uniform(random, batch * shape.steps * shape.sequenceFeatures, 3);
        const fixed = uniform(random, batch * shape.staticFeatures, 3);
        const expected = trainer.predict(sequence, fixed, batch);
        const outputs = await session.run({
          [ONNX_INPUT_SEQUENCE]: new Tensor('float32', sequence, [
            batch,
            shape.steps,
            shape.sequenceFeatures,
          ]),
          [ONNX_INPUT_STATIC]: new Tensor('float32', fixed, [batch, shape.staticFeatures]),
        });
        const output = outputs[ONNX_OUTPUT]!;
        expect(output.dims).toEqual([batch, shape.targets * 3]);
        const actual = output.data as Float32Array;
        // Absolute up to 1, above that relative to the largest output: weights of 1 give outputs of thousands.
        const scale = Math.max(1, ...expected.map(Math.abs));
        const worst = Math.max(...expected.map((x, i) => Math.abs(x - actual[i]!))) / scale;
        expect(worst).toBeLessThan(1e-4);
      }
    } finally {
      await session.release();
    }
  });
});

describe('the ONNX file', () => {
  const shape = networkShape(8);
  const weights = createTrainer(shape, 1).weights();

  it('has the same bytes for the same weights', () => {
    expect(writeOnnx(shape, weights, { model: 'm' })).toEqual(writeOnnx(shape, weights, { model: 'm' }));
  });

  it('carries its metadata', () => {
    const bytes = writeOnnx(shape, weights, { model: 'model-of-tuesday' });
    expect(Buffer.from(bytes).includes('model-of-tuesday')).toBe(true);
  });

  it('is refused by onnxruntime when cut short', async () => {
    const bytes = writeOnnx(shape, weights, { model: 'm' });
    await expect(InferenceSession.create(bytes.slice(0, bytes.length - 100))).rejects.toThrow();
  });

  it('is not written from weights of another shape', () => {
    let thrown: unknown;
    try {
      writeOnnx(networkShape(9), weights, {});
    } catch (error) {
      thrown = error;
    }
    expect(isCorecastError(thrown, 'INVALID_ARGUMENT')).toBe(true);
  });
});
