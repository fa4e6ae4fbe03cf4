/**
 * Streams of forecasts and what came of them: {forecast, signature, demand, channel}, in the order of the outcomes. Simulated
 * ones (a log-normal model that is wrong in a known way), and the runs that the baseline was made from, each forecast by
 * the baseline, by the runs before it, and by the cost table.
 */
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { dist, root } from './dist.mjs';

const { FallbackChain } = await import(`${dist}/forecast/fallback-chain.js`);
const { HORIZONS } = await import(`${dist}/forecast/forecast.js`);
const { createForecaster } = await import(`${dist}/forecast/forecaster.js`);
const { meanDemand } = await import(`${dist}/forecast/horizon-demand.js`);
const { openRegistry } = await import(`${dist}/forecast/registry.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { silentLog } = await import(`${dist}/lib/log.js`);

/** mulberry32 */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Standard deviation 1: normal, with heavy tails (Student, four degrees of freedom) or skewed to expensive pictures. */
export const NOISES = {
  normal: (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  heavy: (random) => {
    const normal = () => NOISES.normal(random);
    const chi = normal() ** 2 + normal() ** 2 + normal() ** 2 + normal() ** 2;
    return normal() / Math.sqrt(chi / 4) / Math.SQRT2;
  },
  skewed: (random) => (Math.exp(0.5 * NOISES.normal(random)) - 1.1331) / 0.6039,
};

/**
 * The model's median is off by exp(-bias), its log standard deviation is `believed`, the true one `sigma`. From outcome
 * `shiftAt` on everything costs `shift` times as much. `classes`: how many, and how far their biases differ.
 */
export function simulated({ seed, outcomes, sigma, believed, noise = 'normal', ...more }) {
  const { bias = 0, shift = 1, shiftAt = Number.POSITIVE_INFINITY, classes = 1, classSpread = 0 } = more;
  const random = seeded(seed);
  const biases = SIGNATURES.slice(0, classes).map(() => bias + classSpread * NOISES.normal(random));
  return Array.from({ length: outcomes }, (_, i) => {
    const which = Math.floor(random() * classes);
    const median = 0.7 * NOISES.normal(random);
    const moved = biases[which] + (i >= shiftAt ? Math.log(shift) : 0);
    const demand = Math.exp(median + moved + sigma * NOISES[noise](random));
    const at = (z) => Math.exp(median + z * believed);
    const forecast = forecastOf('lstm', 'simulated', { q50: at(0), q90: at(1.2816), q99: at(2.3263) });
    return { forecast, signature: SIGNATURES[which], demand, channel: `channel-${i}` };
  });
}

function forecastOf(source, modelId, demand) {
  const horizons = HORIZONS.map(({ fromS, toS }) => ({
    fromS,
    toS,
    demand,
    coreUsage: [],
    hostLoad: demand,
  }));
  return { source, modelId, cpuCount: 1, horizons, notes: [] };
}

/** Nine classes: three encoders, each light, medium and heavy. */
const WIDTHS = { libx264: [320, 640, 1280], libx265: [160, 320, 1280], libsvtav1: [128, 320, 1280] };
const SIGNATURES = Object.entries(WIDTHS).flatMap(([encoder, widths]) =>
  widths.map((width) => {
    const size = { width, height: (width * 9) / 16, fps: 25, bitDepth: 8 };
    const preset = encoder === 'libsvtav1' ? '10' : 'fast';
    return {
      input: { codec: 'h264', bitrateBps: 1e6, ...size },
      outputs: [{ encoder, preset, rate: { crf: 25 }, options: {}, ...size }],
      complexity: {},
    };
  }),
);

/** By source: the baseline's own training runs, in the order they were measured. */
export async function measuredStreams() {
  const directory = mkdtempSync(join(tmpdir(), 'corecast-bench-'));
  const baseline = `${root}/models/baseline`;
  const registry = await openRegistry({ directory, baseline, clock: systemClock });
  const history = {
    runs: async function* () {},
    getFact: async () => undefined,
    putFact: async () => undefined,
  };
  const common = { history, clock: systemClock, log: silentLog };
  const forecaster = await createForecaster({ ...common, registry, timeoutMs: 10_000 });
  const calibration = { drifting: () => undefined };
  const fallback = new FallbackChain({ ...common, calibration, speed: () => 1 });
  const streams = { lstm: [], nearest: [], cost_table: [] };
  const model = registry.inUse();
  if (model === undefined)
    process.stderr.write(`no baseline to measure: ${registry.problems().join('; ')}\n`);
  try {
    for await (const run of runsIn(`${baseline}/runs.jsonl.gz`)) {
      const demand = meanDemand(run);
      if (demand === undefined) continue;
      for (const forecast of await forecastsOf(run, { forecaster, model, fallback }))
        streams[forecast.source].push({ forecast, signature: run.signature, demand, channel: run.source });
      fallback.add(run);
    }
  } finally {
    await forecaster.close();
    registry.close();
    rmSync(directory, { recursive: true, force: true });
  }
  return streams;
}

async function* runsIn(path) {
  const text = createReadStream(path).pipe(createGunzip());
  for await (const line of createInterface({ input: text })) if (line !== '') yield JSON.parse(line);
}

/** What each source would have said before the run, uncorrected. */
async function forecastsOf(
  { signature, hostBefore, schedulableCpus, ...run },
  { forecaster, model, fallback },
) {
  const cpuCount = Math.max(1, run.cpuCount);
  const query = { signature, host: hostBefore, candidates: [cpuCount], schedulableCpus };
  const byModel = model === undefined ? [] : await forecaster.forecastBy(model, query);
  return [...byModel, ...fallback.beside({ source: 'lstm', cpuCount }, signature)];
}

/** The same outcomes in another order; from `shiftAt` on they cost `shift` times as much. */
export function reordered(stream, { seed, shift = 1, shiftAt = 0 }) {
  const random = seeded(seed);
  const order = [...stream];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order.map((one, i) => (i >= shiftAt ? { ...one, demand: one.demand * shift } : one));
}
