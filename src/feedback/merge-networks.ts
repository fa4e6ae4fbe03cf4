import type { NetworkShape } from '../forecast/network.js';
import { type LstmLayout, lstmLayout, type Tensor } from './lstm-layout.js';

/**
 * Several networks as one: side by side in one wider network that answers with their mean (of what comes before softplus).
 * Networks that were trained from different random weights on few runs err in different ways; their mean errs less than
 * most of them (Lakshminarayanan et al. 2017), and it is still one ordinary model to whoever runs it. `spare`: units in each
 * dense layer, after the others, that do nothing yet.
 */
export function mergeNetworks(
  shape: NetworkShape,
  members: readonly Float32Array[],
  spare = 0,
): { readonly shape: NetworkShape; readonly weights: Float32Array } {
  const count = members.length;
  const { hidden, embed, head } = shape;
  const wide = { ...shape, hidden: count * hidden, embed: count * embed + spare, head: count * head + spare };
  const from = lstmLayout(shape);
  const to = lstmLayout(wide);
  const weights = new Float32Array(to.size);
  members.forEach((member, k) => {
    const inputs = shape.sequenceFeatures;
    const copy = copier(member, weights, from, to);
    // Four gates, each with its own run of rows.
    const gateRow = (row: number) => Math.floor(row / hidden) * wide.hidden + k * hidden + (row % hidden);
    copy('gates', gateRow, (column) => (column < inputs ? column : column + k * hidden));
    copy('gatesBias', gateRow, same);
    copy('embed1', (row) => k * embed + row, same);
    copy('embed1Bias', (row) => k * embed + row, same);
    copy(
      'embed2',
      (row) => k * embed + row,
      (column) => k * embed + column,
    );
    copy('embed2Bias', (row) => k * embed + row, same);
    // The head sees the hidden state, then the embedding.
    copy(
      'head',
      (row) => k * head + row,
      (column) => (column < hidden ? k * hidden + column : wide.hidden + k * embed + column - hidden),
    );
    copy('headBias', (row) => k * head + row, same);
    copy('out', same, (column) => k * head + column, 1 / count);
    copy('outBias', same, same, 1 / count);
  });
  return { shape: wide, weights };
}

type Place = (index: number) => number;
const same: Place = (index) => index;

/** Adds a member's tensor, scaled, at its places in the wide network's. */
function copier(member: Float32Array, weights: Float32Array, from: LstmLayout, to: LstmLayout) {
  return (name: Exclude<keyof LstmLayout, 'size'>, rowTo: Place, columnTo: Place, scale = 1) => {
    const [source, target]: [Tensor, Tensor] = [from[name], to[name]];
    for (let column = 0; column < source.columns; column++) {
      for (let row = 0; row < source.rows; row++) {
        const at = target.offset + columnTo(column) * target.rows + rowTo(row);
        weights[at]! += scale * member[source.offset + column * source.rows + row]!;
      }
    }
  };
}
