/**
 * How well demand is forecast for videos never seen: CPU seconds per frame of x264 from its options, the size and the
 * complexity of the picture. The network, its training, its calibration on unseen sources, the ONNX file and onnxruntime
 * are the ones that serve admissions (src/feedback, src/forecast); the rows come from the file instead of the history.
 *
 *   npm run -s bench -- forecast --train A.csv.gz [--test B.csv.gz] [--json] [--seed 1] [--python PATH]
 *
 * Both files have the columns of x264_ugc (video, category, width, height, spatial, temporal, chunk_var, config, ref, me,
 * subme, trellis, bframes, rc_lookahead, usertime, systemtime, frames). Without --test a quarter of the videos is held
 * out. How a row becomes a signature stands in forecast/ugc.mjs. Nothing is chosen by the test part.
 *
 * Peers, same rows: a lookup (option set and size -> median and 0.9 quantile of what training saw), and scikit-learn's
 * gradient-boosted trees on the same columns (`apt-get install python3-sklearn`; without it their figures are absent).
 */
import { fitAndForecast } from './forecast/corecast.mjs';
import { lookup } from './forecast/lookup.mjs';
import { treesForecast } from './forecast/trees.mjs';
import { byVideo, readUgc } from './forecast/ugc.mjs';

const HELD_OUT = 0.25;

export async function run({ train, test, seed = '1', python }) {
  if (typeof train !== 'string') {
    throw new Error('--train is missing: a .csv.gz with the columns of x264_ugc');
  }
  const { training, unseen } = parts(readUgc(train), test && readUgc(test), Number(seed));
  const own = await fitAndForecast(training, unseen, Number(seed));
  const table = lookup(training, unseen);
  const trees = treesForecast(training, unseen, python);
  const methods = { corecast: own, lookup: table, ...(trees && { trees }) };
  const scored = Object.fromEntries(
    Object.entries(methods).map(([name, method]) => [
      name,
      { ...scores(unseen, method), train_seconds: method.seconds },
    ]),
  );
  const { corecast, ...peers } = scored;
  return {
    rows: [
      ...Object.entries(scored).map(([method, score]) => ({ method, ...score })),
      { method: 'corecast, by video: worst tenth', mape: worstTenth(unseen, own) },
    ],
    figures: {
      ...corecast,
      step_count: own.steps,
      training_videos: byVideo(training).size,
      test_videos: byVideo(unseen).size,
      test_rows: unseen.length,
    },
    peers: prefixed(peers),
  };
}

/** Whole videos are held out: rows of one video are one picture. */
function parts(rows, given, seed) {
  if (given !== undefined) return { training: rows, unseen: given };
  const videos = [...byVideo(rows).values()];
  const held = new Set(
    shuffled(videos, seed)
      .slice(0, Math.round(videos.length * HELD_OUT))
      .flat(),
  );
  return { training: rows.filter((row) => !held.has(row)), unseen: rows.filter((row) => held.has(row)) };
}

function shuffled(items, seed) {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** `q50` and `q90`: CPU seconds per frame, in the order of the rows. */
function scores(rows, { q50, q90 }) {
  const mean = (value) => rows.reduce((sum, row, i) => sum + value(row.y, i), 0) / rows.length;
  const logMean = mean((y) => Math.log(y));
  return {
    mape: 100 * mean((y, i) => Math.abs(q50[i] - y) / y),
    r2_log: 1 - mean((y, i) => Math.log(q50[i] / y) ** 2) / mean((y) => (Math.log(y) - logMean) ** 2),
    under20: 100 * mean((y, i) => Number(q50[i] < 0.8 * y)),
    q90_coverage: mean((y, i) => Number(y <= q90[i])),
    pinball90_over_mean:
      mean((y, i) => (y > q90[i] ? 0.9 * (y - q90[i]) : 0.1 * (q90[i] - y))) / mean((y) => y),
  };
}

/** Mean error of the tenth of the videos that are forecast worst. */
function worstTenth(rows, { q50 }) {
  const errors = new Map();
  rows.forEach(({ video, y }, i) => {
    const known = errors.get(video) ?? [];
    known.push((100 * Math.abs(q50[i] - y)) / y);
    errors.set(video, known);
  });
  const means = [...errors.values()].map((all) => all.reduce((a, b) => a + b, 0) / all.length);
  const worst = means.sort((a, b) => b - a).slice(0, Math.ceil(means.length / 10));
  return worst.reduce((a, b) => a + b, 0) / worst.length;
}

function prefixed(peers) {
  return Object.fromEntries(
    Object.entries(peers).flatMap(([name, score]) =>
      Object.entries(score).map(([figure, value]) => [`${name}_${figure}`, value]),
    ),
  );
}
