import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from '../../src/balancer/decide.js';
import { spread, withHeadroom } from '../../src/balancer/demand.js';
import { configSchema } from '../../src/config/schema.js';
import { OccupancyIndex } from '../../src/reservation/allocator.js';
import { bruteForce } from '../support/brute-force.js';
import { channelRequest, decideInput, forecastOf, hostState } from '../support/requests.js';
import { arbitraryTopology, topologyOf } from '../support/topology-of.js';

const cores = fc.double({ min: 0.01, max: 6, noNaN: true });
const arrivals = fc.array(
  fc.record({
    q90: cores,
    flat: fc.boolean(),
    exclusive: fc.boolean(),
    channelClass: fc.constantFrom('live' as const, 'vod' as const),
    cpuCount: fc.constantFrom(0, 0, 0, 1, 2, 3),
    busy: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  { minLength: 1, maxLength: 12 },
);

describe('spreading a demand', () => {
  it('gives each CPU 1 to 1000, busiest first, and at least the demand in all but never a CPU more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 32 }), cores, fc.boolean(), (cpuCount, q90, flat) => {
        const milli = withHeadroom(Math.ceil(q90 * 1000), 0.2);
        const shares = spread(forecastOf(cpuCount, q90, { flat }), milli);
        expect(shares === undefined).toBe(milli > cpuCount * 1000);
        if (shares === undefined) return;
        const sum = shares.reduce((a, b) => a + b, 0);
        expect(shares).toHaveLength(cpuCount);
        expect(sum).toBeGreaterThanOrEqual(milli);
        expect(sum).toBeLessThanOrEqual(milli + cpuCount);
        expect(shares.every((share) => Number.isInteger(share) && share >= 1 && share <= 1000)).toBe(true);
        expect([...shares].sort((a, b) => b - a)).toEqual(shares);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a day of arrivals', () => {
  it('never takes the host above its load limit, and explains every refusal', () => {
    const limits = { ...configSchema.parse({}).limits, host_load: 0.5 };
    fc.assert(
      fc.property(arbitraryTopology(12), arrivals, (topology, list) => {
        const index = new OccupancyIndex(topology, 1300);
        for (const { q90, flat, busy, ...of } of list) {
          const request = channelRequest(of);
          const input = decideInput(topology, q90, {
            request,
            occupancy: index,
            host: hostState(busy),
            limits,
          });
          const forecasts = input.forecasts.map(({ cpuCount }) => forecastOf(cpuCount, q90, { flat }));
          const verdict = decide({ ...input, forecasts });
          expect(verdict.fits).toBe(verdict.reasons.every(({ passed }) => passed));
          expect(verdict.cpus.length > 0).toBe(verdict.fits);
          expect(verdict.retryAfterMs > 0).toBe(verdict.waitingHelps);
          expect(verdict.fits && verdict.waitingHelps).toBe(false);
          for (const { text } of verdict.reasons) expect(text).not.toMatch(/NaN|undefined|Infinity|[^\d]-\d/);
          if (!verdict.fits) continue;
          const given = verdict.cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
          const load = of.channelClass === 'live' ? q90 * 1000 : given;
          if (of.channelClass === 'live') expect(given).toBeGreaterThanOrEqual(Math.floor(q90 * 1250));
          if (of.channelClass === 'live' || !of.exclusive) {
            const promised = (index.reservedMilli * 0.8 + load) / index.capacityMilli;
            const measured = busy + load / (1000 * topology.schedulable.length);
            expect(Math.max(promised, measured)).toBeLessThanOrEqual(0.5 + 1e-9);
          }
          index.reserve(verdict.cpus, of.exclusive);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('admits a live channel exactly when some candidate has a placement and the load limit allows', () => {
    const milli = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(milli, cores, fc.boolean(), (taken, q90, flat) => {
        const topology = topologyOf([{ cpus: [0, 1] }, { cpus: [2, 3] }, { cpus: [4] }, { cpus: [5] }]);
        const capped = taken.slice(0, 6).map((value, cpu) => Math.min(value, cpu < 4 ? 650 : 1000));
        const occupancy = {
          milli: new Map(capped.map((value, cpu) => [cpu, value])),
          exclusive: new Set<number>(),
        };
        const input = decideInput(topology, q90, {
          occupancy,
          limits: { ...configSchema.parse({}).limits, host_load: 1 },
        });
        const forecasts = input.forecasts.map(({ cpuCount }) => forecastOf(cpuCount, q90, { flat }));
        const verdict = decide({ ...input, forecasts });
        const possible = forecasts.some((forecast) => {
          const sharesMilli = spread(forecast, withHeadroom(Math.ceil(q90 * 1000 - 1e-6), 0.2));
          if (sharesMilli === undefined) return false;
          const request = {
            sharesMilli,
            exclusive: false,
            channelClass: 'live' as const,
            smtCoreMilli: 1300,
          };
          return bruteForce(topology, occupancy, request) !== undefined;
        });
        const placed = verdict.reasons[0]?.code === 'FITS';
        expect(placed).toBe(possible);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a refusal for want of a place', () => {
  it('names a cheaper channel that does fit now', () => {
    let offers = 0;
    const limits = { ...configSchema.parse({}).limits, host_load: 1 };
    fc.assert(
      fc.property(
        arbitraryTopology(8),
        fc.array(cores, { minLength: 1, maxLength: 12 }),
        (topology, list) => {
          const index = new OccupancyIndex(topology, 1300);
          const decided = (q90: number) => {
            const input = decideInput(topology, q90, { occupancy: index, limits });
            const forecasts = input.forecasts.map(({ cpuCount }) =>
              forecastOf(cpuCount, q90, { flat: true }),
            );
            return decide({ ...input, forecasts });
          };
          for (const q90 of list) {
            const verdict = decided(q90);
            index.reserve(verdict.cpus, false);
            const text = verdict.reasons.find(({ passed }) => !passed)?.text ?? '';
            const offer = /up to ([\d.]+) \(0.9 quantile\) would fit now/.exec(text)?.[1];
            if (offer === undefined) continue;
            offers++;
            expect(Number(offer)).toBeLessThan(q90);
            expect(decided(Number(offer)).fits, text).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(offers).toBeGreaterThan(50);
  });
});
