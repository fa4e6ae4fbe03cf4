import { describe, expect, it } from 'vitest';
import { SeenUse } from '../../src/balancer/seen-demand.js';
import {
  type ChannelDemand,
  demandNow,
  forecastDemand,
  NOBODY,
  needOf,
  normalQuantile,
  plus,
  type SharingRule,
  shareOf,
} from '../../src/balancer/shared-demand.js';
import { CommonError } from '../../src/feedback/common-error.js';
import { seededRandom } from '../../src/feedback/random.js';
import { forecastOf } from '../support/requests.js';

const RULE: SharingRule = { z: normalQuantile(0.999), headroom: 0, common: 0 };
const ofSpread = (meanMilli: number, deviationMilli: number, forecastMilli = 0): ChannelDemand => ({
  meanMilli,
  deviationMilli,
  forecastMilli,
});
const sumOf = (channels: readonly ChannelDemand[]) => channels.reduce(plus, NOBODY);

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

describe('the need of channels together', () => {
  it('is known at the quantiles of the normal distribution', () => {
    for (const [quantile, z] of [
      [0.5, 0],
      [0.9, 1.2816],
      [0.99, 2.3263],
      [0.999, 3.0902],
    ] as const)
      expect(normalQuantile(quantile)).toBeCloseTo(z, 2);
  });

  it('of one channel is its own quantile', () => {
    const q50 = 0.4;
    const sigma = 0.3;
    const at = (z: number) => q50 * Math.exp(sigma * z);
    const one = forecastOf(1, 1);
    const horizons = one.horizons.map((horizon) => ({
      ...horizon,
      demand: { q50, q90: at(1.2816), q99: at(2.3263) },
    }));
    const demand = forecastDemand({ horizons });
    expect(needOf(plus(NOBODY, demand), RULE) / 1000).toBeCloseTo(at(3.0902), 2);
  });

  it('is exceeded as rarely as it says, by the sum of log-normal demands', () => {
    const random = seededRandom(3);
    const channels = Array.from({ length: 12 }, (_, i) => ({ q50: 100 + 40 * i, sigma: 0.15 + 0.02 * i }));
    const demands = channels.map(({ q50, sigma }) => {
      const mean = q50 * Math.exp(sigma ** 2 / 2);
      return ofSpread(mean, mean * Math.sqrt(Math.expm1(sigma ** 2)));
    });
    for (const quantile of [0.9, 0.99, 0.999]) {
      const need = needOf(sumOf(demands), { ...RULE, z: normalQuantile(quantile) });
      let above = 0;
      const rounds = 40_000;
      for (let round = 0; round < rounds; round++) {
        const used = channels.reduce(
          (sum, { q50, sigma }) => sum + q50 * Math.exp(sigma * normal(random)),
          0,
        );
        if (used > need) above++;
      }
      expect(above / rounds).toBeGreaterThan(0.6 * (1 - quantile));
      // Fenton is a little short in the far tail of a mixture.
      expect(above / rounds).toBeLessThan(2.2 * (1 - quantile));
    }
  });

  it('grows less than channel by channel, and shares of it add up to it', () => {
    const channels = Array.from({ length: 40 }, (_, i) => ofSpread(200 + 10 * i, 60 + 3 * i, 200));
    const rule = { z: 3, headroom: 0.05, common: 0.1 };
    const sum = sumOf(channels);
    const shares = channels.reduce((all, channel) => all + shareOf(channel, sum, rule), 0);
    expect(shares).toBeCloseTo(needOf(sum, rule), 6);
    const alone = channels.reduce((all, channel) => all + needOf(plus(NOBODY, channel), rule), 0);
    expect(needOf(sum, rule)).toBeLessThan(0.85 * alone);
  });

  it('keeps the error that forecasts have in common: it does not average out', () => {
    const many = sumOf(Array.from({ length: 400 }, () => ofSpread(100, 30, 100)));
    const margin = (common: number) => needOf(many, { ...RULE, common }) / many.meanMilli - 1;
    expect(margin(0)).toBeLessThan(0.05);
    expect(margin(0.1)).toBeGreaterThan(0.3);
  });

  it('of nobody, and of a forecast of nothing, is nothing', () => {
    expect(needOf(NOBODY, RULE)).toBe(0);
    expect(needOf(plus(NOBODY, forecastDemand(forecastOf(1, 0))), RULE)).toBe(0);
  });
});

describe('what is seen of a running channel', () => {
  const seenFor = (seconds: number, milli: number) => {
    const seen = new SeenUse();
    for (let second = 0; second < seconds; second++) seen.add(milli, 1);
    return seen;
  };

  it('takes the place of its forecast, and its spread with it', () => {
    const forecast = ofSpread(1000, 400, 1000);
    expect(demandNow(forecast, undefined)).toBe(forecast);
    const now = demandNow(forecast, seenFor(300, 500));
    expect(now.meanMilli).toBeCloseTo(501, 0);
    expect(now.deviationMilli).toBeLessThan(60);
    expect(now.forecastMilli).toBeLessThan(40);
  });

  it('counts the sooner, the wider the forecast is', () => {
    const meanAfter = (deviation: number, seconds: number, milli = 800) =>
      demandNow(ofSpread(1000, deviation, 1000), seenFor(seconds, milli)).meanMilli;
    expect(meanAfter(600, 7)).toBeLessThan(825);
    expect(meanAfter(200, 7)).toBeGreaterThan(840);
    expect(meanAfter(200, 60)).toBeLessThan(820);
    // However sure a forecast is, it is corrected: at once where it was plainly wrong.
    expect(meanAfter(0, 600)).toBeLessThan(805);
    expect(meanAfter(0, 12, 100)).toBeLessThan(130);
    expect(meanAfter(0, 12, 2000)).toBeGreaterThan(1900);
  });

  it('is its mean and how much it varies over the last minutes', () => {
    const random = seededRandom(9);
    const seen = new SeenUse();
    for (let second = 0; second < 3000; second++)
      seen.add(second < 1000 ? 900 : 400 + 60 * normal(random), 1);
    expect(seen.meanMilli).toBeGreaterThan(380);
    expect(seen.meanMilli).toBeLessThan(420);
    // A deviation of 60 from second to second is 13 over 20 s; the change of long ago fades.
    expect(seen.deviationMilli).toBeGreaterThan(8);
    expect(seen.deviationMilli).toBeLessThan(45);
    for (let second = 0; second < 3000; second++) seen.add(second % 120 < 60 ? 300 : 500, 1);
    expect(seen.deviationMilli).toBeGreaterThan(60);
    expect(seen.deviationMilli).toBeLessThan(110);
  });

  it('counts nothing that is no measurement', () => {
    const seen = new SeenUse();
    seen.add(Number.NaN, 1);
    seen.add(100, 0);
    expect(seen.seconds).toBe(0);
  });
});

describe('the error in common', () => {
  const forecast = forecastOf(1, 1, { q50: 1 });
  const observed = (source: string, error: number, horizon = 1) => ({
    source,
    forecast,
    horizon,
    demandCores: Math.exp(error),
  });

  it('is found where all err alike, and not where each errs for itself', () => {
    const random = seededRandom(4);
    const [alike, apart] = [new CommonError(), new CommonError()];
    for (let i = 0; i < 300; i++) {
      alike.add(observed(`s${i}`, 0.2 + 0.1 * normal(random)));
      apart.add(observed(`s${i}`, 0.2 * normal(random)));
    }
    expect(alike.deviation).toBeGreaterThan(0.16);
    expect(alike.deviation).toBeLessThan(0.25);
    expect(apart.deviation).toBeLessThan(0.1);
  });

  it('leaves one source after itself and other horizons out', () => {
    const error = new CommonError();
    for (let i = 0; i < 50; i++) error.add(observed('same', 0.5));
    for (let i = 0; i < 50; i++) error.add(observed(`s${i}`, 0.5, 2));
    expect(error.deviation).toBe(new CommonError().deviation);
  });
});
