import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OccupancyIndex, place } from '../../src/reservation/allocator.js';
import {
  type Ask,
  type Concession,
  defragment,
  preempt,
  type Tenant,
} from '../../src/reservation/allocator-make-room.js';
import type { CpuShare } from '../../src/reservation/reservation.js';
import type { Topology } from '../../src/topology/topology.js';
import { arbitraryTopology, regularTopology } from '../support/topology-of.js';

const SMT_MILLI = 1300;
const FOUR_CORES = regularTopology({ nodes: 1, l3sPerNode: 1, coresPerL3: 4, threads: 1 });

function tenant(id: string, cpus: Readonly<Record<number, number>>, more: Partial<Tenant> = {}): Tenant {
  return {
    id,
    cpus: Object.entries(cpus).map(([cpu, shareMilli]) => ({ cpu: Number(cpu), shareMilli })),
    exclusive: false,
    channelClass: 'vod',
    priority: 50,
    createdMs: 0,
    yields: 'pause' as const,
    ...more,
  };
}

function stubborn({ yields: _, ...tenant }: Tenant): Tenant {
  return tenant;
}

function indexWith(topology: Topology, tenants: readonly Tenant[]): OccupancyIndex {
  const index = new OccupancyIndex(topology, SMT_MILLI);
  for (const { cpus, exclusive } of tenants) index.reserve(cpus, exclusive);
  return index;
}

/** A live channel of these shares. */
function wants(index: OccupancyIndex, sharesMilli: readonly number[], exclusive = false) {
  const ask: Ask = () => {
    const found = place(index, { sharesMilli, exclusive, channelClass: 'live', smtCoreMilli: SMT_MILLI });
    return found.ok
      ? { fits: true, cpus: found.cpus, missing: 0 }
      : { fits: false, cpus: [], missing: found.explain().missingMilli };
  };
  return { exclusive, ask };
}

const said = (concessions: readonly Concession[] | undefined) =>
  concessions?.map(({ tenant: { id }, way, cpus }) => `${id} ${way} ${cpus.map(({ cpu }) => cpu)}`);

describe('preemption', () => {
  it.each([
    {
      description: 'the lowest priority gives way',
      tenants: [
        tenant('a', { 0: 1000, 1: 1000 }, { priority: 60 }),
        tenant('b', { 2: 1000, 3: 1000 }, { priority: 40 }),
      ],
      shares: [1000, 1000],
      expected: ['b pause '],
    },
    {
      description: 'of one priority the youngest gives way',
      tenants: [
        tenant('a', { 0: 1000, 1: 1000 }, { createdMs: 9 }),
        tenant('b', { 2: 1000, 3: 1000 }, { createdMs: 5 }),
      ],
      shares: [1000, 1000],
      expected: ['a pause '],
    },
    {
      description: 'nobody who is not needed gives way: the youngest is too small to help',
      tenants: [
        tenant('a', { 0: 1000, 1: 1000, 2: 1000 }, { createdMs: 1 }),
        tenant('b', { 3: 1000 }, { createdMs: 2 }),
      ],
      shares: [1000, 1000, 1000],
      expected: ['a pause '],
    },
    {
      description: 'a victim shrinks to what is left rather than being paused',
      tenants: [tenant('a', { 0: 1000, 1: 1000, 2: 1000, 3: 1000 })],
      shares: [1000],
      expected: ['a shrink 1,2,3'],
    },
    {
      description: 'who cannot be stopped is left alone where nothing else would do',
      tenants: [
        stubborn(tenant('a', { 0: 1000, 1: 1000 }, { priority: 1 })),
        tenant('b', { 2: 1000, 3: 1000 }),
      ],
      shares: [1000, 1000],
      expected: ['b pause '],
    },
    {
      description: 'nothing is given when all of it would not do',
      tenants: [tenant('a', { 0: 1000, 1: 1000 })],
      shares: [1000, 1000, 1000, 1000, 1000],
      expected: undefined,
    },
  ])('$description', ({ tenants, shares, expected }) => {
    const index = indexWith(FOUR_CORES, tenants);
    const free = [...index.free];
    expect(said(preempt(index, tenants, wants(index, shares)))).toEqual(expected);
    expect([...index.free], 'the index is as it was').toEqual(free);
  });

  it('pauses all victims when it is the load that is too high', () => {
    const tenants = [tenant('a', { 0: 1000, 1: 1000, 2: 1000, 3: 1000 })];
    const index = indexWith(FOUR_CORES, tenants);
    expect(said(preempt(index, tenants, wants(index, [1000]), false))).toEqual(['a pause ']);
  });
});

describe('defragmentation', () => {
  it('moves one small channel out of the way of a request for a whole core', () => {
    const tenants = [0, 1, 2, 3].map((cpu) =>
      tenant(`t${cpu}`, { [cpu]: 300 + cpu }, { channelClass: 'live' }),
    );
    const index = indexWith(FOUR_CORES, tenants);
    const free = [...index.free];
    const moves = defragment(index, tenants, wants(index, [1000]), { migrations: 1, tries: 99 });
    expect(moves).toHaveLength(1);
    expect(moves![0]).toMatchObject({ tenant: { id: 't0' }, way: 'move' });
    expect(index.free).toEqual(Int32Array.from(free));
  });

  it('moves no more than its budget allows', () => {
    const tenants = [0, 1, 2, 3].map((cpu) => tenant(`t${cpu}`, { [cpu]: 400 }, { channelClass: 'live' }));
    const index = indexWith(FOUR_CORES, tenants);
    expect(
      defragment(index, tenants, wants(index, [1000, 1000]), { migrations: 1, tries: 99 }),
    ).toBeUndefined();
    expect(defragment(index, tenants, wants(index, [1000, 1000]), { migrations: 2, tries: 99 })).toHaveLength(
      2,
    );
    expect(
      defragment(index, tenants, wants(index, [1000, 1000]), { migrations: 2, tries: 1 }),
    ).toBeUndefined();
  });
});

const share = fc.integer({ min: 1, max: 20 }).map((twentieths) => twentieths * 50);
const scene = fc.record({
  topology: arbitraryTopology(6),
  shares: fc.array(fc.tuple(fc.array(share, { minLength: 1, maxLength: 3 }), fc.nat(2), fc.boolean()), {
    minLength: 2,
    maxLength: 6,
  }),
  wanted: fc.array(share, { minLength: 1, maxLength: 4 }),
});

function settle(topology: Topology, shares: readonly (readonly [number[], number, boolean])[]) {
  const index = new OccupancyIndex(topology, SMT_MILLI);
  const tenants: Tenant[] = [];
  for (const [sharesMilli, priority, pausable] of shares) {
    const request = { sharesMilli, exclusive: false, channelClass: 'vod', smtCoreMilli: SMT_MILLI } as const;
    const found = place(index, request);
    if (!found.ok) continue;
    const createdMs = tenants.length;
    tenants.push({
      id: `t${createdMs}`,
      cpus: found.cpus,
      exclusive: false,
      channelClass: 'vod',
      priority,
      createdMs,
      ...(pausable ? { yields: 'pause' as const } : {}),
    });
    index.reserve(found.cpus, false);
  }
  return { index, tenants };
}

function without<T>(index: OccupancyIndex, away: readonly { cpus: readonly CpuShare[] }[], look: () => T): T {
  for (const { cpus } of away) index.release(cpus, false);
  try {
    return look();
  } finally {
    for (const { cpus } of away) index.reserve(cpus, false);
  }
}

/** Every subset. */
function* subsets<T>(list: readonly T[]): Generator<T[]> {
  for (let bits = 0; bits < 1 << list.length; bits++) yield list.filter((_, i) => (bits >> i) & 1);
}

describe('against every set of victims there is', () => {
  it('preemption makes room whenever pausing could, hurts no higher priority than it must and nobody in vain', () => {
    let made = 0;
    fc.assert(
      fc.property(scene, ({ topology, shares, wanted }) => {
        const { index, tenants: all } = settle(topology, shares);
        const tenants = all.map((one) => ({ ...one, yields: 'pause' as const }));
        const request = wants(index, wanted);
        if (request.ask([]).fits) return;
        const fits = (away: readonly Tenant[]) => without(index, away, () => request.ask(away).fits);
        const worst = (away: readonly Tenant[]) => Math.max(...away.map(({ priority }) => priority));
        const sets = [...subsets(tenants)].filter((away) => away.length > 0 && fits(away));
        const found = preempt(index, tenants, request, false);
        expect(found !== undefined).toBe(sets.length > 0);
        if (found === undefined) return;
        made++;
        const victims = found.map(({ tenant: one }) => one);
        expect(worst(victims)).toBe(Math.min(...sets.map(worst)));
        for (const spared of victims) expect(fits(victims.filter((one) => one !== spared))).toBe(false);
      }),
      { numRuns: 300 },
    );
    expect(made).toBeGreaterThan(30);
  });

  it('after the concessions the request fits, nobody lost more than was said, and no CPU is over its capacity', () => {
    fc.assert(
      fc.property(scene, fc.nat(4), ({ topology, shares, wanted }, migrations) => {
        const { index, tenants } = settle(topology, shares);
        const request = wants(index, wanted);
        if (request.ask([]).fits) return;
        for (const given of [
          defragment(index, tenants, request, { migrations, tries: 200 }),
          preempt(index, tenants, request),
        ]) {
          if (given === undefined) continue;
          const moved = index.emptied();
          const after = new OccupancyIndex(topology, SMT_MILLI);
          expect(moved.reservedMilli).toBe(0);
          for (const one of tenants) {
            after.reserve(given.find(({ tenant: { id } }) => id === one.id)?.cpus ?? one.cpus, false);
          }
          for (const [cpu, milli] of after.milli) expect(milli, `CPU ${cpu}`).toBeLessThanOrEqual(1000);
          expect(wants(after, wanted).ask([]).fits).toBe(true);
          for (const { tenant: one, way, cpus } of given) {
            if (way === 'pause') expect(one.yields).toBe('pause');
            if (way === 'move') expect(total(cpus)).toBe(total(one.cpus));
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

function total(cpus: readonly CpuShare[]): number {
  return cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
}
