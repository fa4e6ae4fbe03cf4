import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { allocate } from '../../src/reservation/allocator.js';
import { withPools } from '../../src/reservation/pools.js';
import type { ChannelClass } from '../../src/reservation/reservation.js';
import { EMPTY, topologyOf } from '../support/topology-of.js';

/** Two performance cores with siblings, four efficiency cores. */
const HYBRID = topologyOf([
  { cpus: [0, 1] },
  { cpus: [2, 3] },
  ...[4, 5, 6, 7].map((cpu) => ({ cpus: [cpu], kind: 'efficiency' as const })),
]);
const REGULAR = topologyOf([0, 1, 2, 3].map((cpu) => ({ cpus: [cpu] })));

function place(topology: typeof HYBRID, channelClass: ChannelClass, count: number) {
  const sharesMilli = new Array<number>(count).fill(650);
  return allocate(topology, EMPTY, { sharesMilli, exclusive: false, channelClass, smtCoreMilli: 1300 });
}

describe('pools', () => {
  it('give live the performance cores and VOD the efficiency cores, and nobody the others', () => {
    const topology = withPools(HYBRID, { live: 'performance', vod: 'efficiency' });
    expect(topology.pools).toEqual({ live: [0, 1, 2, 3], vod: [4, 5, 6, 7] });
    for (const [channelClass, pool] of [
      ['live', [0, 1, 2, 3]],
      ['vod', [4, 5, 6, 7]],
    ] as const) {
      const most = place(topology, channelClass, 4);
      expect(most.ok && most.cpus.map(({ cpu }) => cpu)).toEqual(pool);
      const more = place(topology, channelClass, 5);
      expect(more).toMatchObject({ ok: false, constraint: 'cpus' });
      expect(!more.ok && more.text).toContain(`of its class's pool: CPUs ${pool[0]}-${pool.at(-1)}`);
    }
  });

  it('are no limit by kind on a host with one kind of core', () => {
    expect(withPools(REGULAR, { live: 'performance', vod: 'efficiency' })).toBe(REGULAR);
  });

  it('part no siblings: a core is in a pool with all of its CPUs', () => {
    const topology = withPools(HYBRID, { live: 'any', vod: '1-4' });
    const found = place(topology, 'vod', 3);
    expect(found.ok && found.cpus.map(({ cpu }) => cpu)).toEqual([2, 3, 4]);
    expect(place(topology, 'vod', 4).ok).toBe(false);
    expect(place(topology, 'live', 8).ok).toBe(true);
  });

  it('refuse all where a list names nothing that can be reserved, and say so', () => {
    const found = place(withPools(REGULAR, { live: '64-95', vod: 'any' }), 'live', 1);
    expect(!found.ok && found.text).toContain('no CPU that can be reserved');
  });

  it('are checked when the configuration is read', () => {
    expect(parseConfig('[pools]\nlive = "performance"\nvod = "8-15"').problems).toEqual([]);
    for (const bad of ['fast', '', '8-']) {
      const { problems } = parseConfig(`[pools]\nvod = "${bad}"`);
      expect(problems.map(({ field }) => field)).toEqual(['pools.vod']);
      expect(problems[0]?.description).toContain('"performance"');
    }
  });
});
