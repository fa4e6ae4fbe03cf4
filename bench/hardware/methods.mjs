import { fileURLToPath } from 'node:url';
import { mean, median, robustSd } from './statistics.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { estimateResponse } = await import(`${dist}/forecast/host-response.js`);
const { createSpeedFactorTrack } = await import(`${dist}/forecast/speed-factor.js`);

/**
 * Ways to forecast a machine that was never seen. Each takes { train, machine, measured, x264Options }: the fleet's
 * machines, the new machine's facts (model; its runs only for the one that says so), and its calibration runs
 * [{ cell, logFps }]. Each gives a function from a cell to log fps, or undefined where it cannot say.
 */

/** This bench's own: the factor and a shrunk mixture of the fleet's deviations. */
export function fleetResponse({ measured }) {
  const runs = measured.map(({ cell, logFps }) => ({
    logRatio: logFps - cell.mean,
    loadings: cell.loadings,
    noise: cell.noise,
  }));
  const response = estimateResponse(runs[0]?.loadings.length ?? 0, runs);
  return (cell) => cell.mean + response.logRatio(cell.loadings);
}

export const PEERS = {
  no_calibration: () => (cell) => cell.mean,
  cpu_model_mean: cpuModelMean,
  one_factor: oneFactor,
  one_factor_from_all_runs: ({ machine, cells }) =>
    oneFactor({ measured: cells.map((cell) => ({ cell, logFps: machine.runs.get(cell.key).logFps })) }),
  linear_transfer: linearTransfer,
  nearest_machine: nearestMachine,
  daemon_factor_and_effects: daemonFactor,
};

function oneFactor({ measured }) {
  const factor = median(measured.map(({ cell, logFps }) => logFps - cell.mean));
  return (cell) => cell.mean + factor;
}

/** Without calibration: the factors of machines of the same name, else of the same words ("AMD EPYC Processor"). */
function cpuModelMean({ train, machine, cells }) {
  const words = (model) => model.replace(/\S*\d\S*/g, '').replace(/\s+/g, ' ');
  const same = train.filter(({ model }) => model === machine.model);
  const family = train.filter(({ model }) => words(model) === words(machine.model));
  const like = same.length > 0 ? same : family.length > 0 ? family : train;
  const factor = mean(like.map((other) => median(logRatios(other, cells))));
  return (cell) => cell.mean + factor;
}

/** Least squares of log fps on the fleet's: what transfers performance models between machines in the literature. */
function linearTransfer({ measured }) {
  const [x, y] = [measured.map(({ cell }) => cell.mean), measured.map(({ logFps }) => logFps)];
  const [mx, my] = [mean(x), mean(y)];
  const spread = x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
  const slope = spread === 0 ? 1 : x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0) / spread;
  return (cell) => my + slope * (cell.mean - mx);
}

/** The one machine of the fleet that departs from the calibration runs most evenly, times a factor. */
function nearestMachine({ train, measured }) {
  const candidates = train.map((other) => {
    const ratios = measured.flatMap(({ cell, logFps }) => {
      const run = other.runs.get(cell.key);
      return run === undefined ? [] : [logFps - run.logFps];
    });
    return { other, factor: median(ratios), spread: ratios.length < 2 ? Number.NaN : robustSd(ratios) };
  });
  const [best] = candidates
    .filter(({ spread }) => Number.isFinite(spread))
    .sort((a, b) => a.spread - b.spread);
  return (cell) => {
    const run = best?.other.runs.get(cell.key);
    return run === undefined ? undefined : run.logFps + best.factor;
  };
}

/**
 * The daemon's own code (src/forecast/speed-factor.ts), which knows no fleet: the median and the effects of the x264
 * options. What it multiplies is a time, the inverse of fps.
 */
function daemonFactor({ measured, x264Options }) {
  if (x264Options === undefined) return () => undefined;
  const track = createSpeedFactorTrack(undefined);
  for (const { cell, logFps } of measured) {
    const options = x264Options.get(cell.config);
    if (options !== undefined)
      track.add({ signature: signatureOf(options), costTable: Math.exp(cell.mean - logFps) });
  }
  return (cell) => {
    const options = x264Options.get(cell.config);
    return options && cell.mean - Math.log(track.factorFor('costTable', signatureOf(options)));
  };
}

/** The data's videos are of 360 and 480 lines. */
export function signatureOf(options) {
  const picture = { width: 640, height: 360, fps: 30, bitDepth: 8 };
  return {
    input: { codec: 'h264', bitrateBps: 0, ...picture },
    outputs: [{ encoder: 'libx264', preset: 'medium', rate: { crf: 23 }, options, ...picture }],
    complexity: {},
  };
}

/** What a machine measured beside the fleet's base. */
function logRatios({ runs }, cells) {
  return cells.flatMap(({ key, mean }) => (runs.has(key) ? [runs.get(key).logFps - mean] : []));
}
