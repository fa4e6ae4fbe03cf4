import { type NetworkShape, QUANTILES } from '../forecast/network.js';

/**
 * Where each tensor lies in the trainer's flat weights (native/lstm_layout.h says the same to the trainer). Element (row,
 * column) stands at offset + column * rows + row, rows being outputs. The gates' columns are the sequence features, then
 * the hidden state; their rows come in ONNX's order (input, output, forget, cell). The rows of `out` are three planes:
 * the bases of all targets, then what softplus adds for q90, then for q99.
 */
export interface Tensor {
  readonly offset: number;
  readonly rows: number;
  readonly columns: number;
}

export const TENSOR_NAMES = [
  'gates',
  'gatesBias',
  'embed1',
  'embed1Bias',
  'embed2',
  'embed2Bias',
  'head',
  'headBias',
  'out',
  'outBias',
] as const;

export type LstmLayout = Readonly<Record<(typeof TENSOR_NAMES)[number], Tensor>> & { readonly size: number };

export function lstmLayout(shape: NetworkShape): LstmLayout {
  const { hidden, embed, head } = shape;
  const outputs = shape.targets * QUANTILES.length;
  let size = 0;
  const next = (rows: number, columns: number): Tensor => {
    const tensor = { offset: size, rows, columns };
    size += rows * columns;
    return tensor;
  };
  return {
    gates: next(4 * hidden, shape.sequenceFeatures + hidden),
    gatesBias: next(4 * hidden, 1),
    embed1: next(embed, shape.staticFeatures),
    embed1Bias: next(embed, 1),
    embed2: next(embed, embed),
    embed2Bias: next(embed, 1),
    head: next(head, hidden + embed),
    headBias: next(head, 1),
    out: next(outputs, head),
    outBias: next(outputs, 1),
    size,
  };
}

export function tensorOf(weights: Float32Array, { offset, rows, columns }: Tensor): Float32Array {
  return weights.subarray(offset, offset + rows * columns);
}
