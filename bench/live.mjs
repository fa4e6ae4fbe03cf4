/**
 * Real channels on this host, at real time and through a real daemon: the forecast at admission against what the channel
 * then took. Encoders' settings and pictures are ones that calibration does not have (bench/live/). The daemon is a fresh
 * one with the model that ships; it is calibrated first by a few runs, as production hosts are, and it goes on learning
 * from each channel that ends, so the second half is what a host comes to.
 *
 *   npm run -s bench -- live [--json] [--channels 40] [--seed 1] [--complexity packets|siti|probe]
 *     [--inputs A.mp4,B.ts] [--seconds 16] [--at-once 2] [--calibrate 24] [--rows FILE.jsonl]
 *
 * Measured demand: CPU seconds per media second in the daemon's own record of the run, its first step (5 s: FFmpeg loads,
 * encoders fill their look-ahead) left out. Forecast: the 0.5 and 0.9 quantile for the first seconds (HORIZONS[0]).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { drawChannel } from './live/channels.mjs';
import { CLI, calibrate, dist, readRuns, startDaemon } from './live/daemon.mjs';
import { pick, pictures } from './live/pictures.mjs';
import { mean, scores } from './live/score.mjs';

const { parseFfmpegCommand } = await import(`${dist}/client/ffmpeg-args.js`);
const { commandSignature } = await import(`${dist}/client/signature.js`);
const { seededRandom } = await import(`${dist}/feedback/random.js`);
const { costTableDemand } = await import(`${dist}/forecast/cost-table.js`);

/** Nothing is adjusted: a channel that was given other CPUs or another rung is no longer the one that was forecast. */
const SETTINGS = `[limits]
host_load = 1.0
[adjust]
enabled = false
`;

/** A step of the daemon's record. */
const FIRST_STEP_S = 5;
/** Drawn channels whose static estimate lies outside are drawn again: too small to be measured, or too large for the host. */
const LEAST_CORES = 0.06;
const MOST_CORES_PER_CPU = 0.55;

export async function run(given) {
  const options = optionsOf(given);
  const dir = mkdtempSync(join(tmpdir(), 'corecast-live-'));
  const daemon = startDaemon(dir, SETTINGS);
  try {
    await daemon.serving;
    if (options.calibrate > 0)
      await calibrate(daemon, { runs: options.calibrate, seed: options.seed + 1_000 });
    const channels = await drawChannels(dir, options);
    const reports = await runChannels(channels, daemon, dir, options);
    await daemon.stop();
    const results = await readResults(dir, channels, reports);
    if (options.rows !== undefined) {
      writeFileSync(options.rows, results.map((result) => `${JSON.stringify(result)}\n`).join(''));
    }
    const { complexity, calibrate: runs, seed } = options;
    const { rows, figures, peers } = scores(results);
    return { rows, figures: { ...figures, complexity, calibration_runs: runs, seed }, peers };
  } finally {
    await daemon.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function optionsOf(given) {
  const whole = (name, absent) => (given[name] === undefined ? absent : Number(given[name]));
  return {
    channels: whole('channels', 40),
    seed: whole('seed', 1),
    seconds: whole('seconds', 16),
    atOnce: whole('at-once', 2),
    calibrate: whole('calibrate', 24),
    complexity: given.complexity ?? 'probe',
    inputs: given.inputs === undefined ? [] : String(given.inputs).split(','),
    rows: given.rows,
  };
}

/** Given clips take half of the channels when there are any. */
async function drawChannels(dir, { channels, seed, seconds, inputs }) {
  const random = seededRandom(seed);
  const { given, made } = await pictures({ inputs, seconds, dir, random });
  const most = MOST_CORES_PER_CPU * availableParallelism();
  const drawn = [];
  while (drawn.length < channels) {
    const picture = pick(random, given.length > 0 && drawn.length % 2 === 0 ? given : made);
    const { encoder, words } = drawChannel(random, picture, seconds);
    const { signature } = await commandSignature(parseFfmpegCommand(words), {
      probe: true,
      timeoutMs: 20_000,
    });
    const cores = costTableDemand(signature);
    if (cores < LEAST_CORES || cores > most) continue;
    drawn.push({
      encoder,
      words,
      picture: picture.name,
      costTableCores: cores,
      inputFps: signature.input.fps,
    });
  }
  return drawn;
}

/** In order, `atOnce` at a time; the wrapper waits where the daemon says that there is no room. */
async function runChannels(channels, { socket }, dir, { atOnce, complexity }) {
  const reports = [];
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < channels.length; i = next++) {
      const report = join(dir, `report-${i}.json`);
      const options = ['--socket', socket, '--require', '-q', '--wait', '120s', '--class', 'live'];
      const named = ['--name', channels[i].picture, '--complexity', complexity, '--report', report];
      const args = [CLI, 'run', ...options, ...named, '--', ...channels[i].words];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text) => {
        said = (said + text).slice(-500);
      });
      const [code] = await once(child, 'close');
      reports[i] = code === 0 ? JSON.parse(readFileSync(report, 'utf8')) : { failed: said.trim() };
      process.stderr.write(
        `${i + 1}/${channels.length} ${channels[i].encoder}${code === 0 ? '' : `: ${said}`}\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return reports;
}

/** From the daemon's history, when it has ended. */
async function readResults(dir, channels, reports) {
  const runs = await readRuns(dir);
  return channels.map((channel, i) => {
    const { encoder, picture, words, costTableCores, inputFps } = channel;
    const { reservationId, complexityCost, failed } = reports[i];
    const run = runs.get(reservationId);
    const steady = run?.samples.filter(({ atS }) => atS > FIRST_STEP_S) ?? [];
    const about = { encoder, picture, words: words.slice(words.indexOf('-i') + 2).join(' ') };
    if (steady.length === 0) return { ...about, failed: failed ?? 'the daemon recorded no step' };
    const { probeCpuSecondsPerFrame } = run.signature.complexity;
    return {
      ...about,
      measured: mean(steady.map(({ demandCores }) => demandCores)),
      steps: run.samples.map(({ demandCores }) => demandCores),
      speed: mean(steady.map(({ speed }) => speed)),
      hostLoad: mean(steady.map(({ hostLoad }) => hostLoad)),
      ...run.forecast.horizons[0].demand,
      source: run.forecast.source,
      cpuCount: run.cpuCount,
      costTableCores,
      ...(probeCpuSecondsPerFrame === undefined ? {} : { probeCores: probeCpuSecondsPerFrame * inputFps }),
      ...(complexityCost === null ? {} : { complexityCost }),
    };
  });
}
