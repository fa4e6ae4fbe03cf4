/**
 * Host load: what a machine's CPU does next and an hour on, forecast by the project's LSTM (the native trainer, the ONNX
 * writer, onnxruntime) against the plain methods, on machines that training has not seen.
 *
 *   npm run -s bench -- load --data LOADS.csv.gz [--test OTHERS.csv.gz] [--json] [--folds 5] [--members 4] [--seed 1]
 *
 * LOADS: one machine a line, its name, then its CPU percents at even times (5 minutes: 12 samples are an hour).
 * Without --test, each of the folds is forecast by a model that learned from the other folds' machines only, and the
 * figures are over all machines of LOADS. With --test, one model learns from all of LOADS and is judged on OTHERS.
 *
 * A forecast is made at every position with 12 or more samples before it, from what lies before it. mae_next: mean
 * absolute error of the next sample, mae_1h: of the 12th from there, CPU points; every forecast weighs the same. The
 * forecasts are the 0.5 quantiles, rounded to whole percents when all loads in training are whole. Peers are not rounded,
 * as in the literature: `rounded` has their next-sample error when they are. nested_medians (the mean of the medians of
 * the last 12, 24, 48 and 288 samples) is where the network starts from. mae_next_from_2nd: from the second sample on.
 * train_seconds: CPU time of one training, rows and ensemble, on one thread.
 *
 * fallback_*: what the daemon says of its host's load without a model (src/forecast/host-load.ts), from 12 samples, for the
 * mean load of as many steps ahead as the daemon's horizons have (steps_1_2 are its 0-10 s), over all judged machines;
 * beside it the plain mean and the last value.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { fitLoadModel } = await import(`${dist}/feedback/load-fit.js`);
const { loadPeers } = await import(`${dist}/feedback/load-peers.js`);
const { addErrors, coverage90, meanAbsolute, methodErrors, networkErrors, NO_ERRORS, spanErrors } =
  await import(`${dist}/feedback/load-scores.js`);
const { foldsOf, parseLoadSeries, resolutionOf } = await import(`${dist}/feedback/load-series.js`);
const { HORIZONS, STEP_S, WINDOW_STEPS } = await import(`${dist}/forecast/forecast.js`);
const { hostLoadForecast } = await import(`${dist}/forecast/host-load.js`);
const { openLoadForecaster, toResolution } = await import(`${dist}/forecast/load-forecast.js`);
const { LOAD_HORIZONS } = await import(`${dist}/forecast/load-window.js`);

const NEXT = 1;
const HOUR = 12;

export async function run(given) {
  const options = optionsOf(given);
  const { parts, machines } = partsOf(options);
  const results = [];
  for (const [i, part] of parts.entries()) {
    process.stderr.write(`load: model ${i + 1} of ${parts.length}, ${part.training.length} machines\n`);
    results.push(await judge(part, options));
  }
  const methods = Object.keys(results[0].errors);
  const fallback = judgeFallback(parts.flatMap(({ test }) => test));
  const total = Object.fromEntries(methods.map((method) => [method, sumOf(results, method)]));
  return {
    rows: methods.map((method) => rowOf(method, total[method])),
    figures: {
      machines,
      models: parts.length,
      forecasts: total.lstm.next.forecasts,
      mae_next: meanAbsolute(total.lstm.next),
      mae_1h: meanAbsolute(total.lstm.hour),
      mae_next_over_mean_12: meanAbsolute(total.lstm.next) / meanAbsolute(total.mean_12.next),
      mae_next_unrounded: meanAbsolute(total.lstm.exact),
      mae_next_from_2nd: meanAbsolute(total.lstm.early),
      q90_coverage: coverage90(total.lstm.next),
      q90_coverage_1h: coverage90(total.lstm.hour),
      train_seconds: mean(results.map(({ trainSeconds }) => trainSeconds)),
      ...foldFigures(results),
      ...fallback.figures,
    },
    peers: { ...peerFigures(total), ...fallback.peers },
  };
}

/** The machines to learn from and to judge on, for each model. */
function partsOf({ data, test, folds, seed }) {
  const series = readSeries(data);
  if (test !== undefined) {
    const unseen = readSeries(test);
    return { parts: [{ training: series, test: unseen }], machines: unseen.length };
  }
  const all = foldsOf(series, folds, seed);
  const parts = all.map((fold) => ({ training: all.filter((other) => other !== fold).flat(), test: fold }));
  return { parts, machines: series.length };
}

async function judge({ training, test }, { seed, members }) {
  const from = process.cpuUsage();
  const model = fitLoadModel(training, { seed, members });
  const { user, system } = process.cpuUsage(from);
  const errors = { lstm: await lstmErrors(model, test) };
  const resolution = resolutionOf(training);
  for (const [name, method] of Object.entries(loadPeers(training, [NEXT, HOUR], seed))) {
    const rounded = (history, ahead) => toResolution(method(history, ahead), resolution);
    errors[name] = {
      next: methodErrors(method, test, NEXT),
      hour: methodErrors(method, test, HOUR),
      rounded: methodErrors(rounded, test, NEXT),
      early: methodErrors(method, test, NEXT, 1),
    };
  }
  return { errors, trainSeconds: (user + system) / 1e6 };
}

async function lstmErrors(model, test) {
  const forecaster = await openLoadForecaster(model);
  const exact = await openLoadForecaster({ ...model, resolution: 0 });
  const at = (errors, ahead) => errors[LOAD_HORIZONS.indexOf(ahead)];
  try {
    const errors = await networkErrors(forecaster, test);
    return {
      next: at(errors, NEXT),
      hour: at(errors, HOUR),
      rounded: at(errors, NEXT),
      exact: at(await networkErrors(exact, test), NEXT),
      early: at(await networkErrors(forecaster, test, 1), NEXT),
    };
  } finally {
    await Promise.all([forecaster.close(), exact.close()]);
  }
}

function sumOf(results, method) {
  const kinds = Object.keys(results[0].errors[method]);
  const sum = (kind) => results.reduce((all, { errors }) => addErrors(all, errors[method][kind]), NO_ERRORS);
  return Object.fromEntries(kinds.map((kind) => [kind, sum(kind)]));
}

function rowOf(method, { next, hour, rounded, early }) {
  return {
    method,
    mae_next: meanAbsolute(next),
    mae_1h: meanAbsolute(hour),
    rounded: meanAbsolute(rounded),
    from_2nd: meanAbsolute(early),
    q90_coverage: method === 'lstm' ? coverage90(next) : '',
  };
}

/** How much the figure depends on the machines: the folds' best and worst error over that of the 12-step mean. */
function foldFigures(results) {
  if (results.length === 1) return {};
  const ratios = results.map(
    ({ errors }) => meanAbsolute(errors.lstm.next) / meanAbsolute(errors.mean_12.next),
  );
  return {
    best_fold_over_mean_12: Math.min(...ratios),
    worst_fold_over_mean_12: Math.max(...ratios),
  };
}

function peerFigures({ lstm: _, ...peers }) {
  return Object.fromEntries(
    Object.entries(peers).flatMap(([method, { next, hour }]) => [
      [`${method}_mae_next`, meanAbsolute(next)],
      [`${method}_mae_1h`, meanAbsolute(hour)],
    ]),
  );
}

function judgeFallback(series) {
  const figures = {};
  const peers = {};
  for (const { fromS, toS } of HORIZONS) {
    const span = { first: fromS / STEP_S + 1, last: toS / STEP_S };
    const steps = `steps_${span.first}_${span.last}`;
    const errors = (forecast) => spanErrors(forecast, series, span, WINDOW_STEPS);
    const flat = (load) => ({ q50: load, q90: load });
    const fallback = errors(fallbackForecast);
    figures[`fallback_mae_${steps}`] = meanAbsolute(fallback);
    figures[`fallback_q90_coverage_${steps}`] = coverage90(fallback);
    peers[`mean_12_mae_${steps}`] = meanAbsolute(errors((window) => flat(mean(window))));
    peers[`last_value_mae_${steps}`] = meanAbsolute(errors((window) => flat(window.at(-1))));
  }
  return { figures, peers };
}

/** Percents in and out. */
function fallbackForecast(window) {
  const busy = Array.from(window, (load) => ({ busy: load / 100 }));
  const { q50, q90 } = hostLoadForecast(busy, { q50: 0, q90: 0, q99: 0 }, 1);
  return { q50: 100 * q50, q90: 100 * q90 };
}

function readSeries(path) {
  const bytes = readFileSync(path);
  return parseLoadSeries((path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8'), path);
}

function optionsOf({ data, test, ...numbers }) {
  if (typeof data !== 'string')
    throw new Error('--data FILE is missing: one machine a line, name and CPU percents');
  const whole = (name, otherwise, least) => {
    const value = Number(numbers[name] ?? otherwise);
    if (!Number.isInteger(value) || value < least) {
      throw new Error(`--${name} is ${numbers[name]}; expected a whole number, ${least} or more`);
    }
    return value;
  };
  return {
    data,
    test,
    folds: whole('folds', 5, 2),
    members: whole('members', 4, 1),
    seed: whole('seed', 1, 0),
  };
}

function mean(values) {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
