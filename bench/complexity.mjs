/**
 * What each level of complexity buys, and what it costs: the network is trained and judged on the same runs, once with
 * nothing of the picture, and then with one level more each time. It is judged on sources that it has not seen, over
 * several choices of them. Costs are measured on this host, one command after the other.
 *
 *   npm run -s bench -- complexity [--json] [--runs models/baseline/runs.jsonl.gz] [--folds 3] [--epochs 200] [--seed 1]
 *
 * Levels that no run of the file has (files of before they were measured) are left out.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = process.env.CORECAST_DIST ?? join(root, 'dist');
const { parseFfmpegCommand } = await import(`${dist}/client/ffmpeg-args.js`);
const { childCpuSeconds, withComplexity } = await import(`${dist}/client/measure-complexity.js`);
const { readRuns } = await import(`${dist}/client/runs-file.js`);
const { commandSignature } = await import(`${dist}/client/signature.js`);
const { makeModel } = await import(`${dist}/feedback/model-maker.js`);
const { seededRandom, shuffle } = await import(`${dist}/feedback/random.js`);

const PACKETS = ['bitsPerPixel', 'packetSizeVariation', 'keyframeRatio'];
const SITI = ['spatial', 'temporal'];
const PROBE = ['probeCpuSecondsPerFrame'];

/** `measured`: what --complexity has to be for it. */
const LEVELS = [
  { level: 'none', fields: [] },
  { level: 'packets', fields: PACKETS, measured: 'packets' },
  { level: 'packets, SI/TI', fields: [...PACKETS, ...SITI], measured: 'siti' },
  { level: 'packets, probe', fields: [...PACKETS, ...PROBE], measured: 'probe' },
  { level: 'packets, SI/TI, probe', fields: [...PACKETS, ...SITI, ...PROBE] },
];

export async function run(given) {
  const file = given.runs ?? join(root, 'models/baseline/runs.jsonl.gz');
  const folds = Number(given.folds ?? 3);
  const epochs = Number(given.epochs ?? 200);
  const seed = Number(given.seed ?? 1);
  const runs = readRuns(file).filter(({ origin }) => origin === 'calibration');
  const levels = LEVELS.filter(({ fields }) => fields.every((field) => anyHas(runs, field)));
  const costs = await measureCosts();
  const rows = [];
  for (const { level, fields, measured } of levels) {
    const points = [];
    for (let fold = 0; fold < folds; fold++) {
      points.push(...(await judge(inOrder(runs.map(only(fields)), fold / folds, seed), seed, epochs)));
      process.stderr.write(`${level}: ${fold + 1} of ${folds}\n`);
    }
    rows.push({ level, ...scores(points), ...costs[measured] });
  }
  return { rows, figures: { runs: runs.length, sources: sourcesOf(runs).length, folds, ...flat(rows) } };
}

function anyHas(runs, field) {
  return runs.some(({ signature }) => signature.complexity[field] !== undefined);
}

/** The run as it would be had nothing else of the picture been measured. */
function only(fields) {
  return (run) => {
    const { complexity } = run.signature;
    const kept = Object.fromEntries(fields.filter((f) => f in complexity).map((f) => [f, complexity[f]]));
    return { ...run, signature: { ...run.signature, complexity: kept } };
  };
}

/**
 * Training holds the sources back that were seen last. So their order decides which; a turn by `part` of the circle holds
 * others back.
 */
function inOrder(runs, part, seed) {
  const sources = shuffle(sourcesOf(runs), seededRandom(seed));
  const turn = Math.floor(part * sources.length);
  const place = new Map(sources.map((source, i) => [source, (i + turn) % sources.length]));
  return runs.map((run) => ({ ...run, startedMs: 1e12 + place.get(run.source) * 1e6 }));
}

function sourcesOf(runs) {
  return [...new Set(runs.map(({ source }) => source))].sort();
}

/** Actual demand and forecast of every run of the unseen sources. */
async function judge(runs, seed, maxEpochs) {
  const job = { seed, maxEpochs, origin: 'trained', trainedMs: 0 };
  const { evidence } = await makeModel(runs, job, { onEpoch: async () => undefined });
  return evidence.points.filter(({ horizon }) => horizon === 0);
}

function scores(points) {
  const errors = points
    .map(({ actual, q50 }) => (100 * Math.abs(q50 - actual)) / actual)
    .sort((a, b) => a - b);
  const pinball = ({ actual, q90 }) => (actual > q90 ? 0.9 * (actual - q90) : 0.1 * (q90 - actual));
  const sum = (value) => points.reduce((total, point) => total + value(point), 0);
  return {
    judged: points.length,
    mape: errors.reduce((a, b) => a + b, 0) / errors.length,
    median_error_percent: errors[Math.floor(errors.length / 2)],
    q90_coverage: sum(({ actual, q90 }) => Number(actual <= q90)) / points.length,
    pinball90_over_mean: sum(pinball) / sum(({ actual }) => actual),
  };
}

/** Medians over commands of different weight, on one clip of ten seconds. */
async function measureCosts() {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-bench-'));
  try {
    const clip = join(dir, 'clip.mkv');
    const source = ['-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=25,noise=alls=6:allf=t', '-t', '10'];
    const encode = ['-c:v', 'libx264', '-preset', 'veryfast', '-g', '50'];
    execFileSync('ffmpeg', ['-v', 'error', ...source, ...encode, clip]);
    const costs = {};
    for (const level of ['packets', 'siti', 'probe']) {
      const measured = [];
      for (const output of COMMANDS) measured.push(await costOf(level, clip, output));
      costs[level] = {
        wall_ms_p50: median(measured.map(({ wallMs }) => wallMs)),
        cpu_s_p50: median(measured.map(({ cpuSeconds }) => cpuSeconds)),
        // Not there in time, on a busy host; its time was spent all the same.
        failed: measured.filter(({ failure }) => failure !== undefined).length,
      };
    }
    return costs;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Of the level alone; for packets ffprobe's, which the signature needs anyway. */
async function costOf(level, clip, output) {
  const command = parseFfmpegCommand(['ffmpeg', '-re', '-i', clip, ...output.split(' '), '-f', 'null', '-']);
  const begun = performance.now();
  const cpuBefore = childCpuSeconds();
  const read = await commandSignature(command, { probe: true, timeoutMs: 20_000 });
  if (level === 'packets') {
    return { wallMs: performance.now() - begun, cpuSeconds: childCpuSeconds() - cpuBefore };
  }
  const { cost } = await withComplexity(command, read, level);
  return cost;
}

const COMMANDS = [
  '-s 640x360 -c:v libx264 -preset ultrafast',
  '-c:v libx264 -preset veryfast -b:v 3M',
  '-s 854x480 -c:v libx264 -preset medium',
  '-s 640x360 -c:v libx265 -preset fast',
  '-s 854x480 -c:v libsvtav1 -preset 10',
];

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function flat(rows) {
  return Object.fromEntries(
    rows.flatMap(({ level, mape, median_error_percent, q90_coverage, pinball90_over_mean }) => {
      const name = level.replaceAll(/[^A-Za-z]+/g, '_').toLowerCase();
      const figures = { mape, median_error_percent, q90_coverage, pinball90_over_mean };
      return Object.entries(figures).map(([key, value]) => [`${name}_${key}`, value]);
    }),
  );
}
