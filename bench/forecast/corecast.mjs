/**
 * The project's own network on rows of a file. Trained on every video that is given; what its upper quantiles have to
 * cover is learnt from videos that a network had not seen, by training one for each fold without it (cross-conformal
 * prediction, Vovk 2015).
 */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { signatureOf } from './ugc.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { epochsFor } = await import(`${dist}/feedback/fit.js`);
const { fitMembers } = await import(`${dist}/feedback/fit-members.js`);
const { absentInputs, wordInputs } = await import(`${dist}/feedback/input-dropout.js`);
const { createTrainer } = await import(`${dist}/feedback/lstm-addon.js`);
const { normalisationOf, pack } = await import(`${dist}/feedback/normalisation.js`);
const { writeOnnx } = await import(`${dist}/feedback/onnx-writer.js`);
const { coverBiases, withBiases } = await import(`${dist}/feedback/quantile-bias.js`);
const { nearCostTable, withoutConstants } = await import(`${dist}/feedback/start-weights.js`);
const { fixedFor, vocabularyOf } = await import(`${dist}/feedback/words.js`);
const { COST_TABLE_ID } = await import(`${dist}/forecast/cost-table.js`);
const { expectedDemand } = await import(`${dist}/forecast/expected-demand.js`);
const { encodeStatic, staticFeatureNames } = await import(`${dist}/forecast/features.js`);
const { WINDOW_STEPS } = await import(`${dist}/forecast/forecast.js`);
const { openModel } = await import(`${dist}/forecast/inference.js`);
const { networkShape, OUTPUTS, SEQUENCE_FEATURES, TARGETS } = await import(`${dist}/forecast/network.js`);
const { wordsOf } = await import(`${dist}/forecast/vocabulary.js`);

const FOLDS = 4;
/** As the baseline that ships (src/feedback/train-baseline.ts). */
const MEMBERS = 3;
const MOST_EPOCHS = 200;
const PER_RUN = 64;
/** A new channel: nothing of the host and of itself yet. */
const SEQUENCE = new Float32Array(WINDOW_STEPS * SEQUENCE_FEATURES.length);

/** Quantiles of CPU seconds per frame for every row of `unseen`. */
export async function fitAndForecast(training, unseen, seed) {
  const started = process.hrtime.bigint();
  const rows = rowsOf(training);
  const vocabulary = vocabularyOf(rows);
  for (const row of rows) row.fixed = fixedFor(row, vocabulary);
  const biases = await crossBiases(rows, vocabulary, seed);
  const final = await fitOn(rows, rows.slice(0, 1_000), vocabulary, seed);
  const weights = withBiases(final.weights, final.shape, biases);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const model = await openModel(...onnxOf(final, weights, vocabulary, seed));
  const steps = MEMBERS * epochsFor(rows.length, MOST_EPOCHS) * Math.ceil(rows.length / 64);
  return { ...(await forecast(model, rowsOf(unseen), vocabulary)), seconds, steps };
}

/** What the trainer calls a row, with the cost table's estimate per frame. Rows of one channel share what they can. */
function rowsOf(ugc) {
  const words = new Map();
  return ugc.map((row) => {
    const signature = signatureOf(row);
    const key = `${row.config}/${row.category}`;
    if (!words.has(key)) words.set(key, wordsOf(signature));
    const cost = expectedDemand(signature) / row.fps;
    const target = new Float32Array(TARGETS).fill(Number.NaN);
    target[0] = Math.log(row.y / cost);
    return {
      ...{ source: row.video, words: words.get(key), sequence: SEQUENCE, target, cost },
      fixed: encodeStatic(signature, 1, 1),
    };
  });
}

async function crossBiases(rows, vocabulary, seed) {
  const foldOf = new Map(
    [...new Set(rows.map(({ source }) => source))].map((video) => [video, foldOfVideo(video)]),
  );
  const all = [];
  for (let fold = 0; fold < FOLDS; fold++) {
    const held = rows.filter(({ source }) => foldOf.get(source) === fold);
    const others = rows.filter(({ source }) => foldOf.get(source) !== fold);
    const { weights, shape, normalisation } = await fitOn(others, held, vocabulary, seed + fold);
    const packed = pack(held, normalisation);
    const network = createTrainer(shape, 0);
    network.setWeights(weights);
    all.push({
      quantiles: network.predict(packed.sequence, packed.fixed, packed.count),
      target: packed.target,
      count: packed.count,
    });
  }
  return coverBiases(
    joined(all.map(({ quantiles }) => quantiles)),
    {
      target: joined(all.map(({ target }) => target)),
      count: all.reduce((sum, { count }) => sum + count, 0),
    },
    TARGETS,
  );
}

/** By name, so that it is no choice of anybody's. */
function foldOfVideo(video) {
  return createHash('sha256').update(video).digest()[0] % FOLDS;
}

async function fitOn(rows, validation, vocabulary, seed) {
  const shape = networkShape(staticFeatureNames(vocabulary).length);
  const normalisation = normalisationOf(rows);
  const fit = await fitMembers(
    pack(rows, normalisation),
    pack(validation, normalisation),
    MEMBERS,
    {
      shape,
      seed,
      maxEpochs: MOST_EPOCHS,
      // Every row has every level of complexity: only words are taken away.
      dropout: { groups: wordInputs(vocabulary), absent: absentInputs(normalisation.fixed) },
      toCover: undefined,
      prepare: (fresh) => nearCostTable(withoutConstants(fresh, shape, normalisation), shape),
      onEpoch: async ({ epoch, epochs, validationLoss }) => {
        process.stderr.write(`  epoch ${epoch} of ${epochs}: loss ${validationLoss.toFixed(4)}\n`);
      },
    },
    normalisation.fixed,
  );
  return { weights: fit.weights, shape: fit.shape, normalisation };
}

function onnxOf({ shape, normalisation }, weights, vocabulary, seed) {
  const onnx = writeOnnx(shape, weights, {});
  const card = {
    ...{ format: 1, id: 'bench', origin: 'baseline', trainedMs: 0, seed, shape, vocabulary },
    staticFeatureNames: staticFeatureNames(vocabulary),
    costTable: COST_TABLE_ID,
    sequenceMean: normalisation.sequence.mean,
    sequenceScale: normalisation.sequence.scale,
    staticMean: normalisation.fixed.mean,
    staticScale: normalisation.fixed.scale,
    onnxSha256: createHash('sha256').update(onnx).digest('hex'),
    ...{ trainingRuns: 0, validationRuns: 0, scores: [], note: '' },
  };
  return [card, onnx];
}

async function forecast(model, rows, vocabulary) {
  const q50 = new Float64Array(rows.length);
  const q90 = new Float64Array(rows.length);
  for (let from = 0; from < rows.length; from += PER_RUN) {
    const some = rows.slice(from, from + PER_RUN);
    const output = await model.run(
      SEQUENCE,
      some.map((row) => fixedFor(row, vocabulary)),
    );
    some.forEach(({ cost }, i) => {
      q50[from + i] = Math.exp(output[i * OUTPUTS]) * cost;
      q90[from + i] = Math.exp(output[i * OUTPUTS + 1]) * cost;
    });
  }
  model.retire();
  return { q50, q90 };
}

function joined(parts) {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
