/**
 * One forecast for 8 candidate CPU counts, against its floor in the same run: the model alone on the same batch. The
 * network is as wide as the one that ships and has random weights; times do not depend on what it learned.
 *
 *   npm run -s bench -- inference [--json]
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SHIPPED = fileURLToPath(new URL('../models/baseline/model.json', import.meta.url));
const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { openHistory } = await import(`${dist}/history/store.js`);
const { configSchema } = await import(`${dist}/config/schema.js`);
const { lstmLayout } = await import(`${dist}/feedback/lstm-layout.js`);
const { writeOnnx } = await import(`${dist}/feedback/onnx-writer.js`);
const { COST_TABLE_ID } = await import(`${dist}/forecast/cost-table.js`);
const { encodeSequence, encodeStatics, STATIC_FEATURE_NAMES } = await import(`${dist}/forecast/features.js`);
const { createForecaster } = await import(`${dist}/forecast/forecaster.js`);
const { networkShape } = await import(`${dist}/forecast/network.js`);
const { openRegistry } = await import(`${dist}/forecast/registry.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);

const ROUNDS = 1_000;
const CANDIDATES = [1, 2, 3, 4, 5, 6, 7, 8];
const SCHEDULABLE = 16;

export async function run() {
  const root = mkdtempSync(join(tmpdir(), 'corecast-bench-'));
  try {
    return await measure(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function measure(root) {
  const clock = systemClock;
  const config = configSchema.parse({}).history;
  const { history } = await openHistory({ dir: join(root, 'history'), clock, config });
  const directory = join(root, 'models');
  const registry = await openRegistry({ directory, baseline: join(root, 'none'), clock });
  const { card, onnx } = randomModel();
  await registry.install({ card, onnx });
  await registry.promote(card.id);
  const forecaster = await createForecaster({ registry, history, clock, timeoutMs: 1_000 });

  const query = ladderQuery();
  const statics = encodeStatics(query.signature, CANDIDATES, SCHEDULABLE);
  const sequence = encodeSequence(query.host);
  const times = { forecast: [], model: [], encode: [] };
  // Alternating, so that neighbours on the machine slow all alike.
  for (let round = -200; round < ROUNDS; round++) {
    const forecast = await timed(() => forecaster.forecast(query));
    const model = await timed(() => registry.inUse().run(sequence, statics));
    const encode = await timed(() => encodeStatics(query.signature, CANDIDATES, SCHEDULABLE));
    if (round < 0) continue;
    times.forecast.push(forecast);
    times.model.push(model);
    times.encode.push(encode);
  }
  await forecaster.close();
  registry.close();
  await history.close();

  const rows = Object.entries(times).map(([what, ms]) => ({
    what,
    p50_ms: quantile(ms, 0.5),
    p99_ms: quantile(ms, 0.99),
  }));
  return {
    rows,
    figures: {
      candidates: CANDIDATES.length,
      forecast_p50_ms: rows[0].p50_ms,
      model_p50_ms: rows[1].p50_ms,
      forecast_over_model_p50: Number((rows[0].p50_ms / rows[1].p50_ms).toFixed(2)),
    },
  };
}

async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

function randomModel() {
  const { hidden, embed, head } = JSON.parse(readFileSync(SHIPPED, 'utf8')).shape;
  const shape = { ...networkShape(STATIC_FEATURE_NAMES.length), hidden, embed, head };
  const weights = Float32Array.from({ length: lstmLayout(shape).size }, (_, i) => 0.1 * Math.sin(i * i));
  const onnx = writeOnnx(shape, weights, {});
  const fill = (length, value) => new Array(length).fill(value);
  const card = {
    format: 1,
    id: 'bench',
    origin: 'history',
    trainedMs: 0,
    seed: 0,
    shape,
    staticFeatureNames: STATIC_FEATURE_NAMES,
    costTable: COST_TABLE_ID,
    sequenceMean: fill(shape.sequenceFeatures, 0),
    sequenceScale: fill(shape.sequenceFeatures, 1),
    staticMean: fill(shape.staticFeatures, 0),
    staticScale: fill(shape.staticFeatures, 3),
    onnxSha256: createHash('sha256').update(onnx).digest('hex'),
    trainingRuns: 0,
    validationRuns: 0,
    scores: [],
    note: 'random weights',
  };
  return { card, onnx };
}

/** A ladder of three: the largest signature that is common. */
function ladderQuery() {
  const output = (width, height, bitrateBps) => ({
    encoder: 'libx264',
    preset: 'veryfast',
    width,
    height,
    fps: 25,
    rate: { bitrateBps },
    bitDepth: 8,
    options: { 'x264-params': 'ref=2' },
  });
  const host = {
    busy: 0.1,
    coreSpread: 0.05,
    busiestCore: 0.2,
    memoryUsed: 0.4,
    diskBusy: 0,
    ingressBps: 5e6,
    queueLength: 0,
    cpuPressure: 0,
    channels: 1,
    reserved: 0.2,
  };
  return {
    signature: {
      input: { codec: 'h264', width: 1920, height: 1080, fps: 25, bitrateBps: 6e6, bitDepth: 8 },
      outputs: [output(1280, 720, 3e6), output(854, 480, 1.2e6), output(640, 360, 8e5)],
      complexity: { bitsPerPixel: 0.1 },
    },
    host: new Array(12).fill(host),
    candidates: CANDIDATES,
    schedulableCpus: SCHEDULABLE,
  };
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))].toFixed(4));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { rows, figures } = await run();
  console.table(rows);
  if (process.argv.includes('--json')) console.log(JSON.stringify({ bench: 'forecast', figures, peers: {} }));
}
