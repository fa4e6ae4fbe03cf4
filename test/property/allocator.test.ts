import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocate, OccupancyIndex, type Placement, reallocate } from '../../src/reservation/allocator.js';
import { SCORE } from '../../src/reservation/allocator-score.js';
import { type Occupancy, occupancyOf } from '../../src/reservation/occupancy.js';
import type { CpuShare, Reservation } from '../../src/reservation/reservation.js';
import type { Topology } from '../../src/topology/topology.js';
import { bruteForce, capacityOf } from '../support/brute-force.js';
import { arbitraryTopology, regularTopology } from '../support/topology-of.js';

/** More for a night: CORECAST_PROPERTY_RUNS=20000. */
const RUNS = Number(process.env['CORECAST_PROPERTY_RUNS'] ?? 400);

const share = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(100, 300, 500, 650, 1000));
const request = (most: number) =>
  fc.record({
    sharesMilli: fc.array(share, { minLength: 1, maxLength: most }),
    exclusive: fc.boolean(),
    channelClass: fc.constantFrom('live' as const, 'vod' as const),
    smtCoreMilli: fc.constantFrom(1000, 1300, 1300, 1301, 2000),
  });

/** A host with some of it taken: each CPU by a share, some cores whole. */
const host = (most: number) =>
  arbitraryTopology(most).chain((topology) =>
    fc
      .record({
        taken: fc.array(
          fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 900 })),
          {
            minLength: topology.schedulable.length,
            maxLength: topology.schedulable.length,
          },
        ),
        owned: fc.array(fc.nat(topology.cpus.length - 1), { maxLength: 1 }),
        pools: fc.option(fc.record({ live: cpusOf(topology), vod: cpusOf(topology) }), { freq: 2 }),
      })
      .map(({ taken, owned, pools }): { topology: Topology; occupancy: Occupancy } => ({
        topology: pools === null ? topology : { ...topology, pools },
        occupancy: occupancyFrom(topology, taken, owned),
      })),
  );

const cpusOf = ({ schedulable }: Topology) => fc.subarray([...schedulable]);

function occupancyFrom(topology: Topology, taken: readonly number[], owned: readonly number[]): Occupancy {
  const milli = new Map(
    topology.schedulable.flatMap((cpu, i): [number, number][] => (taken[i] ? [[cpu, taken[i]]] : [])),
  );
  const cores = new Set(owned.map((at) => topology.cpus[at]!.core));
  const exclusive = topology.cpus.filter(({ core }) => cores.has(core)).map(({ cpu }) => cpu);
  return { milli, exclusive: new Set(exclusive) };
}

function assertRules(
  topology: Topology,
  occupancy: Occupancy,
  smtCoreMilli: number,
  placement: Placement,
  pool?: readonly number[],
): void {
  const milli = new Map(occupancy.milli);
  for (const { cpu, shareMilli } of placement.cpus) {
    expect(topology.schedulable).toContain(cpu);
    expect(occupancy.exclusive.has(cpu)).toBe(false);
    if (pool !== undefined) expect(pool).toContain(cpu);
    expect(shareMilli).toBeGreaterThanOrEqual(1);
    milli.set(cpu, (milli.get(cpu) ?? 0) + shareMilli);
    expect(milli.get(cpu)).toBeLessThanOrEqual(1000);
  }
  expect(new Set(placement.cpus.map(({ cpu }) => cpu)).size).toBe(placement.cpus.length);
  const touched = new Set(placement.cpus.map(({ cpu }) => topology.cpus.find((c) => c.cpu === cpu)!.core));
  for (const core of touched) {
    const members = topology.cpus.filter((cpu) => cpu.core === core);
    const usable = members.filter(({ cpu }) => topology.schedulable.includes(cpu));
    const sum = usable.reduce((all, { cpu }) => all + (milli.get(cpu) ?? 0), 0);
    expect(sum).toBeLessThanOrEqual(capacityOf(usable.length, members.length, smtCoreMilli));
  }
}

describe('a placement', () => {
  it(
    'is found exactly when brute force finds one, keeps every rule, and scores as well',
    () => {
      let placed = 0;
      fc.assert(
        fc.property(host(8), request(5), ({ topology, occupancy }, wanted) => {
          const found = allocate(topology, occupancy, wanted);
          const best = bruteForce(topology, occupancy, wanted);
          expect(found.ok).toBe(best !== undefined);
          if (!found.ok || best === undefined) return;
          placed++;
          expect(SCORE.map((name) => found.score[name])).toEqual(best);
          assertRules(topology, occupancy, wanted.smtCoreMilli, found, topology.pools?.[wanted.channelClass]);
          if (wanted.exclusive) return;
          const given = found.cpus.map(({ shareMilli }) => shareMilli).sort((a, b) => b - a);
          expect(given).toEqual([...wanted.sharesMilli].sort((a, b) => b - a));
        }),
        { numRuns: RUNS },
      );
      expect(placed).toBeGreaterThan(50);
    },
    60_000 + RUNS * 10,
  );

  it('that stays near its present CPUs moves as few as brute force can', () => {
    const current = fc.array(fc.nat(7), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(host(8), request(4), current, ({ topology, occupancy }, wanted, at) => {
        const prefer = [...new Set(at.map((i) => topology.cpus[i % topology.cpus.length]!.cpu))];
        const now = prefer.map((cpu) => ({ cpu, shareMilli: 500 }));
        const found = reallocate(topology, occupancy, now, wanted);
        const best = bruteForce(topology, occupancy, { ...wanted, prefer });
        expect(found.ok).toBe(best !== undefined);
        if (!found.ok || best === undefined) return;
        expect(SCORE.map((name) => found.score[name])).toEqual(best);
      }),
      { numRuns: 100 },
    );
  });

  it('is found where one was planted on 16 SMT cores, even when it fills them to the last thousandth', () => {
    const topology = regularTopology({ nodes: 2, l3sPerNode: 2, coresPerL3: 4, threads: 2 });
    const pair = fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1000 }));
    fc.assert(
      fc.property(
        fc.array(pair, { minLength: 16, maxLength: 16 }),
        fc.nat(),
        fc.boolean(),
        (pairs, seed, all) => {
          const planted: number[] = [];
          const milli = new Map<number, number>();
          for (const [core, [a, b]] of pairs.entries()) {
            // Two shares that fit the core together, the rest of it taken by others.
            const [x, y] = [a, Math.max(1, Math.min(b, 1300 - a))];
            const left = 1300 - x - y;
            planted.push(x, y);
            milli.set(core, Math.min(1000 - x, left));
            milli.set(core + 16, Math.min(1000 - y, left - milli.get(core)!));
          }
          const some = planted.filter((_, i) => all || ((seed >> (i % 30)) & 1) === 1 || i < 2);
          const wanted = {
            sharesMilli: some,
            exclusive: false,
            channelClass: 'live' as const,
            smtCoreMilli: 1300,
          };
          const found = allocate(topology, { milli, exclusive: new Set() }, wanted);
          expect(found.ok).toBe(true);
          if (found.ok) assertRules(topology, { milli, exclusive: new Set() }, 1300, found);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('a shortfall', () => {
  it('is proved, and the largest request that it names fits while one thousandth more of each does not', () => {
    fc.assert(
      fc.property(host(8), request(5), ({ topology, occupancy }, wanted) => {
        const found = allocate(topology, occupancy, wanted);
        if (found.ok) return;
        expect(found.proved).toBe(true);
        expect(found.missingMilli).toBeGreaterThan(0);
        if (found.largestMilli.length === 0) return;
        const smaller = { ...wanted, sharesMilli: found.largestMilli };
        expect(allocate(topology, occupancy, smaller).ok).toBe(true);
        if (found.largestMilli.every((milli) => milli < 1000)) {
          const larger = { ...wanted, sharesMilli: found.largestMilli.map((milli) => milli + 1) };
          expect(bruteForce(topology, occupancy, larger)).toBeUndefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a run of reservations and releases', () => {
  const steps = fc.array(fc.record({ wanted: request(4), release: fc.nat(20) }), {
    minLength: 5,
    maxLength: 30,
  });

  it('leaves reserved + free = schedulable, exclusive cores unshared, and the index equal to a recount', () => {
    fc.assert(
      fc.property(arbitraryTopology(12), steps, (topology, run) => {
        const index = new OccupancyIndex(topology, 1300);
        const held: Reservation[] = [];
        for (const { wanted, release } of run) {
          const found = allocate(topology, index, { ...wanted, smtCoreMilli: 1300 });
          if (found.ok) {
            held.push(reservation(found.cpus, wanted.exclusive));
            index.reserve(found.cpus, wanted.exclusive);
          } else if (held.length > 0) {
            const [gone] = held.splice(release % held.length, 1);
            index.release(gone!.cpus, gone!.exclusive);
          }
          assertAccounts(topology, index, held);
        }
        for (const one of held) index.release(one.cpus, one.exclusive);
        expect(index.freeMilli).toBe(index.capacityMilli);
        expect(index.milli.size + index.exclusive.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

function assertAccounts(topology: Topology, index: OccupancyIndex, held: readonly Reservation[]): void {
  const counted = occupancyOf(held, topology);
  expect(new Map(index.milli)).toEqual(counted.milli);
  const schedulable = new Set(topology.schedulable);
  const usable = (cpus: Iterable<number>) => [...cpus].filter((cpu) => schedulable.has(cpu)).sort();
  expect(usable(index.exclusive)).toEqual(usable(counted.exclusive));
  const recount = OccupancyIndex.of(topology, counted, 1300);
  expect(recount.free).toEqual(index.free);
  expect(recount.room).toEqual(index.room);
  expect(recount.cellFree).toEqual(index.cellFree);
  expect(recount.l3Free).toEqual(index.l3Free);
  expect(boundsOf(index)).toEqual(boundsOf(recount));
  expect(recount.freeMilli).toBe(index.freeMilli);
  expect(recount.reservedMilli).toBe(index.reservedMilli);
  for (const cpu of topology.cpus) {
    const slot = index.host.slotOf.get(cpu.cpu);
    if (slot === undefined) expect(index.milli.has(cpu.cpu)).toBe(false);
    else if (!index.exclusive.has(cpu.cpu)) {
      expect((index.milli.get(cpu.cpu) ?? 0) + index.free[slot]!).toBe(1000);
    }
  }
  const owners = held.filter(({ exclusive }) => exclusive);
  for (const owner of owners) {
    const cores = new Set(owner.cpus.map(({ cpu }) => topology.cpus.find((c) => c.cpu === cpu)!.core));
    for (const other of held) {
      if (other === owner) continue;
      for (const { cpu } of other.cpus) {
        expect(cores.has(topology.cpus.find((c) => c.cpu === cpu)!.core)).toBe(false);
      }
    }
  }
}

/** For each cell, shared and whole: how many shares of each size it may hold. */
function boundsOf({ host, bounds }: OccupancyIndex): number[] {
  const sizes = [1, 24, 25, 300, 650, 1000];
  return host.allCells.flatMap((cell) =>
    [false, true].flatMap((whole) =>
      sizes.map((size) => {
        let count = 0;
        while (bounds.mayHold([cell], new Array<number>(count + 1).fill(size), whole)) count++;
        return count;
      }),
    ),
  );
}

let serial = 0;
function reservation(cpus: readonly CpuShare[], exclusive: boolean): Reservation {
  serial++;
  return {
    id: `r${serial}`,
    state: 'ACTIVE',
    token: serial,
    name: '',
    channelClass: 'live',
    priority: 50,
    exclusive,
    cpus,
    createdMs: 0,
    changedMs: 0,
    deadlineMs: 0,
    decisionId: '',
    rung: 0,
    ladderRungs: 0,
    uid: 0,
    reason: '',
  };
}
