import { huberMean, mean, median, robustSd } from './statistics.mjs';
import { cellKey } from './table.mjs';

/**
 * What a fleet of measured machines says of one that is not among them. log fps of a machine on a cell (a video and a
 * configuration) is taken for
 *
 *   base of the cell + factor of the machine + sum of weights x deviations of the fleet's machines + noise
 *
 * so a new machine is its own factor plus a shrunk mixture of how the fleet's machines depart from theirs: the
 * covariance between cells is the fleet's. A deviation is what remains after base and factor. Its mean over videos and
 * its mean over configurations are averages of many runs and taken whole; what a single cell departs from both is
 * mostly noise and taken by half: CELL_SHARE of 0, 0.25, 0.5, 0.75, 1 gave 3.9, 3.6, 3.5, 3.6, 3.7 % median error on the
 * 18 machines of x264_hardware with --folds 18.
 */
export function learnFleet(machines) {
  const videos = distinct(machines, 'video');
  const configs = distinct(machines, 'config');
  const speeds = machines.map((machine) => grid(machine, videos, configs, ({ logFps }) => logFps));
  const { base, factors } = separate(speeds);
  const deviations = clipped(speeds.map((row, m) => row.map((y, cell) => y - base[cell] - factors[m])));
  const parts = deviations.map((row) => split(row, videos.length, configs.length));
  const scale = 1 / Math.sqrt(Math.max(1, machines.length - 1));
  const times = machines.map((machine) => grid(machine, videos, configs, ({ seconds }) => seconds));
  return {
    videos,
    configs,
    base,
    directions: parts.map(({ smooth }) => smooth.map((deviation) => deviation * scale)),
    noise: cellNoise(
      parts.map(({ rest }) => rest),
      videos.length,
      configs.length,
    ),
    seconds: base.map((_, cell) => median(times.map((row) => row[cell]))),
  };
}

const CELL_SHARE = 0.5;
/** Deviations beyond this many standard deviations are another job on the machine, not the machine. */
const CLIP = 6;
/** Of a cell's noise variance: its own estimate has one value a machine, its configuration's one a machine and video. */
const OWN_NOISE = 0.3;
const MOST_NOISE = 0.15;

/**
 * The cells of `videos` as the model of one machine sees them: { key, video, config, mean, loadings, noise, seconds },
 * every cell with the same number of loadings, the factor first; `seconds` is what a run is expected to take. What no
 * machine of the fleet has run is left out.
 *
 * A video that the fleet never encoded has no base. Its curve over the configurations is the known videos' mean curve,
 * plus a level of its own, plus a shrunk mixture of how their curves depart from the mean: more loadings of the same
 * kind, which the same few runs settle.
 */
export function fleetCells(fleet, videos) {
  const unknown = videos.filter((video) => !fleet.videos.includes(video));
  const curves = curvesOf(fleet);
  const none = new Array(fleet.videos.length + 1).fill(0);
  const cells = videos.flatMap((video) => {
    const v = fleet.videos.indexOf(video);
    return fleet.configs.map((config, c) => {
      const { mean, machine, curve, noise, seconds } =
        v < 0 ? newVideoCell(fleet, curves, c) : knownCell(fleet, v, c);
      const ofVideos = unknown.flatMap((other) => (other === video ? curve : none));
      const loadings = Float64Array.from([FACTOR_SD, ...machine, ...ofVideos]);
      return { key: cellKey(video, config), video, config, mean, loadings, noise, seconds };
    });
  });
  return cells.filter(({ mean }) => Number.isFinite(mean));
}

/** Machines differ by a factor of 2 or more, videos too: nothing is known of either before the first run. */
const FACTOR_SD = 1;
const NEW_VIDEO_SD = 1;
/** What no mixture of known curves explains of a new video's. */
const NEW_VIDEO_NOISE = 0.05;

function knownCell({ base, directions, noise, seconds, configs }, v, c) {
  const cell = v * configs.length + c;
  return {
    mean: base[cell],
    machine: directions.map((row) => row[cell]),
    noise: noise[cell],
    seconds: seconds[cell],
  };
}

function newVideoCell({ directions, noise, seconds, configs, videos }, curves, c) {
  const overVideos = (row) => videos.map((_, v) => row[v * configs.length + c]);
  return {
    mean: curves.mean[c],
    machine: directions.map((row) => mean(overVideos(row))),
    curve: [NEW_VIDEO_SD, ...curves.directions.map((row) => row[c])],
    noise: Math.hypot(mean(overVideos(noise)), NEW_VIDEO_NOISE),
    seconds: median(overVideos(seconds)),
  };
}

/** What the known videos' curves over the configurations have in common, and how each departs from it. */
function curvesOf({ videos, configs, base }) {
  const rows = videos.map((_, v) => base.slice(v * configs.length, (v + 1) * configs.length));
  const levels = rows.map(mean);
  const curve = configs.map((_, c) => mean(rows.map((row, v) => row[c] - levels[v])));
  const scale = 1 / Math.sqrt(Math.max(1, videos.length - 1));
  return {
    mean: curve.map((y) => y + mean(levels)),
    directions: rows.map((row, v) => row.map((y, c) => known(y - levels[v] - curve[c]) * scale)),
  };
}

/** Additive fit of log fps: factors by medians, the base by Huber means, in turns. The base is the mean machine's. */
function separate(speeds) {
  let factors = speeds.map(median);
  let base = [];
  for (let round = 0; round < 8; round++) {
    base = speeds[0].map((_, cell) => huberMean(speeds.map((row, m) => row[cell] - factors[m])));
    factors = speeds.map((row) => median(row.map((y, cell) => y - base[cell])));
  }
  const level = mean(factors);
  return { base: base.map((y) => y + level), factors: factors.map((factor) => factor - level) };
}

/** A cell that was not run departs from nothing. */
function clipped(deviations) {
  const most = CLIP * robustSd(deviations.flat());
  return deviations.map((row) => row.map((value) => known(Math.min(most, Math.max(-most, value)))));
}

/** Means over videos and over configurations, and what a cell departs from both. */
function split(row, videos, configs) {
  const ofConfig = Array.from({ length: configs }, (_, c) =>
    mean(Array.from({ length: videos }, (_, v) => row[v * configs + c])),
  );
  const ofVideo = Array.from({ length: videos }, (_, v) => mean(row.slice(v * configs, (v + 1) * configs)));
  const both = row.map((_, cell) => ofConfig[cell % configs] + ofVideo[Math.floor(cell / configs)]);
  const rest = row.map((deviation, cell) => deviation - both[cell]);
  return { smooth: both.map((value, cell) => value + CELL_SHARE * rest[cell]), rest };
}

/** Standard deviation of a run of each cell: short runs are noisier, and some configurations are. */
function cellNoise(rests, videos, configs) {
  const variance = rests[0].map((_, cell) =>
    mean(rests.map((rest) => Math.min(MOST_NOISE, Math.abs(rest[cell])) ** 2)),
  );
  const all = mean(variance);
  const ofVideo = Array.from({ length: videos }, (_, v) =>
    mean(variance.slice(v * configs, (v + 1) * configs)),
  );
  return variance.map((own, cell) => {
    const ofConfig = mean(Array.from({ length: videos }, (_, v) => variance[v * configs + (cell % configs)]));
    const pooled = (ofConfig * ofVideo[Math.floor(cell / configs)]) / all;
    return Math.sqrt(OWN_NOISE * own + (1 - OWN_NOISE) * pooled) + LEAST_NOISE;
  });
}

const LEAST_NOISE = 1e-3;

/** One machine's values by cell, video by video; NaN where it was not run. */
function grid({ runs }, videos, configs, value) {
  return videos.flatMap((video) =>
    configs.map((config) => {
      const run = runs.get(cellKey(video, config));
      return run === undefined ? Number.NaN : value(run);
    }),
  );
}

function distinct(machines, field) {
  return [...new Set(machines.flatMap(({ runs }) => [...runs.values()].map((run) => run[field])))].sort();
}

function known(value) {
  return Number.isFinite(value) ? value : 0;
}
