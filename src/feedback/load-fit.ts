import type { LoadModel } from '../forecast/load-forecast.js';
import { loadNetworkShape } from '../forecast/load-window.js';
import { CorecastError } from '../lib/errors.js';
import { loadRows } from './load-rows.js';
import { type LoadSeries, resolutionOf } from './load-series.js';
import { createTrainer } from './lstm-addon.js';
import type { Packed } from './normalisation.js';
import { writeOnnx } from './onnx-writer.js';
import { seededRandom, shuffle } from './random.js';

export interface LoadFitOptions {
  readonly seed: number;
  /** Networks in the ensemble. */
  readonly members: number;
}

/*
 * Chosen by cross-validation over machines (`npm run -s bench -- load`). There is no early stopping: so much of a host's load is noise that a
 * validation part says when to stop no better than a fixed schedule does, and would cost training machines.
 */
const EPOCHS = 6;
const BATCH = 128;
const LEARNING_RATE = 4e-3;
const WARM_UP_STEPS = 50;
const WEIGHT_DECAY = 0.3;

/** The same series, seed and instruction set give the same bits. */
export function fitLoadModel(series: readonly LoadSeries[], { seed, members }: LoadFitOptions): LoadModel {
  const { packed, scaling } = loadRows(series, seed);
  if (packed.count < BATCH) {
    throw new CorecastError(
      'INVALID_ARGUMENT',
      `${series.length} machines have ${packed.count} samples to learn from; ${BATCH} or more are needed`,
    );
  }
  return {
    members: Array.from({ length: members }, (_, i) => fitMember(packed, seed + i)),
    statics: scaling,
    resolution: resolutionOf(series),
  };
}

function fitMember(rows: Packed, seed: number): Uint8Array {
  const shape = loadNetworkShape();
  const trainer = createTrainer(shape, seed, { weightDecay: WEIGHT_DECAY });
  const random = seededRandom(seed);
  const order = Uint32Array.from({ length: rows.count }, (_, i) => i);
  const batch = rowBuffers(rows, BATCH);
  // The last rows of an epoch that fill no batch are left to the next one, which has another order.
  const perEpoch = Math.floor(rows.count / BATCH);
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    shuffle(order, random);
    for (let i = 0; i < perEpoch; i++) {
      gather(rows, order.subarray(i * BATCH, (i + 1) * BATCH), batch);
      const rate = learningRate(epoch * perEpoch + i, EPOCHS * perEpoch);
      trainer.step(batch.sequence, batch.fixed, batch.target, BATCH, rate);
    }
  }
  return writeOnnx(shape, trainer.weights(), { corecast: 'host load' });
}

/** A short warm-up, then half a cosine down to zero. */
function learningRate(step: number, steps: number): number {
  return (
    LEARNING_RATE * Math.min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * Math.cos((Math.PI * step) / steps))
  );
}

function rowBuffers(rows: Packed, count: number): Packed {
  const per = (values: Float32Array) => new Float32Array((values.length / rows.count) * count);
  return { count, sequence: per(rows.sequence), fixed: per(rows.fixed), target: per(rows.target) };
}

function gather(rows: Packed, chosen: Uint32Array, into: Packed): void {
  for (const key of ['sequence', 'fixed', 'target'] as const) {
    const width = rows[key].length / rows.count;
    chosen.forEach((row, i) => {
      into[key].set(rows[key].subarray(row * width, (row + 1) * width), i * width);
    });
  }
}
