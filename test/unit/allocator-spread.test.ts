import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/feedback/random.js';
import { OccupancyIndex } from '../../src/reservation/allocator.js';
import { closingOf } from '../../src/reservation/allocator-close.js';
import { lend } from '../../src/reservation/allocator-lend.js';
import {
  freeIn,
  scaled,
  segmentsOf,
  spreadAnywhere,
  spreadOver,
} from '../../src/reservation/allocator-spread.js';
import type { CpuShare } from '../../src/reservation/reservation.js';
import { plainTopology } from '../../src/simulate/corecast-inputs.js';
import { topologyOf } from '../support/topology-of.js';

const milliOf = (cpus: readonly CpuShare[]) => cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
const cpusOf = (cpus: readonly CpuShare[]) => cpus.map(({ cpu }) => cpu);
const plain = (cpus: number) => new OccupancyIndex(plainTopology(cpus), 1300);
const ask = (milli: number, cpus = 1) => ({ milli, roomMilli: milli, cpus });

describe('segments', () => {
  it('are whole L3s of one node, as many as share well', () => {
    const { host } = plain(256);
    const { all, ofCore } = segmentsOf(host, 64);
    expect(all.map(({ cores }) => cores.length)).toEqual([64, 64, 64, 64]);
    expect(ofCore[63]).toBe(0);
    expect(ofCore[64]).toBe(1);
    // An L3 of 8: two of them are more than 12, one is not.
    expect(segmentsOf(plain(32).host, 12).all.map(({ cores }) => cores.length)).toEqual([8, 8, 8, 8]);
    // Divided only when it is too large by itself.
    expect(segmentsOf(plain(8).host, 3).all.map(({ cores }) => cores.length)).toEqual([3, 3, 2]);
  });
});

describe('spreading', () => {
  it('opens no more CPUs than are needed, and uses all that are open', () => {
    const index = plain(4);
    const [segment] = segmentsOf(index.host, 64).all;
    const first = spreadOver(index, segment!, ask(600))!;
    expect(first).toEqual([{ cpu: 0, shareMilli: 600 }]);
    index.reserve(first, false);
    const second = spreadOver(index, segment!, ask(700))!;
    expect(cpusOf(second)).toEqual([0, 1]);
    expect(milliOf(second)).toBe(700);
    index.reserve(second, false);
    // 700 are free on the two that are open, in proportion to what each has.
    const third = spreadOver(index, segment!, ask(300))!;
    expect(cpusOf(third)).toEqual([0, 1]);
    expect(spreadOver(index, segment!, ask(4000))).toBeUndefined();
  });

  it('gives CPUs for as many threads as can run at once', () => {
    const index = plain(4);
    expect(spreadOver(index, segmentsOf(index.host, 64).all[0]!, ask(900, 3))).toHaveLength(3);
  });

  it('opens more where others need what they were not promised', () => {
    const index = plain(4);
    const [segment] = segmentsOf(index.host, 64).all;
    const cpus = spreadOver(index, segment!, { milli: 500, roomMilli: 2400, cpus: 1 })!;
    expect([cpus.length, milliOf(cpus)]).toEqual([3, 500]);
  });

  it('goes to the fullest segment that has room', () => {
    const index = plain(128);
    index.reserve([{ cpu: 70, shareMilli: 400 }], false);
    expect(cpusOf(spreadAnywhere(index, 64, ask(500))!)).toEqual([70]);
  });

  it('never promises more than there is, of a CPU or of a core with siblings', () => {
    const random = seededRandom(11);
    for (const siblings of [1, 2]) {
      const topology = topologyOf(
        Array.from({ length: 8 }, (_, core) => ({
          cpus: siblings === 1 ? [core] : [core, core + 8],
          l3: Math.floor(core / 4),
        })),
      );
      const index = new OccupancyIndex(topology, 1300);
      const [segment] = segmentsOf(index.host, 64).all;
      const held: (readonly CpuShare[])[] = [];
      let placed = 0;
      for (let round = 0; round < 3000; round++) {
        if (held.length > 0 && random() < 0.45) {
          index.release(held.splice(Math.floor(random() * held.length), 1)[0]!, false);
        } else {
          const milli = 1 + Math.floor(random() * (round % 7 === 0 ? 3000 : 400));
          const free = freeIn(index, segment!);
          const cpus = spreadOver(index, segment!, ask(milli));
          expect(cpus !== undefined).toBe(milli <= free);
          if (cpus === undefined) continue;
          expect(milliOf(cpus)).toBe(milli);
          expect(new Set(cpusOf(cpus)).size).toBe(cpus.length);
          index.reserve(cpus, false);
          held.push(cpus);
          placed++;
        }
        for (const [, milli] of index.milli) expect(milli).toBeLessThanOrEqual(1000);
        for (const [core, capacity] of index.capacity.entries()) {
          let taken = 0;
          for (let slot = index.host.firstSlot[core]!; slot < index.host.firstSlot[core + 1]!; slot++)
            taken += index.milli.get(index.host.cpuOf[slot]!) ?? 0;
          expect(taken).toBeLessThanOrEqual(capacity);
        }
      }
      expect(placed).toBeGreaterThan(500);
    }
  });
});

describe('lending', () => {
  it('asks those with most to spare, and leaves each what it needs', () => {
    const lender = (id: string, milli: number, keepMilli: number) => ({
      id,
      keepMilli,
      cpus: [
        { cpu: 0, shareMilli: milli / 2 },
        { cpu: 1, shareMilli: milli / 2 },
      ],
    });
    const lenders = [lender('little', 400, 380), lender('much', 800, 300), lender('none', 200, 260)];
    const some = lend(lenders, 400)!;
    expect(some.map(({ lender: { id }, cpus }) => [id, milliOf(cpus)])).toEqual([['much', 300]]);
    const more = lend(lenders, 510)!;
    expect(more.map(({ lender: { id } }) => id)).toEqual(['much', 'little']);
    expect(lend(lenders, 521)).toBeUndefined();
  });

  it('scales what each CPU gives, exactly', () => {
    const cpus = Array.from({ length: 7 }, (_, cpu) => ({ cpu, shareMilli: 10 + cpu }));
    for (const milli of [90, 50, 7, 3, 1]) expect(milliOf(scaled(cpus, milli))).toBe(milli);
    for (const { cpu, shareMilli } of scaled(cpus, 60)) expect(shareMilli).toBeLessThanOrEqual(10 + cpu);
  });
});

describe('closing cores', () => {
  it('moves channels off the least used cores while the rest has room to spare, and no further', () => {
    const index = plain(8);
    const segments = segmentsOf(index.host, 64);
    const channels = Array.from({ length: 8 }, (_, cpu) => ({
      id: `c${cpu}`,
      cpus: [{ cpu, shareMilli: 150 }] as readonly CpuShare[],
      threads: 1,
    }));
    for (const { cpus } of channels) index.reserve(cpus, false);
    let moves = 0;
    for (; moves < 50; moves++) {
      const move = closingOf(index, segments, () => channels);
      if (move === undefined) break;
      const at = channels.findIndex(({ id }) => id === move.id);
      index.release(channels[at]!.cpus, false);
      index.reserve(move.cpus, false);
      channels[at] = { ...channels[at]!, cpus: move.cpus };
    }
    // 1.2 cores on three CPUs: a third of them is 0.75 + 0.5 at the least.
    expect(moves).toBeLessThanOrEqual(10);
    expect(index.milli.size).toBe(3);
    expect([...index.milli.values()].reduce((a, b) => a + b)).toBe(1200);
  });

  it('leaves a host alone that needs its CPUs', () => {
    const index = plain(2);
    const channels = [0, 1].map((cpu) => ({ id: `${cpu}`, cpus: [{ cpu, shareMilli: 500 }], threads: 1 }));
    for (const { cpus } of channels) index.reserve(cpus, false);
    expect(closingOf(index, segmentsOf(index.host, 64), () => channels)).toBeUndefined();
  });
});
