import { createHash } from 'node:crypto';
import { lstmLayout } from '../../src/feedback/lstm-layout.js';
import { writeOnnx } from '../../src/feedback/onnx-writer.js';
import { HORIZONS } from '../../src/forecast/forecast.js';
import { TARGETS, TARGETS_PER_HORIZON } from '../../src/forecast/network.js';
import { type MadeModel, makeModel } from './forecast-models.js';

export interface Poor {
  /** Its median, as a multiple of what the cost table says. */
  readonly times?: number;
  /** Its 0.9 quantile, as a multiple of its median. */
  readonly wide?: number;
}

/** A model that knows nothing but the cost table. Nobody trains on from its weights, nearly all of which are zero. */
export function poorModel(id: string, { times = 1, wide = 1.05 }: Poor): Omit<MadeModel, 'weights'> {
  const { weightsFile: _, ...card } = makeModel(id, { trainedMs: 1_000 }).card;
  const { outBias, size } = lstmLayout(card.shape);
  const weights = new Float32Array(size);
  for (let horizon = 0; horizon < HORIZONS.length; horizon++) {
    const target = outBias.offset + horizon * TARGETS_PER_HORIZON;
    weights[target] = Math.log(times);
    // softplus(log(wide - 1)) = log(wide).
    weights[target + TARGETS] = Math.log(wide - 1);
    weights[target + 2 * TARGETS] = -3;
  }
  const onnx = writeOnnx(card.shape, weights, { model: id });
  const onnxSha256 = createHash('sha256').update(onnx).digest('hex');
  return { card: { ...card, onnxSha256 }, onnx };
}
