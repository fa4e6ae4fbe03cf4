import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SeriesChunk, SeriesPoint } from '../../src/history/history.js';
import {
  config,
  decisionOf,
  type Folder,
  historyFolder,
  open,
  ramp,
  read,
  runOf,
  stillClock,
  T0,
  valuesOf,
} from '../support/history.js';

let folder: Folder;
beforeEach(() => {
  folder = historyFolder();
});
afterEach(() => folder.remove());

const count = (n: number) => Array.from({ length: n }, (_, i) => i);

test('samples are readable at once, after a flush, and after a restart, each exactly once', async () => {
  let { history } = await open(folder.dir);
  history.append(ramp('host.busy', 300));
  expect(await valuesOf(history, 'host.busy')).toEqual(count(300));
  await history.flush();
  expect(await valuesOf(history, 'host.busy')).toEqual(count(300));
  history.append(
    ramp('host.busy', 2000, T0 + 300_000).map((point) => ({ ...point, value: point.value + 300 })),
  );
  expect(await valuesOf(history, 'host.busy')).toEqual(count(2300));
  await history.close();
  ({ history } = await open(folder.dir));
  expect(await valuesOf(history, 'host.busy')).toEqual(count(2300));
  await history.close();
});

test('many flushes and restarts lose and repeat nothing, and the journal does not pile up', async () => {
  const written: number[] = [];
  for (let life = 0; life < 4; life++) {
    const { history } = await open(folder.dir);
    for (let i = 0; i < 60; i++) {
      const points: SeriesPoint[] = [];
      for (let k = 0; k < 10; k++) {
        const n = written.length;
        points.push(
          { series: 'a', atMs: T0 + n * 1000, value: n },
          { series: 'b', atMs: T0 + n * 1000, value: n / 8 },
        );
        written.push(n);
      }
      history.append(points);
      await history.flush();
    }
    expect(await valuesOf(history, 'a')).toEqual(written);
    expect(await valuesOf(history, 'b')).toEqual(written.map((n) => n / 8));
    expect(history.metrics().samplesStored).toBe(1200);
    await history.close();
  }
});

test('a restart with a clock that jumped back keeps both passes and gives them in time order', async () => {
  let { history } = await open(folder.dir);
  history.append(ramp('x', 100));
  await history.flush();
  history.append(ramp('x', 100)); // the same times again: an hour of daylight saving set wrong
  history.append(ramp('x', 100, T0 - 50_500)); // interleaved with half of them
  await history.close();
  ({ history } = await open(folder.dir));
  const points = (await read(history, { series: 'x' })).get('x')!;
  expect(points).toHaveLength(300);
  expect(points.map(({ atMs }) => atMs)).toEqual(points.map(({ atMs }) => atMs).sort((a, b) => a - b));
  await history.close();
});

test('whatever order samples come in and whenever flushes happen, a query gives all of its range in time order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          jump: fc.oneof({ weight: 8, arbitrary: fc.constant(1) }, fc.integer({ min: -5000, max: 5000 })),
          length: fc.integer({ min: 1, max: 700 }),
          after: fc.constantFrom('nothing', 'flush', 'reopen'),
        }),
        { minLength: 1, maxLength: 6 },
      ),
      fc.integer({ min: -3000, max: 3000 }),
      fc.integer({ min: 0, max: 3000 }),
      async (steps, fromS, lengthS) => {
        const own = historyFolder();
        try {
          let { history } = await open(own.dir);
          const all: number[] = [];
          let at = T0;
          for (const { jump, length, after } of steps) {
            at += jump * 1000;
            const points = ramp('s', length, at);
            history.append(points);
            all.push(...points.map(({ atMs }) => atMs));
            at += length * 1000;
            if (after === 'flush') await history.flush();
            if (after === 'reopen') {
              await history.close();
              ({ history } = await open(own.dir));
            }
          }
          const fromMs = T0 + fromS * 1000;
          const toMs = fromMs + lengthS * 1000;
          const points = (await read(history, { series: 's', fromMs, toMs })).get('s') ?? [];
          const expected = all.filter((ms) => ms >= fromMs && ms < toMs).sort((a, b) => a - b);
          expect(points.map(({ atMs }) => atMs)).toEqual(expected);
          await history.close();
        } finally {
          own.remove();
        }
      },
    ),
    { numRuns: 20 },
  );
});

test('a step gives the mean of its samples, leaves NaN out and has no point where there is no sample', async () => {
  const { history } = await open(folder.dir);
  const start = Math.ceil(T0 / 60_000) * 60_000;
  history.append(ramp('v', 25, start).map((point, i) => (i === 3 ? { ...point, value: Number.NaN } : point)));
  history.append([{ series: 'v', atMs: start + 55_000, value: 7 }]);
  const steps = (await read(history, { series: 'v', stepMs: 10_000, fromMs: start + 2_000 })).get('v');
  const mean = (...values: number[]) => values.reduce((a, b) => a + b) / values.length;
  expect(steps).toEqual([
    { atMs: start + 2_000, value: mean(2, 4, 5, 6, 7, 8, 9) },
    { atMs: start + 10_000, value: 14.5 },
    { atMs: start + 20_000, value: 22 },
    { atMs: start + 50_000, value: 7 },
  ]);
  await history.close();
});

test('a prefix with .* reads all series below it, written or not, and nothing else', async () => {
  const { history } = await open(folder.dir);
  history.append([...ramp('cpu.0.busy', 3), ...ramp('cpu.1.busy', 3), ...ramp('cpus', 3)]);
  await history.flush();
  history.append(ramp('cpu.10.busy', 3));
  expect([...(await read(history, { series: 'cpu.*' })).keys()]).toEqual([
    'cpu.0.busy',
    'cpu.1.busy',
    'cpu.10.busy',
  ]);
  expect(await history.seriesNames()).toEqual(['cpu.0.busy', 'cpu.1.busy', 'cpu.10.busy', 'cpus']);
  await history.close();
});

test('a reader who stops early holds nothing up, and pages are bounded', async () => {
  const { history } = await open(folder.dir);
  history.append(ramp('long', 20_000));
  await history.flush();
  const pages: SeriesChunk[] = [];
  for await (const page of history.query({ series: 'long', fromMs: 0, toMs: T0 * 2, stepMs: 0 })) {
    pages.push(page);
    if (pages.length === 2) break;
  }
  expect(pages.map(({ points }) => points.length)).toEqual([1000, 1000]);
  await history.close();
});

test('a query that cannot be meant is refused by field', async () => {
  const { history } = await open(folder.dir);
  const ask = (query: object) => read(history, { series: 'a', ...query });
  await expect(ask({ series: '' })).rejects.toThrow(/series is ""/);
  await expect(ask({ series: 'a*b' })).rejects.toThrow(/prefix/);
  await expect(ask({ fromMs: Number.NaN })).rejects.toThrow(/from_ms is NaN/);
  await expect(ask({ fromMs: 5, toMs: 4 })).rejects.toThrow(/from_ms is 5/);
  await expect(ask({ stepMs: -1 })).rejects.toThrow(/step_ms is -1/);
  await history.close();
});

test('samples at impossible times or with impossible names are dropped and counted', async () => {
  const { history } = await open(folder.dir);
  history.append([
    { series: 'a', atMs: Number.NaN, value: 1 },
    { series: 'a', atMs: -1, value: 1 },
    { series: 'a', atMs: 1e300, value: 1 },
    { series: 'n'.repeat(201), atMs: T0, value: 1 },
    { series: 'a', atMs: T0, value: 1 },
  ]);
  expect(history.metrics().samplesDropped).toBe(4);
  expect(await valuesOf(history, 'a')).toEqual([1]);
  await history.close();
});

test('decisions are found by id and as the latest of a reservation, also after a restart', async () => {
  let { history } = await open(folder.dir);
  await history.putDecision(decisionOf('d1', 'r1', T0));
  await history.putDecision(decisionOf('d2', 'r1', T0 + 5));
  await history.putDecision(decisionOf('d3', '', T0 + 6));
  await history.close();
  ({ history } = await open(folder.dir));
  expect(await history.decision({ decisionId: 'd1' })).toEqual(decisionOf('d1', 'r1', T0));
  expect((await history.decision({ reservationId: 'r1' }))?.id).toBe('d2');
  expect((await history.decision({ decisionId: 'd3' }))?.outcome).toBe('ACCEPTED');
  expect(await history.decision({ decisionId: 'none' })).toBeUndefined();
  expect(await history.decision({ reservationId: '' })).toBeUndefined();
  await history.close();
});

test('decisions are found while they are being written, and a close waits for them', async () => {
  let { history } = await open(folder.dir);
  const kept = count(50).map((n) => history.putDecision(decisionOf(`d${n}`, 'r', T0 + n)));
  expect(await history.decision({ decisionId: 'd7' })).toEqual(decisionOf('d7', 'r', T0 + 7));
  expect((await history.decision({ reservationId: 'r' }))?.id).toBe('d49');
  await history.close();
  await Promise.all(kept);
  ({ history } = await open(folder.dir));
  for (const n of count(50)) expect((await history.decision({ decisionId: `d${n}` }))?.atMs).toBe(T0 + n);
  expect((await history.decision({ reservationId: 'r' }))?.id).toBe('d49');
  await history.close();
});

test('runs come oldest first, by origin and from a time on; putting one again replaces it', async () => {
  const { history } = await open(folder.dir);
  await history.putRun(runOf('b', T0 + 10, 'calibration'));
  await history.putRun(runOf('a', T0 + 20));
  await history.putRun(runOf('c', T0));
  await history.putRun(runOf('c', T0 + 30));
  const ids = async (filter?: Parameters<typeof history.runs>[0]) => {
    const found: string[] = [];
    for await (const run of history.runs(filter)) found.push(run.id);
    return found;
  };
  expect(await ids()).toEqual(['b', 'a', 'c']);
  expect(await ids({ origin: 'live' })).toEqual(['a', 'c']);
  expect(await ids({ sinceMs: T0 + 20 })).toEqual(['a', 'c']);
  expect(await history.run('b')).toEqual(runOf('b', T0 + 10, 'calibration'));
  await expect(history.putRun(runOf('long', T0, 'live', 721))).rejects.toThrow(/run.samples is 721/);
  await history.close();
});

test('facts are small named values; undefined removes one', async () => {
  const { history } = await open(folder.dir);
  await history.putFact('speed', { factor: 1.25 });
  expect(await history.getFact('speed')).toEqual({ factor: 1.25 });
  await history.putFact('speed', undefined);
  expect(await history.getFact('speed')).toBeUndefined();
  await history.close();
});

test('what is older than the retention time goes, names of vanished series too; the rest stays', async () => {
  const clock = stillClock(T0);
  const { history } = await open(folder.dir, {
    clock,
    config: { ...config, retention_days: 1, retention_10s_days: 1, retention_5m_days: 1 },
  });
  history.append([...ramp('old', 1000), ...ramp('both', 1000)]);
  await history.putDecision(decisionOf('d-old', 'r-old', T0));
  await history.putRun(runOf('kept', T0));
  await history.flush();
  clock.wallMs += 2 * 86_400_000;
  clock.monoMs += 2 * 86_400_000;
  history.append(ramp('both', 1000, clock.wallMs - 1_000_000));
  history.append([{ series: 'future', atMs: clock.wallMs + 9 * 86_400_000, value: 1 }]);
  await history.putDecision(decisionOf('d-new', 'r-new', clock.wallMs));
  await history.flush();
  const report = await history.trim();
  expect(report).toMatchObject({ decisions: 1, runs: 0, names: 1 });
  expect(await history.seriesNames()).toEqual(['both', 'future']);
  expect(await valuesOf(history, 'both')).toEqual(count(1000));
  expect(await history.decision({ decisionId: 'd-old' })).toBeUndefined();
  expect(await history.decision({ reservationId: 'r-old' })).toBeUndefined();
  expect((await history.decision({ decisionId: 'd-new' }))?.id).toBe('d-new');
  expect((await history.run('kept'))?.id).toBe('kept');
  await history.close();
});

test('beyond their number the oldest runs go', async () => {
  const { history } = await open(folder.dir, { maxRuns: 3 });
  for (let i = 0; i < 5; i++) await history.putRun(runOf(`run${i}`, T0 + i));
  expect((await history.trim()).runs).toBe(2);
  const ids: string[] = [];
  for await (const run of history.runs()) ids.push(run.id);
  expect(ids).toEqual(['run2', 'run3', 'run4']);
  expect(await history.run('run0')).toBeUndefined();
  await history.close();
});

test('beyond the size limit the oldest hours go and the disk gets its space back', async () => {
  const { history } = await open(folder.dir, { config: { ...config, max_mb: 3 } });
  // Values that do not compress: about 7 bytes a sample, 5 MB.
  let seed = 1;
  const noise = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed / 3.7 + Math.sqrt(seed);
  };
  for (let hour = 0; hour < 24; hour++)
    for (let part = 0; part < 4; part++) {
      const startMs = T0 + hour * 3_600_000 + part * 900_000;
      history.append(
        Array.from({ length: 8_000 }, (_, i) => ({
          series: 'noise',
          atMs: startMs + i * 30,
          value: noise(),
        })),
      );
      await history.flush();
    }
  const report = await history.trim();
  expect(report.chunks).toBeGreaterThan(0);
  expect(report.bytes).toBeLessThan(3.5 * 1024 * 1024);
  const times = (await read(history, { series: 'noise', stepMs: 3_600_000 })).get('noise')!;
  expect(times.length).toBeGreaterThan(3);
  // The newest are all there.
  expect(times.at(-1)!.atMs).toBeGreaterThan(T0 + 22 * 3_600_000);
  await history.close();
});
