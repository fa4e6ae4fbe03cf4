import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AGGREGATES, type Aggregate, type SeriesPoint } from '../../src/history/history.js';
import {
  config,
  type Folder,
  historyFolder,
  open,
  read,
  stillClock,
  T0,
  valuesOf,
} from '../support/history.js';

let folder: Folder;
beforeEach(() => {
  folder = historyFolder();
});
afterEach(() => folder.remove());

const HOUR = 3_600_000;
/** The beginning of an hour. */
const H0 = Math.ceil(T0 / HOUR) * HOUR;

function samples(series: string, count: number, startMs = H0): SeriesPoint[] {
  return Array.from({ length: count }, (_, i) => ({
    series,
    atMs: startMs + i * 1_000,
    value: Math.round(500 + 400 * Math.sin(i / 300) + ((i * 7_919) % 101)) / 1_000,
  }));
}

/** The plainest way: by hand over the samples. */
function byHand(
  points: readonly SeriesPoint[],
  stepMs: number,
  aggregate: Aggregate,
  fromMs: number,
  toMs: number,
) {
  const steps = new Map<number, number[]>();
  for (const { atMs, value } of points) {
    if (atMs < fromMs || atMs >= toMs) continue;
    const start = Math.floor(atMs / stepMs) * stepMs;
    steps.set(start, [...(steps.get(start) ?? []), value]);
  }
  return [...steps].map(([start, values]) => {
    const sorted = [...values].sort((a, b) => a - b);
    const value = {
      mean: values.reduce((a, b) => a + b, 0) / values.length,
      min: sorted[0]!,
      max: sorted.at(-1)!,
      p95: sorted[Math.ceil(0.95 * sorted.length) - 1]!,
      count: values.length,
    }[aggregate];
    return { atMs: Math.max(fromMs, start), value };
  });
}

test('steps read from roll-ups say what the samples say, whatever the range, step and aggregate', async () => {
  const clock = stillClock(H0 + 4 * HOUR);
  const { history } = await open(folder.dir, { clock });
  // Three hours that are over, the last of which has a gap, and one that still goes on.
  const points = samples('a', 3 * 3_600).filter((_, i) => i < 8_000 || i > 8_900);
  const latest = samples('a', 1_000, H0 + 4 * HOUR - 1_500_000);
  history.append([...points, ...latest]);
  await history.flush();
  expect(await history.rollUp()).toBeGreaterThanOrEqual(3);
  const all = [...points, ...latest];
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: -100, max: 15_000 }),
      fc.integer({ min: 1, max: 12_000 }),
      fc.constantFrom(7_000, 10_000, 30_000, 60_000, 300_000, 3_600_000),
      fc.constantFrom(...AGGREGATES),
      async (fromS, forS, stepMs, aggregate) => {
        const fromMs = H0 + fromS * 1_000;
        const toMs = fromMs + forS * 1_000;
        const found = (await read(history, { series: 'a', fromMs, toMs, stepMs, aggregate })).get('a') ?? [];
        const expected = byHand(all, stepMs, aggregate, fromMs, toMs);
        expect(found.map(({ atMs }) => atMs)).toEqual(expected.map(({ atMs }) => atMs));
        for (const [i, { value }] of found.entries()) expect(value).toBeCloseTo(expected[i]!.value, 9);
      },
    ),
    { numRuns: 150 },
  );
  await history.close();
});

test('samples that come late to an hour that was rolled up are in its steps at once, and after it is rolled up again', async () => {
  const clock = stillClock(H0 + 3 * HOUR);
  const { history } = await open(folder.dir, { clock });
  history.append(samples('a', 1_800));
  await history.flush();
  await history.rollUp();
  const query = { series: 'a', stepMs: 300_000, aggregate: 'count' } as const;
  const counts = async () => ((await read(history, query)).get('a') ?? []).map(({ value }) => value);
  expect(await counts()).toEqual([300, 300, 300, 300, 300, 300]);
  // The wall clock jumped back: another chunk, in memory, then on disk, then rolled up.
  history.append(samples('a', 100, H0 + 600_000));
  expect(await counts()).toEqual([300, 300, 400, 300, 300, 300]);
  await history.flush();
  expect(await counts()).toEqual([300, 300, 400, 300, 300, 300]);
  await history.close();
  const again = await open(folder.dir, { clock });
  again.history.append(samples('a', 500, H0));
  await again.history.flush();
  await again.history.rollUp();
  const { history: later } = again;
  const found = ((await read(later, query)).get('a') ?? []).map(({ value }) => value);
  expect(found.reduce((a, b) => a + b)).toBe(1_800 + 100 + 500);
  await later.close();
});

test('a clock that jumps far ahead and back leaves every sample in its step', async () => {
  const clock = stillClock(H0 + 2 * HOUR);
  const { history } = await open(folder.dir, { clock });
  history.append(samples('a', 600));
  await history.flush();
  clock.wallMs = H0 + 1_000 * HOUR;
  history.append(samples('a', 600, H0 + 999 * HOUR));
  await history.flush();
  await history.rollUp();
  clock.wallMs = H0 + 3 * HOUR;
  history.append(samples('a', 600, H0 + 2 * HOUR));
  await history.flush();
  clock.wallMs = H0 + 5 * HOUR;
  await history.rollUp();
  const found = (await read(history, { series: 'a', stepMs: 300_000, aggregate: 'count' })).get('a') ?? [];
  expect(found.map(({ atMs, value }) => [(atMs - H0) / HOUR, value])).toEqual(
    [0, 2, 999].flatMap((hour) => [
      [hour, 300],
      [hour + 1 / 12, 300],
    ]),
  );
  expect(await valuesOf(history, 'a')).toHaveLength(1_800);
  await history.close();
});

test('samples age out first, then windows of 10 s, then of 5 min; steps stay readable as fine as what is left', async () => {
  const day = 24 * HOUR;
  const clock = stillClock(H0 + 2 * HOUR);
  const ages = { ...config, retention_days: 1, retention_10s_days: 3, retention_5m_days: 10 };
  const { history } = await open(folder.dir, { clock, config: ages });
  history.append(samples('a', 3_600));
  await history.flush();
  const count = async (stepMs: number, aggregate: Aggregate = 'count') =>
    (await read(history, { series: 'a', stepMs, aggregate })).get('a') ?? [];
  const expectedMeans = byHand(samples('a', 3_600), 300_000, 'mean', H0, H0 + HOUR);
  // What is still in memory is written when its series falls silent.
  clock.monoMs += HOUR;
  await history.flush();
  clock.wallMs = H0 + 2 * day;
  await history.trim();
  expect(await valuesOf(history, 'a')).toEqual([]);
  expect(await count(1_000)).toHaveLength(360);
  expect(await count(10_000)).toHaveLength(360);
  clock.wallMs = H0 + 5 * day;
  await history.trim();
  expect(await count(10_000)).toHaveLength(12);
  const means = await count(300_000, 'mean');
  for (const [i, { atMs, value }] of means.entries()) {
    expect(atMs).toBe(expectedMeans[i]!.atMs);
    expect(value).toBeCloseTo(expectedMeans[i]!.value, 9);
  }
  expect(await history.seriesNames()).toEqual(['a']);
  clock.wallMs = H0 + 12 * day;
  await history.trim();
  expect(await count(300_000)).toEqual([]);
  expect(await history.seriesNames()).toEqual([]);
  await history.close();
});
