import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildDataset } from '../../src/feedback/dataset.js';
import { PARTS, type Part, type RunMark, splitRuns, splitSources } from '../../src/feedback/split.js';
import type { Run } from '../../src/history/records.js';
import { madeRuns } from '../support/training-runs.js';

const HOUR_MS = 3_600_000;

const sources = fc.uniqueArray(
  fc.record({
    source: fc.string({ minLength: 1, maxLength: 8 }),
    firstMs: fc.integer({ min: 0, max: 20 }),
    runs: fc.integer({ min: 1, max: 1000 }),
  }),
  { selector: ({ source }) => source, minLength: 3, maxLength: 40 },
);

/** Sources of every sort: one run, many in a row, all along, calibration, both. */
const marks = fc
  .array(
    fc.record({
      source: fc.integer({ min: 0, max: 12 }).map((i) => `source-${i}`),
      channel: fc.boolean(),
      startMs: fc.integer({ min: 0, max: 30 * 24 }).map((hours) => hours * HOUR_MS),
      lastsMs: fc.integer({ min: 2_000, max: HOUR_MS }),
    }),
    { minLength: 20, maxLength: 200 },
  )
  .map((runs) => runs.map(({ lastsMs, ...run }): RunMark => ({ ...run, endMs: run.startMs + lastsMs })))
  .filter((runs) => new Set(runs.map(({ source }) => source)).size >= 3);

describe('runs', () => {
  it('of one source that are used are all in one part, and every part has some', () => {
    fc.assert(
      fc.property(marks, (runs) => {
        const { partOf } = splitRuns(runs);
        const bySource = new Map<string, Set<Part>>();
        for (const run of runs) {
          const part = partOf(run);
          if (part !== undefined)
            bySource.set(run.source, new Set([...(bySource.get(run.source) ?? []), part]));
        }
        for (const parts of bySource.values()) expect(parts.size).toBe(1);
        expect(new Set([...bySource.values()].flatMap((parts) => [...parts]))).toEqual(new Set(PARTS));
      }),
    );
  });

  it('of channels that teach have ended before any begins that validates, and those before any that judges', () => {
    let ordered = 0;
    fc.assert(
      fc.property(marks, (runs) => {
        const { partOf, timeOrdered } = splitRuns(runs);
        if (!timeOrdered) return;
        ordered++;
        const channels = runs.filter(({ channel }) => channel);
        const ends = (part: Part) => channels.filter((run) => partOf(run) === part).map(({ endMs }) => endMs);
        const starts = (part: Part) =>
          channels.filter((run) => partOf(run) === part).map(({ startMs }) => startMs);
        for (const [early, late] of [
          ['training', 'validation'],
          ['validation', 'test'],
          ['training', 'test'],
        ] as const)
          expect(Math.max(...ends(early), 0)).toBeLessThanOrEqual(
            Math.min(...starts(late), Number.MAX_VALUE),
          );
      }),
    );
    expect(ordered).toBeGreaterThan(20);
  });

  it('are split alike in whatever order they are given', () => {
    fc.assert(
      fc.property(marks, (runs) => {
        const [a, b] = [splitRuns(runs), splitRuns(runs.toReversed())];
        expect(runs.map(a.partOf)).toEqual(runs.map(b.partOf));
        expect(a.timeOrdered).toBe(b.timeOrdered);
      }),
    );
  });
});

describe('channels that restart every day for a month', () => {
  const days = Array.from({ length: 30 }, (_, day) => day);
  const daily = (channels: number) =>
    days.flatMap((day) =>
      Array.from({ length: channels }, (_, i) => mark(`channel-${i}`, day * 24 + i / channels)),
    );

  it('are held out, a third of them for each of validation and test, where nothing else is', () => {
    const runs = daily(9);
    const { partOf, timeOrdered } = splitRuns(runs);
    expect(timeOrdered).toBe(true);
    const sourcesIn = (part: Part) =>
      new Set(runs.filter((run) => partOf(run) === part).map(({ source }) => source)).size;
    expect(PARTS.map(sourcesIn)).toEqual([3, 3, 3]);
    const judged = runs.filter((run) => partOf(run) === 'test');
    expect(Math.min(...judged.map(({ startMs }) => startMs))).toBeGreaterThan(25 * 24 * HOUR_MS);
  });

  it('all teach with their older runs where newer sources judge', () => {
    const guests = days.flatMap((day) =>
      Array.from({ length: 6 }, (_, i) => mark(`event-${day}-${i}`, day * 24 + i)),
    );
    const runs = [...daily(3), ...guests];
    const { partOf } = splitRuns(runs);
    const channels = runs.filter(({ source }) => source.startsWith('channel'));
    const old = channels.filter(({ startMs }) => startMs < 20 * 24 * HOUR_MS);
    expect(new Set(old.map(partOf))).toEqual(new Set(['training']));
    expect(new Set(channels.map(partOf))).toEqual(new Set(['training', undefined]));
    expect(runs.filter((run) => partOf(run) === 'test').length).toBeGreaterThan(20);
  });
});

describe('channels that all ran at once', () => {
  it('are split by source alone, and it is said', () => {
    const runs = Array.from({ length: 30 }, (_, i) => mark(`event-${i}`, i / 1000));
    const { partOf, timeOrdered } = splitRuns(runs);
    expect(timeOrdered).toBe(false);
    expect(new Set(runs.map(partOf))).toEqual(new Set(PARTS));
  });
});

describe('calibration', () => {
  it('teaches whenever it was measured', () => {
    const channels = Array.from({ length: 40 }, (_, i) => mark(`event-${i}`, i));
    const calibration = Array.from({ length: 20 }, (_, i) => ({
      ...mark(`clip-${i % 10}`, 100 + i),
      channel: false,
    }));
    const { partOf, timeOrdered } = splitRuns([...channels, ...calibration]);
    expect(timeOrdered).toBe(true);
    expect(calibration.map(partOf).filter((part) => part === 'training').length).toBeGreaterThan(10);
    expect(calibration.map(partOf)).not.toContain(undefined);
  });
});

describe('the split by source alone', () => {
  it('gives every source to one part and every part a source, whatever their sizes', () => {
    fc.assert(
      fc.property(sources, (list) => {
        const parts = splitSources(list);
        expect([...parts.keys()].sort()).toEqual(list.map(({ source }) => source).sort());
        expect(new Set(parts.values())).toEqual(new Set(PARTS));
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
            if (PARTS.indexOf(partA) < PARTS.indexOf(partB)) expect(a.firstMs <= b.firstMs).toBe(true);
          }
        }
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
          if (origin === 'calibration') return;
          expect(training.toMs).toBeLessThanOrEqual(validation.fromMs);
          expect(validation.toMs).toBeLessThanOrEqual(test.fromMs);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('keeps no more rows than it may, however many runs go by', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 30, max: 400 }),
        fc.integer({ min: 0, max: 1e6 }),
        async (mostRows, seed) => {
          const runs = madeRuns({ seed, sources: 12, runsPerSource: 6, samples: 8 });
          const dataset = await buildDataset(runs, { seed, mostRows });
          const rows = PARTS.reduce((sum, part) => sum + dataset[part].rows.length, 0);
          expect(rows).toBeLessThanOrEqual(mostRows);
        },
      ),
      { numRuns: 20 },
    );
  });
});

function mark(source: string, startHours: number): RunMark {
  const startMs = Math.round(startHours * HOUR_MS);
  return { source, channel: true, startMs, endMs: startMs + 30 * 60_000 };
}

function shuffled<T>(items: readonly T[], seed: number): T[] {
  return items
    .map((item, i) => ({ item, key: Math.imul(i + 1, seed * 2 + 0x9e3779b1) >>> 0 }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
