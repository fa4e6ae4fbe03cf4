import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeForecast, spreadOverCores } from '../../src/forecast/decode.js';
import { HORIZONS } from '../../src/forecast/forecast.js';
import { demandByHorizon } from '../../src/forecast/horizon-demand.js';
import { OUTPUTS, TARGETS_PER_HORIZON } from '../../src/forecast/network.js';
import { faultsOf, IDLE_HOST } from '../support/forecast-signatures.js';

const context = { modelId: 'm', cpuCount: 4, expectedCores: 2, notes: [] };

describe('decodeForecast', () => {
  it('reads log ratios as cores, knots as ranks and the last triple as host load', () => {
    const row = new Float32Array(OUTPUTS);
    for (let h = 0; h < HORIZONS.length; h++) {
      const triples = [
        [Math.log(1), Math.log(1.5), Math.log(2)],
        [0.8, 0.9, 1.0],
        [0.6, 0.7, 0.8],
        [0.4, 0.5, 0.6],
        [0.2, 0.3, 0.4],
        [0.3, 0.4, 0.5],
      ];
      row.set(triples.flat(), h * TARGETS_PER_HORIZON * 3);
    }
    const { demand, coreUsage, hostLoad } = decodeForecast(row, context).horizons[2]!;
    expect([demand.q50, demand.q90, demand.q99].map((x) => Number(x.toFixed(5)))).toEqual([2, 3, 4]);
    expect(coreUsage.map(({ q50 }) => Number(q50.toFixed(5)))).toEqual([0.8, 0.6, 0.4, 0.2]);
    expect(hostLoad.q90).toBeCloseTo(0.4, 6);
  });

  it('makes an orderly forecast of any finite numbers and any number of CPUs', () => {
    const value = fc.oneof(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ min: -3, max: 3, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.array(value, { minLength: OUTPUTS, maxLength: OUTPUTS }),
        fc.integer({ min: 1, max: 300 }),
        (numbers, cpuCount) => {
          const forecast = decodeForecast(Float32Array.from(numbers), { ...context, cpuCount });
          expect(faultsOf(forecast)).toEqual([]);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('spreadOverCores', () => {
  it('adds up to the demand, or to all CPUs where the demand is more', () => {
    const cores = fc.double({ min: 0.001, max: 100, noNaN: true });
    fc.assert(
      fc.property(cores, fc.integer({ min: 1, max: 64 }), (demand, cpuCount) => {
        const usage = spreadOverCores({ q50: demand, q90: demand * 1.5, q99: demand * 2 }, cpuCount);
        const total = usage.reduce((sum, { q50 }) => sum + q50, 0);
        expect(total).toBeCloseTo(Math.min(demand, cpuCount), 6);
      }),
    );
  });
});

describe('demandByHorizon', () => {
  it('means the samples of each horizon and knows nothing of one that was not reached', () => {
    const sample = (atS: number, demandCores: number) => ({
      atS,
      demandCores,
      coreUsage: [],
      hostLoad: 0,
      ingressBps: 0,
      speed: 1,
      host: IDLE_HOST,
    });
    expect(demandByHorizon([sample(5, 1), sample(10, 2), sample(15, 4), sample(20, Number.NaN)])).toEqual([
      1.5,
      4,
      undefined,
    ]);
  });
});
