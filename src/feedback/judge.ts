import { type Model, openModel } from '../forecast/inference.js';
import { type ModelCard, type ModelScore, type NetworkShape, OUTPUTS } from '../forecast/network.js';
import { createTrainer } from './lstm-addon.js';
import { type Normalisation, pack } from './normalisation.js';
import { costTable, type DemandForecast, type Method, persistence, signatureLookup } from './peers.js';
import type { Row } from './rows.js';
import { score } from './scores.js';
import { demandOf } from './targets.js';
import { fixedFor } from './words.js';

/** The network and the simple methods that it must beat, on the same rows. */
export function judgeNetwork(
  training: readonly Row[],
  rows: readonly Row[],
  normalisation: Normalisation,
  network: Method,
): ModelScore[] {
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

/** [rows, OUTPUTS] in one pass of the trainer, which the ONNX file equals to 1e-4. */
export function answersOf(
  rows: readonly Row[],
  shape: NetworkShape,
  normalisation: Normalisation,
  weights: Float32Array,
): Float32Array {
  const trainer = createTrainer(shape, 0);
  trainer.setWeights(weights);
  const { sequence, fixed, count } = pack(rows, normalisation);
  return trainer.predict(sequence, fixed, count);
}

/** The demand of the first horizon, of rows that were answered. */
export function methodOf(rows: readonly Row[], answers: Float32Array): Method {
  const places = new Map(rows.map((row, i) => [row, i * OUTPUTS]));
  return (row) => demandQuantiles(answers, places.get(row)!, row.cost);
}

/** By its ONNX file, as the daemon runs it. */
export async function judgeIncumbent(
  card: ModelCard,
  onnx: Uint8Array,
  rows: readonly Row[],
): Promise<ModelScore[]> {
  let model: Model | undefined;
  try {
    model = await openModel(card, onnx);
    const forecasts = new Map<Row, DemandForecast>();
    for (const row of rows) {
      forecasts.set(
        row,
        demandQuantiles(await model.run(row.sequence, [fixedFor(row, card.vocabulary)]), 0, row.cost),
      );
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

export function demandQuantiles(answers: Float32Array, at: number, cost: number): DemandForecast {
  return { q50: demandOf(answers[at]!, cost), q90: demandOf(answers[at + 1]!, cost) };
}
