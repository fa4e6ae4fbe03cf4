/**
 * Makes models/simulation/channels.json: what each measured run took, and what the baseline forecast of it when its source
 * was among the unseen ones. The baseline is trained as it ships (train-baseline.ts: the same code, seed and members)
 * several times, each time with other sources last in time, so that split.ts holds those out; every run is forecast by the
 * one training that saw neither it nor its source. The per-signature lookup is asked of the same training rows.
 *
 *   node bench/simulate/make-population.mjs [models/baseline/runs.jsonl.gz] [models/simulation/channels.json]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { buildDataset } = await import(`${dist}/feedback/dataset.js`);
const { makeModel } = await import(`${dist}/feedback/model-maker.js`);
const { normalisationOf } = await import(`${dist}/feedback/normalisation.js`);
const { signatureLookup } = await import(`${dist}/feedback/peers.js`);
const { demandOf } = await import(`${dist}/feedback/targets.js`);
const { fixedFor, withVocabulary } = await import(`${dist}/feedback/words.js`);
const { HORIZONS } = await import(`${dist}/forecast/forecast.js`);
const { openModel } = await import(`${dist}/forecast/inference.js`);
const { QUANTILES, TARGETS_PER_HORIZON } = await import(`${dist}/forecast/network.js`);

/** As train-baseline.ts. */
const JOB = { seed: 1, maxEpochs: 400, members: 3, origin: 'baseline', trainedMs: 0 };
const MOST_TRAININGS = 20;

const [input = 'models/baseline/runs.jsonl.gz', output = 'models/simulation/channels.json'] =
  process.argv.slice(2);
const runs = gunzipSync(readFileSync(input)).toString().trim().split('\n').map(JSON.parse);
const forecasts = new Map();
for (let training = 0; forecasts.size < runs.length; training++) {
  if (training === MOST_TRAININGS)
    throw new Error(`${runs.length - forecasts.size} runs were never held out`);
  await forecastUnseen(unseenLast(runs));
  process.stderr.write(`training ${training + 1}: ${forecasts.size} of ${runs.length} runs forecast\n`);
}
const channels = runs.map((run) => ({ ...forecasts.get(run.id), demand: rounded(meanDemand(run)) }));
writeFileSync(output, `[\n${channels.map((channel) => JSON.stringify(channel)).join(',\n')}\n]\n`);

/** Sources that were never held out come last in time, because split.ts lets the newest judge. */
function unseenLast(all) {
  const sources = [...new Set(all.map(({ source }) => source))];
  const unseen = (source) => all.some((run) => run.source === source && !forecasts.has(run.id));
  const order = [...sources.filter((source) => !unseen(source)), ...sources.filter(unseen)];
  return all.map((run) => ({
    ...run,
    startedMs: 1e12 + order.indexOf(run.source) * 1e8 + (run.startedMs % 1e8),
  }));
}

async function forecastUnseen(ordered) {
  const made = await makeModel(ordered, JOB, { onEpoch: async () => undefined });
  const bare = await buildDataset(ordered, { seed: JOB.seed });
  const dataset = withVocabulary(bare, made.card.vocabulary);
  const lookup = signatureLookup(dataset.training.rows, normalisationOf(dataset.training.rows).fixed);
  const model = await openModel(made.card, made.onnx);
  for (const row of dataset.test.rows) {
    if (forecasts.has(row.runId)) continue;
    const answers = await model.run(row.sequence, [fixedFor(row, made.card.vocabulary)]);
    const horizons = HORIZONS.map((_, horizon) => {
      const at = horizon * TARGETS_PER_HORIZON * QUANTILES.length;
      return QUANTILES.map((_, quantile) => rounded(demandOf(answers[at + quantile], row.cost)));
    });
    const { q50 } = lookup(row);
    forecasts.set(row.runId, { source: row.source, encoder: row.encoder, lookup: rounded(q50), horizons });
  }
  model.retire();
}

function meanDemand({ samples }) {
  return samples.reduce((sum, { demandCores }) => sum + demandCores, 0) / samples.length;
}

function rounded(x) {
  return Number(x.toPrecision(4));
}
