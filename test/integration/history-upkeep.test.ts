import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
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

const clock = () => stillClock(T0 + 86_400_000);
const count = (n: number) => Array.from({ length: n }, (_, i) => i);

test('a backup made while samples come in holds all before it, opens as a history, and goes on as one', async () => {
  const { history } = await open(folder.dir, { clock: clock() });
  history.append(ramp('a', 5_000));
  await history.putDecision(decisionOf('d', 'r'));
  await history.putRun(runOf('run'));
  await history.putFact('f', 1);
  await history.rollUp();
  const dir = join(folder.parent, 'backup');
  let more = 5_000;
  const writing = setInterval(() => {
    history.append(
      ramp('a', 10, T0 + more * 1_000).map((point) => ({ ...point, value: point.value + more })),
    );
    more += 10;
    void history.flush();
  }, 1);
  const made = await history.backup(dir);
  clearInterval(writing);
  expect(made.dir).toBe(dir);
  expect(existsSync(`${dir}.partial`)).toBe(false);
  await history.close();

  // Restoring is putting it where the history was.
  rmSync(folder.dir, { recursive: true });
  cpSync(dir, folder.dir, { recursive: true });
  const restored = await open(folder.dir, { clock: clock() });
  expect(restored.report).toEqual([]);
  const values = await valuesOf(restored.history, 'a');
  expect(values.length).toBeGreaterThanOrEqual(5_000);
  expect(values).toEqual(count(values.length));
  expect(await restored.history.decision({ reservationId: 'r' })).toEqual(decisionOf('d', 'r'));
  expect(await restored.history.run('run')).toEqual(runOf('run'));
  expect(await restored.history.getFact('f')).toBe(1);
  expect(
    (await read(restored.history, { series: 'a', stepMs: 10_000, toMs: T0 + 100_000 })).get('a'),
  ).toHaveLength(10);
  restored.history.append(ramp('b', 1_000));
  expect(await restored.history.verify()).toMatchObject({ damaged: 0 });
  await restored.history.close();
});

test('a backup goes only to a new, absolute place, and one that fails leaves nothing behind', async () => {
  const { history } = await open(folder.dir);
  const taken = join(folder.parent, 'taken');
  mkdirSync(taken);
  await expect(history.backup(taken)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: /dir is .*taken.*does not exist yet/,
  });
  await expect(history.backup('backup')).rejects.toMatchObject({ message: /dir is "backup".*absolute/ });
  writeFileSync(join(folder.parent, 'file'), '');
  await expect(history.backup(join(folder.parent, 'file', 'below'))).rejects.toMatchObject({
    code: 'STORE_FAILED',
    message: /the backup to .*below failed/,
  });
  expect(readdirSync(folder.parent).sort()).toEqual(['file', 'history', 'taken']);
  await history.close();
});

test('imported samples are in queries and steps; importing them again adds none', async () => {
  const { history } = await open(folder.dir, { clock: clock() });
  history.append(ramp('a', 2_000));
  await history.flush();
  await history.rollUp();
  const points = ramp('a', 3_000).map(({ atMs, value }) => ({ atMs, value }));
  expect(await history.importSamples('a', points)).toBe(1_000);
  expect(await valuesOf(history, 'a')).toEqual(count(3_000));
  expect(await history.importSamples('a', points)).toBe(0);
  expect(await history.importSamples('web1.a', points.slice(0, 700))).toBe(700);
  expect(await valuesOf(history, 'web1.a')).toEqual(count(700));
  const counts = async () =>
    ((await read(history, { series: 'a', stepMs: 300_000, aggregate: 'count' })).get('a') ?? []).map(
      ({ value }) => value,
    );
  const before = await counts();
  expect(before.reduce((a, b) => a + b)).toBe(3_000);
  await history.rollUp();
  expect(await counts()).toEqual(before);
  await history.close();
  const again = await open(folder.dir, { clock: clock() });
  expect(await valuesOf(again.history, 'a')).toEqual(count(3_000));
  await again.history.close();
});

test('an import that cannot be meant is refused by field', async () => {
  const { history } = await open(folder.dir);
  const at = (...times: number[]) => times.map((atMs) => ({ atMs, value: 1 }));
  await expect(history.importSamples('', at(1))).rejects.toThrow(/series is ""/);
  await expect(history.importSamples('a.*', at(1))).rejects.toThrow(/series is "a\.\*"/);
  await expect(history.importSamples('a', at(-1))).rejects.toThrow(/at_ms is -1/);
  await expect(history.importSamples('a', at(2, 1))).rejects.toThrow(/at_ms of a is 1 after 2/);
  expect(await history.importSamples('a', [])).toBe(0);
  await history.close();
});

test('stats count what is kept; compaction gives back what later versions replaced', async () => {
  const { history } = await open(folder.dir, { clock: clock() });
  history.append(ramp('a', 5_000));
  history.append(ramp('b', 10));
  for (let version = 0; version < 3; version++)
    for (let i = 0; i < 60; i++) await history.putRun(runOf(`run${i}`, T0 + i, 'live', 300 + version));
  await history.flush();
  await history.rollUp();
  const stats = await history.stats();
  const entries = Object.fromEntries(stats.sections.map(({ name, entries: n }) => [name, n]));
  expect(stats).toMatchObject({
    format: 2,
    series: 2,
    samplesStored: 5_010,
    samplesDropped: 0,
    damagedRecords: 0,
  });
  expect(entries).toMatchObject({ runs: 60, decisions: 0, 'series names': 2 });
  expect(entries['samples']).toBeGreaterThanOrEqual(10);
  expect(entries['roll-ups, 10 s']).toBeGreaterThanOrEqual(2);
  expect(stats.oldestMs).toBe(Math.floor(T0 / 3_600_000) * 3_600_000);
  expect(stats.rolledUpToMs).toBeGreaterThan(T0 + 5_000_000);
  const { bytesBefore, bytesAfter } = await history.compact();
  expect(bytesAfter).toBeLessThan(bytesBefore);
  expect(await history.verify()).toMatchObject({ samples: expect.any(Number), damage: [], damaged: 0 });
  await history.close();
});

test('verify counts every sample and names what is damaged, while the history is in use', async () => {
  const { history } = await open(folder.dir, { clock: clock() });
  history.append(ramp('a', 5_000));
  await history.flush();
  await history.rollUp();
  const { samples, records, damaged } = await history.verify();
  expect(damaged).toBe(0);
  expect(samples).toBeGreaterThan(4_000);
  expect(records).toBeGreaterThan(10);
  await history.close();
});
