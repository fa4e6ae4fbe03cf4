/**
 * The standard scenario: 64 CPUs, a day each of Poisson arrivals, a daily cycle and flash crowds, demand and forecasts of
 * measured runs, every policy on the same channels (src/simulate/, docs/simulation.md).
 *
 *   npm run -s bench -- simulate [--json] [--cpus 64] [--seed 1] [--workloads 2] [--hours 24]
 *
 * share_of_oracle: mean channels that corecast carries as it ships over the oracle's; 0 when more than 0.1 % of its
 * channels' time is late. ratio_to_best_peer: the same over the best of the other policies at its best setting.
 * channel_hours_per_minute: of CPU time of this process, all policies and all tuning together; ..._corecast: corecast's
 * own admissions and adjustments alone. adjustments_per_channel_hour: corecast's changes of running channels, moves and
 * loans of thousandths.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { compare } = await import(`${dist}/simulate/compare.js`);
const { corecast } = await import(`${dist}/simulate/corecast.js`);
const { parsePopulation } = await import(`${dist}/simulate/population.js`);
const { simulate } = await import(`${dist}/simulate/simulate.js`);
const { ARRIVALS, makeWorkload } = await import(`${dist}/simulate/workload.js`);
const POPULATION = fileURLToPath(new URL('../models/simulation/channels.json', import.meta.url));

export async function run({ cpus = 64, seed = 1, workloads = 2, hours = 24 } = {}) {
  const population = parsePopulation(readFileSync(POPULATION, 'utf8'), POPULATION);
  const scenario = {
    cpus: wholeNumber('cpus', cpus),
    seed: wholeNumber('seed', seed),
    workloads: wholeNumber('workloads', workloads),
    hours: wholeNumber('hours', hours),
    arrivals: ARRIVALS,
    population,
  };
  const [comparison, minutes] = cpuMinutes(() => compare(scenario));
  const { results, simulatedChannelHours } = comparison;
  const [own, ownMinutes] = cpuMinutes(() => {
    const workload = makeWorkload({ ...scenario, kind: 'poisson' });
    return simulate(workload, corecast.make(workload, 0));
  });
  return {
    rows: results.map(rowOf),
    figures: {
      cpus: scenario.cpus,
      share_of_oracle: 100 * comparison.shareOfOracle,
      ratio_to_best_peer: comparison.ratioToBestPeer,
      share_of_oracle_tuned: 100 * comparison.shareOfOracleTuned,
      ratio_to_best_peer_tuned: comparison.ratioToBestPeerTuned,
      channel_hours_per_minute: simulatedChannelHours / minutes,
      channel_hours_per_minute_corecast: own.simulatedChannelHours / ownMinutes,
      adjustments_per_channel_hour: results.find(({ policy }) => policy === corecast.name).adjustmentsPerHour,
      simulated_channel_hours: simulatedChannelHours,
    },
    peers: { best_peer: comparison.bestPeer },
  };
}

function rowOf({ policy, setting, channels, lateShare, onTime, utilisation, refusedShare, byArrivals }) {
  return {
    policy,
    setting: setting ?? '-',
    channels,
    late_percent: 100 * lateShare,
    on_time: onTime,
    utilisation_percent: 100 * utilisation,
    refused_percent: 100 * refusedShare,
    ...Object.fromEntries(byArrivals.map((one) => [`${one.arrivals}_channels`, one.channels])),
  };
}

function cpuMinutes(work) {
  const begin = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(begin);
  return [result, (user + system) / 60e6];
}

function wholeNumber(name, value) {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${name} ${value}: expected a whole number from 1`);
  return number;
}
