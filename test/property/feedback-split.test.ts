import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildDataset } from '../../src/feedback/dataset.js';
import { type Part, splitSources } from '../../src/feedback/split.js';
import type { Run } from '../../src/history/records.js';
import { madeRuns } from '../support/training-runs.js';

const ORDER: readonly Part[] = ['training', 'validation', 'test'];

const sources = fc.uniqueArray(
  fc.record({
    source: fc.string({ minLength: 1, maxLength: 8 }),
    firstMs: fc.integer({ min: 0, max: 20 }),
    runs: fc.integer({ min: 1, max: 1000 }),
  }),
  { selector: ({ source }) => source, minLength: 3, maxLength: 40 },
);

describe('the split', () => {
  it('gives every source to one part and every part a source, whatever their sizes', () => {
    fc.assert(
      fc.property(sources, (list) => {
        const parts = splitSources(list);
        expect([...parts.keys()].sort()).toEqual(list.map(({ source }) => source).sort());
        expect(new Set(parts.values())).toEqual(new Set(ORDER));
      }),
    );
  });

  it('judges by sources that were first seen no earlier than any that taught', () => {
    fc.assert(
      fc.property(sources, (list) => {
        const parts = splitSources(list);
        for (const a of list) {
          for (const b of list) {
            const [partA, partB] = [parts.get(a.source)!, parts.get(b.source)!];
            if (ORDER.indexOf(partA) < ORDER.indexOf(partB)) expect(a.firstMs <= b.firstMs).toBe(true);
          }
        }
      }),
    );
  });

  it('does not depend on the order in which sources are given', () => {
    fc.assert(
      fc.property(sources, (list) => {
        expect(new Map([...splitSources(list)].sort())).toEqual(
          new Map([...splitSources(list.toReversed())].sort()),
        );
      }),
    );
  });

  it('holds out about 15 % of the runs for each of validation and test when sources are small', () => {
    const list = Array.from({ length: 100 }, (_, i) => ({ source: `s${i}`, firstMs: i, runs: 10 }));
    const parts = [...splitSources(list).values()];
    expect(parts.filter((part) => part === 'test')).toHaveLength(15);
    expect(parts.filter((part) => part === 'validation')).toHaveLength(15);
  });
});

describe('the dataset', () => {
  it('leaks neither a source nor a run from one part into another', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 1e6 }),
        fc.integer({ min: 3, max: 9 }),
        fc.constantFrom<Run['origin']>('calibration', 'live', 'vod'),
        async (seed, count, origin) => {
          const runs = madeRuns({ seed, sources: count, runsPerSource: 7, origin, samples: 6 });
          const { training, validation, test } = await buildDataset(shuffled(runs, seed), { seed });
          const sourceOf = new Map(runs.map(({ id, source }) => [id, source]));
          const seen = [training, validation, test].map(
            ({ rows }) => new Set(rows.map(({ runId }) => sourceOf.get(runId)!)),
          );
          expect(seen.every(({ size }) => size > 0)).toBe(true);
          expect(new Set(seen.flatMap((names) => [...names])).size).toBe(
            seen.reduce((sum, { size }) => sum + size, 0),
          );
        },
      ),
      { numRuns: 30 },
    );
  });
});

function shuffled<T>(items: readonly T[], seed: number): T[] {
  return items
    .map((item, i) => ({ item, key: Math.imul(i + 1, seed * 2 + 0x9e3779b1) >>> 0 }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
