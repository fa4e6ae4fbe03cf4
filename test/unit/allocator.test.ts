import { describe, expect, it } from 'vitest';
import { parseCpuset } from '../../src/lib/cpuset.js';
import { isCorecastError } from '../../src/lib/errors.js';
import {
  type AllocationRequest,
  allocate,
  OccupancyIndex,
  reallocate,
} from '../../src/reservation/allocator.js';
import type { Occupancy } from '../../src/reservation/occupancy.js';
import { EMPTY, occupied, regularTopology, topologyOf } from '../support/topology-of.js';

/** 2 nodes of 2 L3s of 2 cores; siblings 8 apart: L3s hold CPUs 0-1,8-9 2-3,10-11 4-5,12-13 6-7,14-15. */
const SMT = regularTopology({ nodes: 2, l3sPerNode: 2, coresPerL3: 2, threads: 2 });
/** One L3: two performance cores with siblings (CPUs 0-3), four efficiency cores (4-7). */
const HYBRID = topologyOf([
  { cpus: [0, 1] },
  { cpus: [2, 3] },
  ...[4, 5, 6, 7].map((cpu) => ({ cpus: [cpu], kind: 'efficiency' as const })),
]);
/** Four cores without siblings, two L3s in one node. */
const PLAIN = regularTopology({ nodes: 1, l3sPerNode: 2, coresPerL3: 2, threads: 1 });

function wanted(sharesMilli: readonly number[], more: Partial<AllocationRequest> = {}): AllocationRequest {
  return { sharesMilli, exclusive: false, channelClass: 'live', smtCoreMilli: 1300, ...more };
}

const allTaken = (list: string, milli: number) =>
  Object.fromEntries(parseCpuset(list).map((cpu) => [cpu, milli]));

describe('allocate', () => {
  const table: readonly [string, typeof SMT, Occupancy, AllocationRequest, Record<number, number>][] = [
    ['an empty host gives the first CPU', SMT, EMPTY, wanted([300]), { 0: 300 }],
    ['two small shares go to both siblings of one core', SMT, EMPTY, wanted([600, 500]), { 0: 600, 8: 500 }],
    [
      'two shares beyond what siblings hold together go to two cores of one L3',
      SMT,
      EMPTY,
      wanted([900, 900]),
      { 0: 900, 1: 900 },
    ],
    ['the fullest L3 with room is filled first', SMT, occupied({ 4: 500 }), wanted([400]), { 4: 400 }],
    [
      'the fullest core and CPU of it come first, so that whole ones stay whole',
      PLAIN,
      occupied({ 0: 300, 1: 500 }),
      wanted([500]),
      { 1: 500 },
    ],
    [
      'one L3 is worth more than a fuller place',
      PLAIN,
      occupied({ 0: 600 }),
      wanted([700, 700]),
      { 2: 700, 3: 700 },
    ],
    [
      'one NUMA node is worth more than a fuller place',
      SMT,
      occupied({ ...allTaken('0', 1000), ...allTaken('8', 300) }),
      wanted([1000, 1000, 1000, 1000]),
      { 4: 1000, 5: 1000, 6: 1000, 7: 1000 },
    ],
    [
      'what fits no L3 and no node is spread over the host',
      PLAIN,
      occupied({ 1: 900, 2: 900 }),
      wanted([1000, 1000]),
      { 0: 1000, 3: 1000 },
    ],
    ['live goes to performance cores', HYBRID, EMPTY, wanted([900]), { 0: 900 }],
    [
      'live goes to a performance core though an efficiency core is fuller',
      HYBRID,
      occupied({ 4: 500 }),
      wanted([400]),
      { 0: 400 },
    ],
    ['VOD goes to efficiency cores', HYBRID, EMPTY, wanted([1000], { channelClass: 'vod' }), { 4: 1000 }],
    [
      'live takes efficiency cores when the others are full',
      HYBRID,
      occupied({ 0: 1000, 1: 300, 2: 1000, 3: 300 }),
      wanted([400]),
      { 4: 400 },
    ],
    [
      'exclusive takes a whole core with its siblings and all its capacity',
      SMT,
      EMPTY,
      wanted([300], { exclusive: true }),
      { 0: 650, 8: 650 },
    ],
    [
      'exclusive takes as many cores as hold its shares',
      SMT,
      occupied({ 0: 1 }),
      wanted([900, 900], { exclusive: true }),
      { 2: 650, 3: 650, 10: 650, 11: 650 },
    ],
    [
      'CPUs of an exclusive reservation are not shared',
      PLAIN,
      occupied({ 0: 1000 }, [0]),
      wanted([100]),
      { 1: 100 },
    ],
    [
      'a share meets the room that is left exactly',
      PLAIN,
      occupied(allTaken('0-3', 900)),
      wanted([100, 100, 100, 100]),
      { 0: 100, 1: 100, 2: 100, 3: 100 },
    ],
  ];
  it.each(table)('%s', (_, topology, from, request, expected) => {
    const found = allocate(topology, from, request);
    expect(
      found.ok && Object.fromEntries(found.cpus.map(({ cpu, shareMilli }) => [cpu, shareMilli])),
    ).toEqual(expected);
  });

  it('says where it placed, in words', () => {
    const found = allocate(SMT, EMPTY, wanted([900, 900]));
    expect(found.ok && found.why).toBe('CPUs 0-1 on 2 cores of one L3 and one NUMA node');
    const slow = allocate(HYBRID, occupied(allTaken('0-3', 650)), wanted([400]));
    expect(slow.ok && slow.why).toBe(
      'CPU 4 on one core of one L3 and one NUMA node (1 on efficiency cores, for want of the other kind)',
    );
  });

  it('never gives offline or housekeeping CPUs, nor the core of one as exclusive', () => {
    const topology = topologyOf([{ cpus: [0, 1] }, { cpus: [2, 3] }, { cpus: [4, 5] }], {
      offline: [3],
      housekeeping: [0],
    });
    const shared = allocate(topology, EMPTY, wanted([300, 300, 300, 300]));
    expect(shared.ok && shared.cpus.map(({ cpu }) => cpu)).toEqual([1, 2, 4, 5]);
    const owned = allocate(topology, EMPTY, wanted([900, 900], { exclusive: true }));
    expect(owned.ok && owned.cpus).toEqual([
      { cpu: 2, shareMilli: 1000 },
      { cpu: 4, shareMilli: 650 },
      { cpu: 5, shareMilli: 650 },
    ]);
    expect(allocate(topology, EMPTY, wanted([900, 900, 900], { exclusive: true })).ok).toBe(false);
  });

  it.each([[[]], [[0]], [[1001]], [[1.5]], [[Number.NaN]]])('refuses shares %j by name', (shares) => {
    let thrown: unknown;
    try {
      allocate(PLAIN, EMPTY, wanted(shares));
    } catch (error) {
      thrown = error;
    }
    expect(isCorecastError(thrown, 'INVALID_ARGUMENT')).toBe(true);
    expect((thrown as Error).message).toContain('sharesMilli');
  });
});

describe('a shortfall', () => {
  it('of CPUs says how many can take anything', () => {
    const short = allocate(PLAIN, occupied(allTaken('0-1', 1000)), wanted([10, 10, 10]));
    expect(short).toMatchObject({
      ok: false,
      constraint: 'cpus',
      largestMilli: [1000, 1000],
      missingMilli: 10,
    });
    expect(!short.ok && short.text).toBe('wants 3 CPUs, but only 2 of 4 can take anything');
  });

  it('of share says what the roomiest CPUs offer and what is missing', () => {
    const short = allocate(PLAIN, occupied(allTaken('0-3', 380)), wanted([900, 600]));
    expect(short).toMatchObject({ ok: false, constraint: 'shares', missingMilli: 280, availableMilli: 1240 });
    expect(!short.ok && short.text).toBe(
      'wants 2 CPUs with 0.90 and 0.60 free, but the roomiest 2 CPUs offer 2 × 0.62',
    );
  });

  it('of core capacity names the SMT siblings', () => {
    const short = allocate(topologyOf([{ cpus: [0, 1] }]), EMPTY, wanted([900, 600]));
    expect(short).toMatchObject({
      ok: false,
      constraint: 'cores',
      missingMilli: 300,
      largestMilli: [1000, 300],
    });
    expect(!short.ok && short.text).toContain('within 1.30 for each pair of SMT siblings');
  });

  it('of whole cores counts them', () => {
    const short = allocate(SMT, occupied(allTaken('0-6', 10)), wanted([900, 900, 900], { exclusive: true }));
    expect(short).toMatchObject({ ok: false, constraint: 'whole', missingCores: 2 });
    expect(!short.ok && short.text).toBe('2 more whole free cores are needed');
  });
});

describe('reallocate', () => {
  it('stays on its CPUs when they have room, though a better place exists', () => {
    const current = [
      { cpu: 0, shareMilli: 500 },
      { cpu: 6, shareMilli: 500 },
    ];
    const found = reallocate(SMT, EMPTY, current, wanted([700, 600]));
    expect(found.ok && found.cpus.map(({ cpu }) => cpu)).toEqual([0, 6]);
    expect(found.ok && found.why).toContain('(0 new to it)');
  });

  it('grows beside what it has', () => {
    const found = reallocate(SMT, EMPTY, [{ cpu: 4, shareMilli: 900 }], wanted([900, 900, 300]));
    expect(found.ok && found.cpus.map(({ cpu }) => cpu)).toEqual([4, 5, 12]);
  });

  it('shrinks to some of what it has', () => {
    const current = [4, 5, 12].map((cpu) => ({ cpu, shareMilli: 300 }));
    const found = reallocate(SMT, EMPTY, current, wanted([300]));
    expect(found.ok && [4, 5, 12].includes(found.cpus[0]!.cpu)).toBe(true);
  });

  it('leaves CPUs that went offline', () => {
    const topology = topologyOf([{ cpus: [0] }, { cpus: [1] }, { cpus: [2] }], { offline: [1] });
    const current = [0, 1].map((cpu) => ({ cpu, shareMilli: 800 }));
    const found = reallocate(topology, EMPTY, current, wanted([800, 800]));
    expect(found.ok && found.cpus.map(({ cpu }) => cpu)).toEqual([0, 2]);
  });
});

describe('an occupancy index', () => {
  it('counts a core of SMT siblings as less than two, on a line where only some are schedulable', () => {
    const topology = topologyOf([{ cpus: [0, 1, 2, 3] }, { cpus: [4, 5, 6, 7] }], { housekeeping: [6, 7] });
    const index = new OccupancyIndex(topology, 1600);
    expect([...index.capacity]).toEqual([1600, 1200]);
    expect(index.capacityMilli).toBe(2800);
  });

  it('keeps what is reserved on CPUs that went away without counting it as reserved', () => {
    const index = OccupancyIndex.of(PLAIN, occupied({ 0: 400, 77: 500 }), 1300);
    expect(index.reservedMilli).toBe(400);
    expect(index.freeMilli).toBe(3600);
    index.release([{ cpu: 77, shareMilli: 500 }], false);
    expect(index.milli.has(77)).toBe(false);
  });

  it('never goes below zero when a release comes twice', () => {
    const index = new OccupancyIndex(PLAIN, 1300);
    index.reserve([{ cpu: 0, shareMilli: 400 }], true);
    for (let i = 0; i < 2; i++) index.release([{ cpu: 0, shareMilli: 400 }], true);
    expect(index.freeMilli).toBe(4000);
    expect(index.exclusive.size).toBe(0);
  });
});
