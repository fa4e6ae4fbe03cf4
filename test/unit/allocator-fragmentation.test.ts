import { describe, expect, it } from 'vitest';
import { FURTHER_LOOKS, OccupancyIndex, place } from '../../src/reservation/allocator.js';
import { defragment, type Tenant } from '../../src/reservation/allocator-make-room.js';
import { seededRandom } from '../support/seeded-random.js';
import { regularTopology } from '../support/topology-of.js';

const SMT_MILLI = 1300;
/** 128 CPUs on 8 L3s. */
const HOST = regularTopology({ nodes: 2, l3sPerNode: 4, coresPerL3: 8, threads: 2 });
const ARRIVALS = 1_500;

interface Outcome {
  placed: number;
  /** Refused although enough is free in all. */
  fragmented: number;
  migrations: number;
}

/** Channels come and go, by seed; the host stays about five sixths full. bench/fragmentation.mjs does it for days. */
function churn(seed: number, options: { looks?: number; migrations?: number }): Outcome {
  const random = seededRandom(seed);
  const index = new OccupancyIndex(HOST, SMT_MILLI);
  const held: Tenant[] = [];
  const outcome = { placed: 0, fragmented: 0, migrations: 0 };
  for (let n = 0; n < ARRIVALS; n++) {
    const count = [1, 1, 1, 2, 4, 8][Math.floor(random() * 6)]!;
    const sharesMilli = new Array<number>(count).fill(Math.ceil(200 + 500 * random()));
    const request = { sharesMilli, exclusive: false, channelClass: 'live' as const, smtCoreMilli: SMT_MILLI };
    while (index.reservedMilli > 0.82 * index.capacityMilli) {
      const [gone] = held.splice(Math.floor(random() * held.length), 1);
      index.release(gone!.cpus, false);
    }
    const ask = () => {
      const found = place(index, request, options.looks);
      if (found.ok) return { fits: true, cpus: found.cpus, missing: 0 };
      return { fits: false, cpus: [], missing: found.explain().missingMilli };
    };
    let trial = ask();
    const budget = { migrations: options.migrations ?? 0, tries: 64 };
    const moves = trial.fits ? undefined : defragment(index, held, { exclusive: false, ask }, budget);
    for (const { tenant } of moves ?? []) index.release(tenant.cpus, false);
    for (const { tenant, cpus } of moves ?? []) {
      index.reserve(cpus, false);
      held[held.indexOf(tenant)] = { ...tenant, cpus };
      outcome.migrations++;
    }
    if (moves !== undefined) trial = ask();
    if (trial.fits) {
      outcome.placed++;
      index.reserve(trial.cpus, false);
      held.push({
        id: `c${n}`,
        cpus: trial.cpus,
        exclusive: false,
        channelClass: 'live',
        priority: 50,
        createdMs: n,
      });
    } else if (sharesMilli.reduce((a, b) => a + b) <= index.freeMilli) {
      outcome.fragmented++;
    }
  }
  return outcome;
}

describe('channels that come and go', () => {
  it('are rarely refused for want of one place, and yet more rarely when a few may move', () => {
    const alone = churn(1, {});
    const moving = churn(1, { migrations: 4 });
    expect(alone.placed + alone.fragmented).toBeGreaterThan(0.95 * ARRIVALS);
    expect(alone.fragmented).toBeLessThan(0.1 * ARRIVALS);
    expect(moving.fragmented).toBeLessThan(alone.fragmented);
    expect(moving.migrations).toBeGreaterThan(0);
    expect(moving.migrations).toBeLessThanOrEqual(4 * ARRIVALS);
  }, 60_000);

  it('lose next to nothing by the limit of places that are looked at on a large host', () => {
    const limited = churn(2, { looks: FURTHER_LOOKS });
    const all = churn(2, { looks: Number.POSITIVE_INFINITY });
    expect(Math.abs(limited.fragmented - all.fragmented)).toBeLessThan(0.02 * ARRIVALS);
  }, 60_000);
});
