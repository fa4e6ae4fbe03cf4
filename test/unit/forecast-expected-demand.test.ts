import { describe, expect, it } from 'vitest';
import { costTableDemand } from '../../src/forecast/cost-table.js';
import { expectedDemand } from '../../src/forecast/expected-demand.js';
import { costTableForecast } from '../../src/forecast/fallback.js';
import { IDLE_HOST, signatureOf } from '../support/forecast-signatures.js';

const PLAIN = signatureOf();
const TABLE = costTableDemand(PLAIN);

describe('the expected demand', () => {
  it('is the cost table times the speed factor without a trial', () => {
    expect(expectedDemand(PLAIN, 1.5)).toBeCloseTo(1.5 * TABLE);
  });

  it('is what the trial took, whatever the speed factor: it ran on this host', () => {
    expect(expectedDemand(tried(2 * TABLE), 1)).toBeCloseTo(2 * TABLE);
    expect(expectedDemand(tried(2 * TABLE), 1.5)).toBeCloseTo(2 * TABLE);
  });

  it('does not follow a trial that is absurd', () => {
    expect(expectedDemand(tried(1e-9))).toBeCloseTo(TABLE / 16);
    expect(expectedDemand(tried(1e4))).toBeCloseTo(TABLE * 16);
  });

  it('is more certain with a trial, and the last resort says which it had', () => {
    const forecast = (signature: typeof PLAIN) =>
      costTableForecast({ signature, host: [IDLE_HOST], candidates: [2], schedulableCpus: 4 }, 2, 1, []);
    const spread = (signature: typeof PLAIN) => {
      const { q50, q90 } = forecast(signature).horizons[0]!.demand;
      return q90 / q50;
    };
    expect(spread(tried(TABLE))).toBeLessThan(spread(PLAIN));
    expect(forecast(tried(TABLE)).notes.join()).toContain("the channel's trial");
    expect(forecast(PLAIN).notes.join()).toContain('cost table');
  });
});

function tried(cores: number) {
  return { ...PLAIN, complexity: { probeCpuSecondsPerFrame: cores / PLAIN.input.fps } };
}
