/**
 * What the effects beside the speed factor buy (src/forecast/speed-factor.ts) on measured runs: the cost table's
 * forecasts of pictures that were not in the calibration, with one factor and with the effects, by the number of
 * calibration runs. Pictures are left out at random many times, the same for both.
 *
 *   npm run -s bench -- host-effects [--runs FILE.jsonl.gz] [--seed N] [--json]
 *
 * FILE is what `corecast calibrate --out` writes; the runs behind the shipped baseline if none is named.
 */
import { fileURLToPath } from 'node:url';
import { quantile, seededRandom, shuffled } from './hardware/statistics.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { readRuns } = await import(`${dist}/client/runs-file.js`);
const { costTableDemand } = await import(`${dist}/forecast/cost-table.js`);
const { meanDemand } = await import(`${dist}/forecast/horizon-demand.js`);
const { createSpeedFactorTrack } = await import(`${dist}/forecast/speed-factor.js`);

const SHIPPED = fileURLToPath(new URL('../models/baseline/runs.jsonl.gz', import.meta.url));
const COUNTS = [5, 10, 20, 40, 80, 200];
const HELD_SOURCES = 5;
const REPEATS = 100;

export async function run({ runs: path = SHIPPED, seed = '1' }) {
  const runs = measuredRatios(path);
  const sources = [...new Set(runs.map(({ source }) => source))].sort();
  if (sources.length <= HELD_SOURCES) {
    throw new Error(`host-effects: ${path} has ${sources.length} sources, ${HELD_SOURCES} are held out`);
  }
  const random = seededRandom(Number(seed));
  const outcomes = COUNTS.map((count) => ({ count, one: [], effects: [] }));
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const held = new Set(shuffled(sources, random).slice(0, HELD_SOURCES));
    const train = shuffled(
      runs.filter(({ source }) => !held.has(source)),
      random,
    );
    const unseen = runs.filter(({ source }) => held.has(source));
    for (const { count, one, effects } of outcomes) {
      const track = createSpeedFactorTrack(undefined);
      for (const { signature, ratio } of train.slice(0, count)) track.add({ signature, costTable: ratio });
      const { costTable } = track.current();
      one.push(...unseen.map(({ ratio }) => error(costTable / ratio)));
      effects.push(
        ...unseen.map(({ signature, ratio }) => error(track.factorFor('costTable', signature) / ratio)),
      );
    }
  }
  return {
    rows: outcomes.map(({ count, one, effects }) => ({
      calibration_runs: count,
      one_factor_median_error_percent: quantile(one, 0.5),
      effects_median_error_percent: quantile(effects, 0.5),
      one_factor_p90_error_percent: quantile(one, 0.9),
      effects_p90_error_percent: quantile(effects, 0.9),
    })),
    figures: {
      runs: runs.length,
      ...Object.fromEntries(
        outcomes.map(({ count, effects }) => [`median_error_percent_${count}_runs`, quantile(effects, 0.5)]),
      ),
    },
    peers: Object.fromEntries(
      outcomes.map(({ count, one }) => [`one_factor_median_error_percent_${count}_runs`, quantile(one, 0.5)]),
    ),
  };
}

function measuredRatios(path) {
  return readRuns(path).flatMap((measured) => {
    const demand = meanDemand(measured);
    const { source, signature } = measured;
    return demand === undefined ? [] : [{ source, signature, ratio: demand / costTableDemand(signature) }];
  });
}

function error(forecastOverMeasured) {
  return 100 * Math.abs(forecastOverMeasured - 1);
}
