/**
 * Encoding speed on machines never seen: forecasts of fps for every video and x264 configuration, after a calibration
 * of about a minute on each machine. bench/hardware/fleet.mjs says by what model, design.mjs which runs calibrate.
 *
 *   npm run -s bench -- hardware --data A.csv.gz [--test B.csv.gz] [--options UGC.csv.gz] [--budget SECONDS]
 *                                [--folds N] [--seed N] [--json]
 *
 * A and B have the columns machine, model, cpus, video, config, fps, etime. Without --test, machines are left out by
 * folds, all machines of one CPU model in the same. With it, all of A's machines that B lacks teach, and each machine of
 * B is calibrated on a few of its own runs and judged on the rest. --budget is the calibration's length on each; what
 * was used of it is in the figures. --options names a table of what the
 * numbers in `config` mean (columns config, ref, me, subme, trellis, bframes, rc_lookahead), for the daemon's own
 * effects beside the peers.
 */
import { calibrationDesign } from './hardware/design.mjs';
import { effectDeviations } from './hardware/effects.mjs';
import { fleetCells, learnFleet } from './hardware/fleet.mjs';
import { fleetResponse, PEERS } from './hardware/methods.mjs';
import { mean, quantile, seededRandom, shuffled } from './hardware/statistics.mjs';
import { readMachines, readX264Options } from './hardware/table.mjs';

const BUDGETS_S = [5, 10, 20, 30, 120, 300];
/** Videos that training does not see, in the row that says what a new video costs. */
const NEW_VIDEOS = 2;

export async function run({ data, test, options, budget = '60', folds = '6', seed = '1' }) {
  if (typeof data !== 'string') throw new Error('hardware: --data FILE is missing');
  const budgetSeconds = positive('budget', budget);
  const machines = readMachines(data);
  const x264Options = options === undefined ? undefined : readX264Options(options);
  const splits =
    test === undefined
      ? foldsByModel(machines, positive('folds', folds), positive('seed', seed))
      : [splitOf(machines, readMachines(test))];
  const trained = splits.map((split) => timed(() => ({ ...split, fleet: learnFleet(split.train) })));
  const cases = trained.flatMap(({ result }) => casesOf(result, x264Options));

  const calibrated = calibrate(cases, budgetSeconds);
  const own = judge(calibrated, fleetResponse);
  const peers = Object.entries(PEERS).map(([what, method]) => [what, judge(calibrated, method)]);
  const newVideos =
    test === undefined
      ? judge(calibrate(newVideoCases(splits, seed), budgetSeconds), fleetResponse)
      : undefined;
  return {
    rows: [
      ...BUDGETS_S.map((s) => row(`this, at most ${s} s`, judge(calibrate(cases, s), fleetResponse))),
      row(`this, at most ${budgetSeconds} s: the figures`, own),
      ...(newVideos ? [row(`this, ${NEW_VIDEOS} videos that training never saw`, newVideos)] : []),
      ...peers.map(([what, outcome]) => row(what.replaceAll('_', ' '), outcome)),
      ...own.map((one) => row(`machine ${one.machine.id}, ${one.machine.model}`, [one])),
      ...(x264Options ? effectDeviations(machines, x264Options) : []),
    ],
    figures: {
      ...errorFigures(own),
      calibration_runs: mean(own.map(({ runs }) => runs)),
      calibration_seconds: mean(own.map(({ seconds }) => seconds)),
      train_seconds: mean(trained.map(({ seconds }) => seconds)),
      machines: own.length,
      runs_tested: own.reduce((sum, { errors }) => sum + errors.length, 0),
      ...(test === undefined ? {} : newModelFigures(own, trained[0].result.train)),
      ...(newVideos ? { new_videos_median_error_percent: errorFigures(newVideos).median_error_percent } : {}),
    },
    peers: Object.fromEntries(
      peers.flatMap(([what, outcome]) =>
        Object.entries(errorFigures(outcome)).map(([figure, value]) => [`${what}_${figure}`, value]),
      ),
    ),
  };
}

/** Machines dealt into folds, those of one CPU model together. */
export function foldsByModel(machines, folds, seed) {
  const models = shuffled([...new Set(machines.map(({ model }) => model))], seededRandom(seed));
  const count = Math.min(folds, models.length);
  if (count < 2) throw new Error('hardware: all machines are of one CPU model; name others with --test');
  return Array.from({ length: count }, (_, fold) => {
    const held = new Set(models.filter((_, i) => i % count === fold));
    return {
      train: machines.filter(({ model }) => !held.has(model)),
      test: machines.filter(({ model }) => held.has(model)),
    };
  });
}

/** A machine that is to be judged never teaches. */
function splitOf(machines, test) {
  const held = new Set(test.map(({ id, model }) => `${id} ${model}`));
  const train = machines.filter(({ id, model }) => !held.has(`${id} ${model}`));
  if (train.length < 2) throw new Error('hardware: --data has fewer than 2 machines that --test lacks');
  return { train, test };
}

/** One machine to be forecast: { fleet, train, machine, cells }, cells being those that it ran. */
function casesOf({ fleet, train, test }, x264Options) {
  return test.map((machine) => {
    const videos = [...new Set([...machine.runs.values()].map(({ video }) => video))].sort();
    const cells = fleetCells(fleet, videos).filter(({ key }) => machine.runs.has(key));
    if (cells.length === 0) throw new Error(`hardware: machine ${machine.id} ran no configuration of --data`);
    return { train, machine, cells, x264Options };
  });
}

/** The same machines with videos that training does not see, and nothing else to be forecast. */
function newVideoCases(splits, seed) {
  const random = seededRandom(Number(seed));
  return splits.flatMap(({ train, test }) => {
    const videos = [...new Set(train.flatMap(({ runs }) => [...runs.values()].map(({ video }) => video)))];
    const hidden = new Set(shuffled(videos.sort(), random).slice(0, NEW_VIDEOS));
    const only = (keep) => (machine) => ({
      ...machine,
      runs: new Map([...machine.runs].filter(([, { video }]) => hidden.has(video) === keep)),
    });
    const seen = train.map(only(false));
    return casesOf({ fleet: learnFleet(seen), train: seen, test: test.map(only(true)) });
  });
}

/** Each machine's calibration runs, by the design, and what they took. */
function calibrate(cases, budgetSeconds) {
  return cases.map((one) => {
    const runOf = ({ key }) => one.machine.runs.get(key);
    const chosen = calibrationDesign(one.cells, budgetSeconds, (cell) => runOf(cell).seconds);
    const measured = chosen.map((cell) => ({ cell, logFps: runOf(cell).logFps }));
    const seconds = chosen.reduce((sum, cell) => sum + runOf(cell).seconds, 0);
    return { ...one, measured, seconds };
  });
}

/** Forecasts the rest of each machine's runs: errors in percent of the measured fps. */
function judge(calibrated, method) {
  return calibrated.map((one) => {
    const { machine, cells, measured, seconds } = one;
    const forecast = method(one);
    const taken = new Set(measured.map(({ cell }) => cell));
    const errors = cells
      .filter((cell) => !taken.has(cell))
      .map((cell) => 100 * Math.abs(Math.expm1(forecast(cell) - machine.runs.get(cell.key).logFps)))
      .filter(Number.isFinite);
    return { machine, errors, runs: measured.length, seconds };
  });
}

function errorFigures(outcome) {
  const errors = outcome.flatMap(({ errors }) => errors);
  return { median_error_percent: quantile(errors, 0.5), p90_error_percent: quantile(errors, 0.9) };
}

/** Apart, the machines whose CPU model no machine that teaches has. */
function newModelFigures(own, train) {
  const models = new Set(train.map(({ model }) => model));
  const others = own.filter(({ machine }) => !models.has(machine.model));
  return {
    machines_of_new_models: others.length,
    new_models_median_error_percent: others.length === 0 ? null : errorFigures(others).median_error_percent,
  };
}

function row(what, outcome) {
  const ofMachines = outcome.map(({ errors }) => quantile(errors, 0.5));
  return {
    what,
    runs: mean(outcome.map(({ runs }) => runs)),
    seconds: mean(outcome.map(({ seconds }) => seconds)),
    ...errorFigures(outcome),
    worst_machine_percent: Math.max(...ofMachines),
  };
}

function timed(work) {
  const begin = performance.now();
  const result = work();
  return { result, seconds: (performance.now() - begin) / 1000 };
}

function positive(name, text) {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`hardware: --${name} is "${text}", not a number above 0`);
  return value;
}
