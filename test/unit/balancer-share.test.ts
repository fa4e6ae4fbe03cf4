import { describe, expect, it } from 'vitest';
import type { Sharing } from '../../src/balancer/choose-shared.js';
import { type DecideInput, decide } from '../../src/balancer/decide.js';
import { HostUseMeter } from '../../src/balancer/host-use.js';
import {
  forecastDemand,
  NOBODY,
  needOf,
  normalQuantile,
  plus,
  shareOf,
} from '../../src/balancer/shared-demand.js';
import { type Sharer, sharersOf } from '../../src/balancer/sharers.js';
import { OccupancyIndex } from '../../src/reservation/allocator.js';
import { lend } from '../../src/reservation/allocator-lend.js';
import { segmentsOf } from '../../src/reservation/allocator-spread.js';
import { milliOf } from '../../src/reservation/cpu-shares.js';
import { EIGHT, failed, limits, TWO, textOf } from '../support/decisions.js';
import { channelRequest, decideInput, forecastOf, hostState } from '../support/requests.js';

describe('what others than the reservations use', () => {
  /** Half a core all the time, and `pulse` cores more in one second of four. */
  const pulses = (seconds: number, pulse: number, meter = new HostUseMeter()) => {
    for (let second = 0; second < seconds; second++)
      meter.add((1 + 0.5 + (second % 4 === 0 ? pulse : 0)) / 2, 2, 1, 1);
    return meter;
  };

  it('is what no channel took of the CPUs', () => {
    expect(new HostUseMeter().now).toBeUndefined();
    expect(pulses(60, 0).now!.outsideCores).toBeCloseTo(0.5, 6);
    expect(pulses(60, 0).now!.busy).toBeCloseTo(0.75, 6);
    const meter = new HostUseMeter();
    meter.add(0.4, 2, 0.9, 1);
    expect(meter.now).toEqual({ busy: 0.4, outsideCores: 0 });
  });

  it('lies above its mean where it comes in pulses, far below their top', () => {
    const { outsideCores } = pulses(120, 0.4).now!;
    expect(outsideCores).toBeGreaterThan(0.6);
    expect(outsideCores).toBeLessThan(0.75);
  });

  it('is the same at any pace of the monitor, though short ticks show a pulse whole', () => {
    const [slow, fast] = [new HostUseMeter(), new HostUseMeter()];
    for (let quarter = 0; quarter < 240; quarter++) {
      const starts = quarter % 16 === 0;
      fast.add((1 + (starts ? 1 : 0)) / 2, 2, 1, 0.25);
      if (quarter % 4 === 3) slow.add((1 + (quarter % 16 === 3 ? 0.25 : 0)) / 2, 2, 1, 1);
    }
    expect(Math.abs(fast.now!.outsideCores - slow.now!.outsideCores)).toBeLessThan(0.02);
    expect(fast.now!.outsideCores).toBeGreaterThan(0.25 / 4);
    expect(fast.now!.outsideCores).toBeLessThan(0.15);
  });

  it('is believed within seconds when a neighbour comes, and longer when it has gone', () => {
    const meter = pulses(60, 0);
    pulses(4, 0, meter);
    for (let second = 0; second < 7; second++) meter.add(1, 2, 0.5, 1);
    expect(meter.now!.outsideCores).toBeGreaterThan(1.35);
    for (let second = 0; second < 7; second++) meter.add(0.75, 2, 1, 1);
    expect(meter.now!.outsideCores).toBeGreaterThan(0.9);
    pulses(40, 0, meter);
    expect(meter.now!.outsideCores).toBeLessThan(0.55);
  });
});

describe('live channels that share CPUs', () => {
  const RULE = { z: normalQuantile(0.999), headroom: 0.05, common: 0 };
  const sharing = (sharers: Sharing['sharers'] = new Map()): Sharing => ({
    rule: RULE,
    quantile: 0.999,
    cpus: 64,
    sharers,
  });
  /** Channels of 0.4 cores (0.9 quantile), one after the other, until one is refused. */
  const admitted = (cpus: typeof EIGHT, more: Partial<DecideInput>, until = 100) => {
    const index = new OccupancyIndex(cpus, 1300);
    const held: Sharer[] = [];
    for (;;) {
      const segments = segmentsOf(index.host, 64);
      const now = sharing(sharersOf(index.host, segments, held));
      const verdict = decide(decideInput(cpus, 0.4, { occupancy: index, sharing: now, ...more }));
      let loaned = verdict;
      if (verdict.loan !== undefined) {
        const { sum, milli } = verdict.loan;
        const lenders = held.map((one) => ({ ...one, one, keepMilli: shareOf(one.demand, sum, RULE) }));
        for (const { lender, cpus: after } of lend(lenders, milli) ?? []) {
          index.release(lender.cpus, false);
          index.reserve(after, false);
          held[held.indexOf(lender.one)] = { cpus: after, milli: milliOf(after), demand: lender.demand };
        }
        const again = sharing(sharersOf(index.host, segments, held));
        loaned = decide(decideInput(cpus, 0.4, { occupancy: index, sharing: again, ...more }));
      }
      if (!loaned.fits || held.length === until) return { held, index, refused: loaned };
      index.reserve(loaned.cpus, false);
      held.push({ cpus: loaned.cpus, milli: milliOf(loaned.cpus), demand: loaned.demand! });
    }
  };
  const open = { limits: limits({ host_load: 1 }) };

  it('are more than those that are reserved for one by one, and never more than all together may need', () => {
    const { held, index, refused } = admitted(EIGHT, open);
    const sum = held.reduce((all, { demand }) => plus(all, demand), NOBODY);
    // One by one, 0.5 cores each, there is room for 16.
    expect(held.length).toBeGreaterThan(18);
    expect(needOf(sum, RULE)).toBeLessThanOrEqual(8000);
    expect(needOf(plus(sum, forecastDemand(forecastOf(1, 0.4))), RULE)).toBeGreaterThan(8000 - 5);
    for (const milli of index.milli.values()) expect(milli).toBeLessThanOrEqual(1000);
    expect(refused.reasons[0]).toMatchObject({ code: 'CPU_SHORT', passed: false, unit: 'thousandths' });
    expect(refused.reasons[0]!.needed - refused.reasons[0]!.available).toBeGreaterThan(0);
    expect(refused.waitingHelps).toBe(true);
  });

  it('are told what they need, with whom, and how much is missing', () => {
    expect(textOf(decideInput(EIGHT, 0.4, { sharing: sharing() }), 'FITS')).toMatch(
      /^needs 0\.\d\d cores \(mean 0\.32\), 0\.\d\d cores together \(0\.999 quantile of the sum \+ 5 % headroom\); given a part of 1 CPU that it shares$/,
    );
    const { refused } = admitted(EIGHT, open);
    expect(refused.reasons[0]!.text).toMatch(
      /with \d+ channels beside it 8\.\d\d cores together .*; 0\.\d\d cores are missing; up to 0\.\d\d \(mean\) would fit now/,
    );
  });

  it('leave whole CPUs free as long as they can', () => {
    const { index } = admitted(EIGHT, open, 5);
    expect([...index.milli.keys()].sort()).toEqual([0, 1, 2]);
  });

  it('get CPUs for the threads they were forecast with', () => {
    const verdict = decide(decideInput(EIGHT, 1.47, { sharing: sharing() }));
    expect(verdict.forecast.cpuCount).toBe(2);
    expect(verdict.cpus.length).toBeGreaterThanOrEqual(2);
    expect(verdict.demand?.meanMilli).toBeGreaterThan(1100);
  });

  it('are refused where those who run need more than they were promised, though thousandths are free', () => {
    const held: Sharer[] = [
      {
        cpus: [{ cpu: 0, shareMilli: 900 }],
        milli: 900,
        demand: { meanMilli: 1900, deviationMilli: 90, forecastMilli: 0 },
      },
    ];
    const index = new OccupancyIndex(TWO, 1300);
    index.reserve(held[0]!.cpus, false);
    const sharers = sharersOf(index.host, segmentsOf(index.host, 64), held);
    const input = decideInput(TWO, 0.2, { occupancy: index, sharing: sharing(sharers), ...open });
    expect(index.freeMilli).toBe(1100);
    expect(failed(input)).toEqual(['CPU_SHORT']);
  });

  it('leave a neighbour outside corecast what it uses over seconds, and mind no tick', () => {
    const { held, index } = admitted(EIGHT, open, 10);
    const sharers = sharersOf(index.host, segmentsOf(index.host, 64), held);
    const at = (outsideCores: number, host_load: number, busy = (3.2 + outsideCores) / 8) =>
      decideInput(EIGHT, 0.4, {
        occupancy: index,
        sharing: sharing(sharers),
        host: hostState(1),
        use: { busy, outsideCores },
        limits: limits({ host_load }),
      });
    // Ten channels of 0.32 need 4 of the 8 CPUs at the quantile.
    expect(failed(at(0, 0.98))).toEqual([]);
    expect(failed(at(3, 0.98))).toEqual([]);
    expect(failed(at(4, 0.98))).toEqual(['CPU_SHORT']);
    expect(textOf(at(4, 0.98), 'CPU_SHORT')).toContain('while others than the reservations use 4.00 cores');
    // The load beside it counts with means, as its own does.
    expect(failed(at(0, 0.98, 0.93))).toEqual([]);
    expect(failed(at(0, 0.98, 0.96))).toEqual(['HOST_LOAD']);
    // 1: other work is to give way.
    expect(failed(at(4, 1))).toEqual([]);
  });

  it('do not count those who ask for CPUs of their own', () => {
    for (const more of [{ cpuCount: 1 }, { exclusive: true }]) {
      const input = decideInput(EIGHT, 0.4, { request: channelRequest(more), sharing: sharing() });
      expect(decide(input)).toMatchObject({ fits: true });
      expect(decide(input).demand).toBeUndefined();
    }
  });

  it('too large for any host are still refused for good', () => {
    const verdict = decide(decideInput(TWO, 2.5, { sharing: sharing() }));
    expect(verdict).toMatchObject({ fits: false, waitingHelps: false });
    expect(verdict.reasons.map(({ code }) => code)).toContain('TOO_LARGE');
  });
});
