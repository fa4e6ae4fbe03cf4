/**
 * How well the online calibration keeps its word. Replays streams of forecasts and outcomes, simulated ones with a known
 * fault and the measured runs behind the baseline, through: no correction, the plain step that corecast used before,
 * DtACI, and what corecast does. Seeds differ from those that constants were chosen with.
 *
 *   first50    coverage of the 0.9 quantile over a stream's first 50 outcomes
 *   longrun    coverage after them, up to the shift if there is one; q50 and q99 likewise
 *   recovery   outcomes after the shift until, over all repetitions, five in a row cover 85 % again
 *   after30    coverage of the 30 outcomes after the shift
 *   pinball90  pinball loss of the 0.9 quantile over that of the uncorrected forecasts, whole stream
 *   width      log(q90 / q50)
 *
 * Then the drift alarm: false alarms in 10,000 outcomes without drift, and how many outcomes of a drift it takes.
 *
 *   npm run -s bench -- coverage [--json] [--repeats 30] [--seed 1000]
 */
import { fileURLToPath } from 'node:url';
import { METHODS } from './calibration/methods.mjs';
import { measuredStreams, NOISES, reordered, simulated } from './calibration/streams.mjs';

const FIRST = 50;
const LENGTH = 600;
const SHIFT_AT = 300;
const NARROW = { bias: Math.log(1 / 0.7), sigma: 0.2, believed: 0.1 };

const SIMULATED = {
  'no drift': { sigma: 0.2, believed: 0.2 },
  'no drift, heavy tails': { sigma: 0.2, believed: 0.2, noise: 'heavy' },
  '30 % too low, half as wide': NARROW,
  '30 % too low, half as wide, skewed': { ...NARROW, noise: 'skewed' },
  '30 % too low, half as wide, 9 classes': { ...NARROW, classes: 9, classSpread: 0.1 },
  '30 % too low, twice as wide': { ...NARROW, believed: 0.4 },
  'x 1.4 in the middle, sigma 0.1': { sigma: 0.1, believed: 0.1, shift: 1.4, shiftAt: SHIFT_AT },
  'x 1.4 in the middle, sigma 0.2': { sigma: 0.2, believed: 0.2, shift: 1.4, shiftAt: SHIFT_AT },
  'x 1.4 in the middle, sigma 0.4': { sigma: 0.4, believed: 0.4, shift: 1.4, shiftAt: SHIFT_AT },
  'x 1.4 in the middle, 9 classes': {
    ...{ sigma: 0.2, believed: 0.2, classes: 9, classSpread: 0.1 },
    ...{ shift: 1.4, shiftAt: SHIFT_AT },
  },
  'x 0.7 in the middle': { sigma: 0.2, believed: 0.2, shift: 0.7, shiftAt: SHIFT_AT },
};

export async function run(options = {}) {
  const repeats = whole(options.repeats, 30);
  const seeds = Array.from({ length: repeats }, (_, i) => whole(options.seed, 1_000) + i);
  const rows = [];
  for (const [stream, how] of Object.entries(SIMULATED)) {
    const streams = seeds.map((seed) => simulated({ seed, outcomes: LENGTH, ...how }));
    rows.push(...compared(stream, streams, how.shiftAt));
  }
  for (const [source, measured] of Object.entries(await measuredStreams())) {
    if (measured.length < 3 * FIRST) continue;
    const half = Math.floor(measured.length / 2);
    const shuffled = (more) => seeds.map((seed) => reordered(measured, { seed, ...more }));
    rows.push(...compared(`measured, ${source}`, [measured]));
    rows.push(...compared(`measured, ${source}, shuffled`, shuffled({})));
    rows.push(...compared(`measured, ${source}, host x 1.43`, shuffled({ shift: 1 / 0.7 })));
    rows.push(
      ...compared(`measured, ${source}, x 1.4 in the middle`, shuffled({ shift: 1.4, shiftAt: half }), half),
    );
  }
  const alarms = Object.keys(NOISES).map((noise) => alarmsUnder(noise, seeds));
  console.table(alarms.map((row) => mapValues(row, rounded)));
  return { rows, ...figuresOf(rows, alarms) };
}

/** One row a method: its mean over the repetitions of a stream. */
function compared(stream, streams, shiftAt) {
  let uncorrected;
  return Object.entries(METHODS).map(([method, create]) => {
    const replays = streams.map((one) => replay(create(), one));
    const pinball = mean(replays.map((one) => one.pinball90));
    uncorrected ??= pinball;
    const quiet = (level) => mean(replays.map((one) => mean(one.covered[level].slice(FIRST, shiftAt))));
    const row = {
      ...{ stream, method },
      first50: mean(replays.map((one) => mean(one.covered.q90.slice(0, FIRST)))),
      ...{ longrun: quiet('q90'), q50: quiet('q50'), q99: quiet('q99') },
      pinball90: pinball / uncorrected,
      width: mean(replays.map((one) => one.width)),
    };
    if (shiftAt === undefined) return row;
    const after = replays.map((one) => one.covered.q90.slice(shiftAt));
    return { ...row, recovery: recoveryOf(after), after30: mean(after.map((one) => mean(one.slice(0, 30)))) };
  });
}

function replay(method, stream) {
  const covered = { q50: [], q90: [], q99: [] };
  let [pinball, total, width] = [0, 0, 0];
  for (const one of stream) {
    const quantiles = method.correct(one);
    for (const level of Object.keys(covered)) covered[level].push(Number(one.demand <= quantiles[level]));
    const over = one.demand - quantiles.q90;
    pinball += over > 0 ? 0.9 * over : -0.1 * over;
    total += one.demand;
    width += Math.log(quantiles.q90 / quantiles.q50);
    method.observe(one, quantiles);
  }
  return { covered, pinball90: pinball / total, width: width / stream.length };
}

function recoveryOf(replays) {
  const length = Math.min(...replays.map((one) => one.length));
  const byOutcome = Array.from({ length }, (_, i) => mean(replays.map((one) => one[i])));
  const back = byOutcome.findIndex((_, i) => i + 5 <= length && mean(byOutcome.slice(i, i + 5)) >= 0.85);
  return back === -1 ? length : back;
}

function alarmsUnder(noise, seeds) {
  const how = { sigma: 0.2, believed: 0.2, noise };
  const quiet = seeds.map((seed) => raisedIn(simulated({ seed: seed + 10_000, outcomes: 2_000, ...how })));
  const per = (level) =>
    (1e4 * sum(quiet.map((raised) => raised.filter((at) => at.level === level).length))) /
    (2_000 * seeds.length);
  const row = { noise, false_alarms_per_10000: per(1), false_fallbacks_per_10000: per(2) };
  for (const percent of [20, 50, 100]) {
    const drift = { shift: 1 + percent / 100, shiftAt: SHIFT_AT };
    const delays = seeds.flatMap((seed) => {
      const raised = raisedIn(simulated({ seed: seed + 20_000, outcomes: SHIFT_AT + 100, ...how, ...drift }));
      const first = raised.find(({ at }) => at >= SHIFT_AT);
      return first === undefined ? [] : [first.at - SHIFT_AT + 1];
    });
    row[`seen_${percent}`] = delays.length / seeds.length;
    row[`delay_${percent}`] = median(delays);
  }
  return row;
}

/** The outcomes at which the alarm rose, and to which level. */
function raisedIn(stream) {
  const method = METHODS.corecast();
  const raised = [];
  let before = method.raised();
  stream.forEach((one, at) => {
    method.observe(one, method.correct(one));
    const now = method.raised();
    for (const level of [1, 2]) if (now[level] > before[level]) raised.push({ at, level });
    before = now;
  });
  return raised;
}

function figuresOf(rows, alarms) {
  const find = (stream, method = 'corecast') =>
    rows.find((row) => row.stream === stream && row.method === method);
  const narrow = '30 % too low, half as wide';
  const shift = 'x 1.4 in the middle, sigma 0.2';
  const normal = alarms.find(({ noise }) => noise === 'normal');
  const worst = (name) => Math.max(...alarms.map((row) => row[name]));
  return {
    figures: {
      first50_coverage: find(narrow).first50,
      longrun_coverage: find(narrow).longrun,
      recovery_outcomes: find(shift).recovery,
      pinball90_ratio_no_drift: find('no drift').pinball90,
      false_alarms_per_10000: worst('false_alarms_per_10000'),
      false_fallbacks_per_10000: worst('false_fallbacks_per_10000'),
      ...Object.fromEntries(Object.entries(normal).filter(([name]) => /^(seen|delay)_/.test(name))),
    },
    peers: Object.fromEntries(
      ['uncorrected', 'plain_step', 'dtaci'].flatMap((method) => [
        [`${method}_first50_coverage`, find(narrow, method).first50],
        [`${method}_longrun_coverage`, find(narrow, method).longrun],
        [`${method}_recovery_outcomes`, find(shift, method).recovery],
        [`${method}_pinball90_ratio_no_drift`, find('no drift', method).pinball90],
      ]),
    ),
  };
}

const sum = (values) => values.reduce((a, b) => a + b, 0);
const mean = (values) => sum(values) / values.length;

function median(values) {
  return values.length === 0 ? null : [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function whole(text, otherwise) {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`"${text}": expected a whole number of 1 or more`);
  return value;
}

function rounded(value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { rows, figures, peers } = await run();
  console.table(rows);
  if (process.argv.includes('--json')) console.log(JSON.stringify({ bench: 'coverage', figures, peers }));
}
