import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { simulationPage } from '../../src/client/report/simulation-page.js';
import { seededRandom } from '../../src/feedback/random.js';
import { type carried, compare, LATE_LIMIT, type Scenario, tune } from '../../src/simulate/compare.js';
import { corecast } from '../../src/simulate/corecast.js';
import { Host } from '../../src/simulate/host.js';
import {
  countCap,
  meanCpu,
  noAdmission,
  nSigma,
  oracle,
  reactive,
  signatureLookup,
} from '../../src/simulate/peers.js';
import type { PolicyKind } from '../../src/simulate/policy.js';
import { pooledForecasts } from '../../src/simulate/pooled.js';
import { type MeasuredChannel, parsePopulation, variationTable } from '../../src/simulate/population.js';
import { simulate } from '../../src/simulate/simulate.js';
import { ARRIVALS, type Arrival, makeWorkload, type Workload } from '../../src/simulate/workload.js';

const FILE = 'models/simulation/channels.json';
const population = parsePopulation(readFileSync(FILE, 'utf8'), FILE);
/** Demand as it is, without variation. */
const STEADY = new Float32Array(1 << 18).fill(1);

function channelOf(demand: number, { lookup = demand, q90 = demand } = {}): MeasuredChannel {
  const horizon = [demand, q90, q90] as const;
  return { source: 's', encoder: 'x264', demand, lookup, horizons: [horizon, horizon, horizon] };
}

function arrivalOf(id: number, channel: MeasuredChannel, fromStep = 0, toStep = 1000): Arrival {
  return { id, channel, fromStep, toStep, offset: 0 };
}

function workloadOf(cpus: number, arrivals: readonly Arrival[], steps = 100): Workload {
  return { arrivals, variation: STEADY, cpus, kind: 'poisson', steps, countedFrom: 0 };
}

/** Channels of `cores` each, offered together one step after the host began. */
function admittedOf(
  kind: PolicyKind,
  setting: number,
  cpus: number,
  demands: readonly MeasuredChannel[],
): number {
  const arrivals = demands.map((channel, id) => arrivalOf(id, channel));
  const workload = workloadOf(cpus, arrivals);
  return simulate(workload, kind.make(workload, setting)).admitted;
}

describe('workloads', () => {
  it.each(ARRIVALS)('of %s arrivals are the same for the same seed and others for another', (kind) => {
    const of = (seed: number) => makeWorkload({ cpus: 16, kind, hours: 2, seed, population });
    expect(of(7).arrivals).toEqual(of(7).arrivals);
    expect(of(8).arrivals).not.toEqual(of(7).arrivals);
  });

  it('vary demand around the measured mean', () => {
    const table = variationTable(seededRandom(1));
    expect(table.reduce((sum, x) => sum + x, 0) / table.length).toBeCloseTo(1, 1);
    expect(Math.min(...table.slice(0, 1000))).toBeGreaterThan(0);
  });
});

describe('the host', () => {
  it('gives no more CPU than it has, under every policy, and uses just what is wanted when that fits', () => {
    for (const kind of [noAdmission, corecast, oracle]) {
      const workload = makeWorkload({ cpus: 4, kind: 'poisson', hours: 1, seed: 3, population });
      const policy = kind.make(workload, 0);
      const host = new Host(4, workload.variation);
      let next = 0;
      for (let step = 0; step < workload.steps; step++) {
        host.end(step, (arrival) => policy.ended?.(arrival, host));
        for (; workload.arrivals[next]?.fromStep === step; next++) {
          const group = policy.admit(workload.arrivals[next]!, host, step);
          if (group !== undefined) host.start(workload.arrivals[next]!, group);
        }
        host.run(step);
        policy.observe?.(host, step);
        let given = 0;
        for (let slot = 0; slot < host.count; slot++) given += host.demand[slot]! * host.speed[slot]!;
        expect(given).toBeCloseTo(host.used, 6);
        expect(host.used).toBeLessThanOrEqual(4 + 1e-9);
      }
    }
  });

  it('counts a channel as late once it is more than a second behind, and no longer when it has caught up', () => {
    const host = new Host(1, STEADY);
    host.start(arrivalOf(0, channelOf(0.6)));
    host.start(arrivalOf(1, channelOf(0.6), 0, 3));
    // 1.2 wanted of 1: each step loses 5 s × (1 - 1/1.2) = 0.83 s.
    host.run(0);
    expect([host.lagS[0]!, host.late]).toEqual([expect.closeTo(5 / 6, 6), 0]);
    host.run(1);
    expect(host.lagS[0]).toBeGreaterThan(1);
    expect(host.late).toBe(2);
    host.end(3, () => undefined);
    for (let step = 3; step < 6; step++) host.run(step);
    expect([host.lagS[0], host.late, host.speed[0]]).toEqual([0, 0, 1]);
  });

  it('slows only the channels of a group that asks for too much', () => {
    const host = new Host(3, STEADY);
    host.groupCpus = [1, 2];
    host.start(arrivalOf(0, channelOf(0.8)), 0);
    host.start(arrivalOf(1, channelOf(0.8)), 0);
    host.start(arrivalOf(2, channelOf(0.9)), 1);
    host.run(0);
    expect([...host.speed.slice(0, 3)]).toEqual([expect.closeTo(1 / 1.6), expect.closeTo(1 / 1.6), 1]);
    expect(host.used).toBeCloseTo(1.9);
  });
});

describe('policies', () => {
  const halves = Array.from({ length: 10 }, () => channelOf(0.5));

  it('no admission takes all', () => expect(admittedOf(noAdmission, 0, 2, halves)).toBe(10));
  it('count cap takes so many for each CPU', () => expect(admittedOf(countCap, 1.5, 2, halves)).toBe(3));
  it('mean CPU takes all that come before the mean shows them, and none after', () => {
    const late = Array.from({ length: 3 }, (_, i) => arrivalOf(10 + i, channelOf(0.5), 20 + i));
    const workload = workloadOf(2, [...halves.map((channel, id) => arrivalOf(id, channel)), ...late]);
    expect(simulate(workload, meanCpu.make(workload, 0.9)).admitted).toBe(10);
  });
  it('signature lookup adds up its table, right or wrong', () => {
    const wrong = Array.from({ length: 10 }, () => channelOf(0.5, { lookup: 0.25 }));
    expect(admittedOf(signatureLookup, 1, 2, wrong)).toBe(8);
  });
  it('reactive counts what is used and who just came', () => {
    const later = Array.from({ length: 3 }, (_, i) => arrivalOf(10 + i, channelOf(0.5), 5));
    const workload = workloadOf(2, [arrivalOf(0, channelOf(0.5, { lookup: 1 })), ...later]);
    expect(simulate(workload, reactive.make(workload, 1)).admitted).toBe(4);
    expect(simulate(workload, reactive.make(workload, 0.7)).admitted).toBe(2);
  });
  it('N-sigma keeps N deviations of the last minutes free', () => {
    const first = arrivalOf(0, channelOf(1), 10);
    const second = arrivalOf(1, channelOf(1), 20);
    // Use over 20 steps: ten of 0, ten of 1; mean 0.5, deviation 0.5.
    const admitted = (n: number) => {
      const workload = workloadOf(2, [first, second]);
      return simulate(workload, nSigma.make(workload, n)).admitted;
    };
    expect([admitted(0.9), admitted(1.1)]).toEqual([2, 1]);
  });
  it('the oracle refuses what would not fit later, and nobody it admits is ever late', () => {
    const workload = workloadOf(1, [
      arrivalOf(0, channelOf(0.8), 0, 50),
      arrivalOf(1, channelOf(0.3), 10, 60),
      arrivalOf(2, channelOf(0.3), 50, 90),
    ]);
    const outcome = simulate(workload, oracle.make(workload, 0));
    expect([outcome.admitted, outcome.refused, outcome.lateHours]).toEqual([2, 1, 0]);
  });
  it('pooled forecasts let the spreads of several channels cancel', () => {
    // Spread 0.1 each: alone 0.5 + 3 × 0.1; of n channels n × 0.5 + 3 × 0.1 × √n, which for 6 is 3.73, for 7 4.29.
    const wide = Array.from({ length: 10 }, () => channelOf(0.5, { q90: 0.5 + 1.2816 * 0.1 }));
    expect(admittedOf(pooledForecasts, 3, 4, wide)).toBe(6);
  });
  it('corecast takes as many as all together need no more than there is', () => {
    // Sigma 0.22 each: five would need 2.08 of 2 at the 0.999 quantile, headroom included; each its 0.9 quantile and headroom, four.
    expect(
      admittedOf(
        corecast,
        0,
        2,
        Array.from({ length: 10 }, () => channelOf(0.3, { q90: 0.4 })),
      ),
    ).toBe(4);
  });
  it('corecast gives channels that leave their forecast more CPUs, as long as there are some', () => {
    const little = { ...channelOf(0.2), demand: 0.9 };
    const workload = workloadOf(4, [arrivalOf(0, little), arrivalOf(1, little), arrivalOf(2, little)]);
    const policy = corecast.make(workload, 0);
    const outcome = simulate(workload, policy);
    expect(outcome.admitted).toBe(3);
    // On one CPU at first; they catch up within two minutes.
    expect(outcome.lateHours).toBeLessThan(0.25 * outcome.channelHours);
    expect(policy.reservedCores()).toBeGreaterThan(2);
  });
});

describe('the comparison', () => {
  const scenario: Scenario = { cpus: 8, arrivals: ['poisson'], hours: 2, seed: 1, workloads: 1, population };
  const kinds = [countCap, corecast, oracle];

  it('comes out the same with the same seed, late channels and all', () => {
    expect(compare(scenario, kinds)).toEqual(compare(scenario, kinds));
  });

  it('chooses the setting that carries most of those that are on time', () => {
    const outcome = (channels: number, late: number) =>
      ({ channelHours: channels, lateHours: late * channels, hours: 1 }) as Parameters<
        typeof carried
      >[0][number];
    const kind: PolicyKind = { ...countCap, settings: () => [1, 2, 3] };
    const of = [outcome(5, 0), outcome(8, LATE_LIMIT), outcome(9, 2 * LATE_LIMIT)];
    expect(tune(kind, 8, (setting) => [of[setting - 1]!]).best?.setting).toBe(2);
    expect(tune(kind, 8, () => [of[2]!]).best).toBeUndefined();
  });

  it('is drawn on one page without scripts', () => {
    const page = simulationPage(scenario, compare(scenario, kinds));
    expect(page.match(/<svg/g)!.length).toBeGreaterThanOrEqual(3);
    expect(page).not.toMatch(/<script|NaN|undefined|https?:\/\/(?!www\.w3\.org)/);
  });
});

describe('the population', () => {
  it('names an entry that is none', () => {
    expect(() => parsePopulation('[{"demand":0,"lookup":1,"horizons":[]}]', 'f')).toThrow(
      'f: channel 0 has a demand of 0',
    );
    expect(() => parsePopulation('[]', 'f')).toThrow('f: holds no channels');
  });
});
