import {
  type NetworkShape,
  ONNX_INPUT_SEQUENCE,
  ONNX_INPUT_STATIC,
  ONNX_OUTPUT,
  QUANTILES,
} from '../forecast/network.js';
import { invalidField } from '../lib/errors.js';
import { type LstmLayout, lstmLayout, type Tensor, tensorOf } from './lstm-layout.js';
import { encodeOnnx, type OnnxNode, type OnnxTensor } from './onnx-messages.js';

/** The first opset in which every operator used here has the form used here (Squeeze and Split take inputs from 13). */
const OPSET = 14;

/**
 * The network of network.ts as a standard ONNX file, with the LSTM operator and a free batch size. The same weights and
 * id give the same bytes. Throws INVALID_ARGUMENT when the weights do not fit the shape.
 */
export function writeOnnx(
  shape: NetworkShape,
  weights: Float32Array,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const layout = lstmLayout(shape);
  if (weights.length !== layout.size) {
    throw invalidField('weights', `${weights.length} numbers`, `${layout.size} for this shape`);
  }
  return encodeOnnx({
    producerVersion: '1',
    opset: OPSET,
    metadata,
    name: 'corecast',
    nodes: nodes(shape),
    initializers: [...recurrent(shape, layout, weights), ...dense(layout, weights), ...constants(shape)],
    inputs: [
      { name: ONNX_INPUT_SEQUENCE, dims: ['batch', shape.steps, shape.sequenceFeatures] },
      { name: ONNX_INPUT_STATIC, dims: ['batch', shape.staticFeatures] },
    ],
    outputs: [{ name: ONNX_OUTPUT, dims: ['batch', shape.targets * QUANTILES.length] }],
  });
}

function nodes(shape: NetworkShape): OnnxNode[] {
  const node = (op: string, inputs: string[], outputs: string[], attributes = {}): OnnxNode => ({
    op,
    inputs,
    outputs,
    attributes,
  });
  const layer = (name: string, input: string): OnnxNode[] => [
    node('Gemm', [input, `${name}.weight`, `${name}.bias`], [`${name}.sum`]),
    node('Relu', [`${name}.sum`], [name]),
  ];
  return [
    // LSTM's own batch-first layout (opset 14) is not implemented by onnxruntime's CPU kernel.
    node('Transpose', [ONNX_INPUT_SEQUENCE], ['steps'], { perm: [1, 0, 2] }),
    node('LSTM', ['steps', 'lstm.W', 'lstm.R', 'lstm.B'], ['', 'lstm.last'], { hidden_size: shape.hidden }),
    node('Squeeze', ['lstm.last', 'axis.0'], ['lstm']),
    ...layer('embed1', ONNX_INPUT_STATIC),
    ...layer('embed2', 'embed1'),
    node('Concat', ['lstm', 'embed2'], ['joint'], { axis: 1 }),
    ...layer('head', 'joint'),
    node('Gemm', ['head', 'out.weight', 'out.bias'], ['planes']),
    node('Split', ['planes', 'planes.sizes'], ['q50', 'd90', 'd99'], { axis: 1 }),
    node('Softplus', ['d90'], ['step90']),
    node('Softplus', ['d99'], ['step99']),
    node('Add', ['q50', 'step90'], ['q90']),
    node('Add', ['q90', 'step99'], ['q99']),
    ...['q50', 'q90', 'q99'].map((plane) => node('Unsqueeze', [plane, 'axis.2'], [`${plane}.column`])),
    node('Concat', ['q50.column', 'q90.column', 'q99.column'], ['triples'], { axis: 2 }),
    node('Reshape', ['triples', 'row'], [ONNX_OUTPUT]),
  ];
}

/** ONNX wants [direction, 4 hidden, inputs] row-major and two biases; ours is the first, the second is zero. */
function recurrent(shape: NetworkShape, layout: LstmLayout, weights: Float32Array): OnnxTensor[] {
  const rows = 4 * shape.hidden;
  const gates = tensorOf(weights, layout.gates);
  const inputs = shape.sequenceFeatures;
  const bias = new Float32Array(2 * rows);
  bias.set(tensorOf(weights, layout.gatesBias));
  return [
    {
      name: 'lstm.W',
      dims: [1, rows, inputs],
      values: transposed(gates.subarray(0, rows * inputs), rows, inputs),
    },
    {
      name: 'lstm.R',
      dims: [1, rows, shape.hidden],
      values: transposed(gates.subarray(rows * inputs), rows, shape.hidden),
    },
    { name: 'lstm.B', dims: [1, 2 * rows], values: bias },
  ];
}

/** Column-major [out, in] is what Gemm takes as row-major [in, out]. */
function dense(layout: LstmLayout, weights: Float32Array): OnnxTensor[] {
  const pair = (name: string, weight: Tensor, bias: Tensor): OnnxTensor[] => [
    { name: `${name}.weight`, dims: [weight.columns, weight.rows], values: tensorOf(weights, weight) },
    { name: `${name}.bias`, dims: [bias.rows], values: tensorOf(weights, bias) },
  ];
  return [
    ...pair('embed1', layout.embed1, layout.embed1Bias),
    ...pair('embed2', layout.embed2, layout.embed2Bias),
    ...pair('head', layout.head, layout.headBias),
    ...pair('out', layout.out, layout.outBias),
  ];
}

function constants(shape: NetworkShape): OnnxTensor[] {
  const integers = (name: string, values: number[]): OnnxTensor => ({
    name,
    dims: [values.length],
    values: BigInt64Array.from(values, BigInt),
  });
  return [
    integers('axis.0', [0]),
    integers('axis.2', [2]),
    integers('planes.sizes', [shape.targets, shape.targets, shape.targets]),
    // 0 copies the batch size.
    integers('row', [0, shape.targets * QUANTILES.length]),
  ];
}

function transposed(columnMajor: Float32Array, rows: number, columns: number): Float32Array {
  const rowMajor = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      rowMajor[row * columns + column] = columnMajor[column * rows + row]!;
    }
  }
  return rowMajor;
}
