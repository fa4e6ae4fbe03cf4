import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  decisionOf,
  type Folder,
  historyFolder,
  listeningLog,
  open,
  ramp,
  read,
  runOf,
  T0,
  valuesOf,
} from '../support/history.js';

let folder: Folder;
beforeEach(() => {
  folder = historyFolder();
});
afterEach(() => folder.remove());

const db = () => join(folder.dir, 'db');
const files = (pattern: RegExp) => readdirSync(db()).filter((name) => pattern.test(name));
const asides = () => readdirSync(folder.parent).filter((name) => name.startsWith('history.damaged-'));

/** A database with everything in tables, nothing in the log. */
async function filled(samples = 2_000): Promise<void> {
  const { history } = await open(folder.dir);
  history.append([...ramp('a', samples), ...ramp('b', samples)]);
  await history.putDecision(decisionOf('d', 'r'));
  for (let i = 0; i < 40; i++) await history.putRun(runOf(`run${i}`, T0 + i * 60_000, 'live', 50));
  await history.close();
  const level = new ClassicLevel(db());
  await level.compactRange('\0', '\x7f');
  await level.close();
  expect(files(/ldb$/).length).toBeGreaterThan(0);
}

async function startsFresh(): Promise<void> {
  const { history, report } = await open(folder.dir);
  expect(report.join()).toMatch(/set aside as .*damaged-20.*fresh one started/);
  expect(asides()).toHaveLength(1);
  expect(await history.seriesNames()).toEqual([]);
  history.append(ramp('new', 3));
  await history.putRun(runOf('new'));
  await history.close();
  const again = await open(folder.dir);
  expect(again.report).toEqual([]);
  expect(await valuesOf(again.history, 'new')).toEqual([0, 1, 2]);
  await again.history.close();
}

for (const [what, damage] of Object.entries<() => void>({
  'a table that was cut': () => truncateSync(join(db(), files(/ldb$/)[0]!), 1_000),
  'a table with a stray byte at its end': () => appendFileSync(join(db(), files(/ldb$/)[0]!), 'x'),
  'a table that is gone': () => rmSync(join(db(), files(/ldb$/)[0]!)),
  'a manifest that is gone': () => rmSync(join(db(), files(/^MANIFEST/)[0]!)),
  'a manifest that was cut to nothing': () => truncateSync(join(db(), files(/^MANIFEST/)[0]!), 0),
  'a CURRENT that is gone': () => rmSync(join(db(), 'CURRENT')),
  'a CURRENT that names nothing': () => writeFileSync(join(db(), 'CURRENT'), 'MANIFEST-999999\n'),
  'a CURRENT with a stray byte': () => appendFileSync(join(db(), 'CURRENT'), 'x'),
  'a FORMAT file that is gone': () => rmSync(join(folder.dir, 'FORMAT')),
  'a FORMAT file with a stray byte': () => appendFileSync(join(folder.dir, 'FORMAT'), 'x'),
}))
  test(`${what}: the database is set aside, that is reported, and a fresh one works`, async () => {
    await filled();
    damage();
    await startsFresh();
  });

test('a newer format is refused with its number, and nothing is touched', async () => {
  await filled();
  writeFileSync(join(folder.dir, 'FORMAT'), 'corecast-history 7\n');
  const before = readdirSync(db()).map((name) => [name, readFileSync(join(db(), name)).toString('base64')]);
  await expect(open(folder.dir)).rejects.toMatchObject({
    code: 'STORE_FAILED',
    message: /format 7.*up to 1/,
  });
  const after = readdirSync(db()).map((name) => [name, readFileSync(join(db(), name)).toString('base64')]);
  expect(after).toEqual(before);
  expect(asides()).toEqual([]);
});

test('a database that another process holds is refused, not set aside', async () => {
  const { history } = await open(folder.dir);
  await expect(open(folder.dir)).rejects.toMatchObject({
    code: 'STORE_FAILED',
    message: /another process holds it/,
  });
  expect(asides()).toEqual([]);
  await history.close();
});

test('only the two newest damaged databases are kept', async () => {
  for (let i = 0; i < 4; i++) {
    const { history } = await open(folder.dir);
    await history.close();
    rmSync(join(folder.dir, 'FORMAT'));
  }
  const { history } = await open(folder.dir);
  expect(asides()).toHaveLength(2);
  await history.close();
});

/** Changes the value of the nth key of a section behind the store's back. */
async function changeValue(section: string, nth: number, change: (value: Buffer) => Buffer): Promise<void> {
  const options = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
  const level = new ClassicLevel<Buffer, Buffer>(db(), options);
  const range = { gte: Buffer.from(section), lt: Buffer.from([section.charCodeAt(0) + 1]) };
  const [key, value] = (await level.iterator(range).all())[nth]!;
  await level.put(key, change(Buffer.from(value)));
  await level.close();
}

const flipLast = (value: Buffer) => {
  value[value.length - 1]! ^= 0x10;
  return value;
};

test('one damaged chunk costs its samples and no more; that is counted and said', async () => {
  await filled();
  await changeValue('c', 0, flipLast);
  const log = listeningLog();
  const { history, report } = await open(folder.dir, { log });
  expect(report).toEqual([]);
  const values = await valuesOf(history, 'a');
  expect(values.length).toBeGreaterThanOrEqual(2_000 - 480);
  expect(values.length).toBeLessThan(2_000);
  expect(values).toEqual(Array.from({ length: values.length }, (_, i) => 2_000 - values.length + i));
  expect(await valuesOf(history, 'b')).toHaveLength(2_000);
  expect(history.metrics().damagedRecords).toBe(1);
  expect(log.lines).toContain('warn: skipped damaged samples in the history');
  await history.close();
});

test('one damaged run or decision is skipped, counted and said', async () => {
  await filled();
  await changeValue('r', 7, flipLast);
  await changeValue('d', 0, () => Buffer.from('x'));
  const { history } = await open(folder.dir);
  const ids: string[] = [];
  for await (const run of history.runs()) ids.push(run.id);
  expect(ids).toHaveLength(39);
  expect(ids).not.toContain('run7');
  expect(await history.run('run7')).toBeUndefined();
  expect(await history.decision({ decisionId: 'd' })).toBeUndefined();
  expect(history.metrics().damagedRecords).toBe(3);
  await history.close();
});

test('a damaged journal record costs the samples of its flush; the rest is read back', async () => {
  const { history } = await open(folder.dir);
  for (let i = 0; i < 5; i++) {
    history.append(ramp('a', 10, T0 + i * 10_000).map((point) => ({ ...point, value: i })));
    await history.flush();
  }
  await history.close();
  await changeValue('j', 2, flipLast);
  const { history: after, report } = await open(folder.dir);
  expect(report).toEqual(['1 journal records of the history were damaged, and the samples in them are lost']);
  expect(new Set(await valuesOf(after, 'a'))).toEqual(new Set([0, 1, 3, 4]));
  after.append(ramp('a', 2_000, T0 + 100_000));
  await after.flush();
  expect(await valuesOf(after, 'a')).toHaveLength(2_040);
  await after.close();
});

test('damaged counters mean a damaged database', async () => {
  await filled();
  await changeValue('m', 0, flipLast);
  await startsFresh();
});

test('whatever byte of whatever file is flipped: it opens, or is set aside; what it then gives was once written', async () => {
  await filled(1_500);
  const names = readdirSync(db()).filter((name) => name !== 'LOCK' && !name.startsWith('LOG'));
  const saved = new Map(names.map((name) => [name, readFileSync(join(db(), name))]));
  const tables = names.filter((name) => name.endsWith('ldb'));
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...tables) }, fc.constantFrom(...names)),
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      fc.integer({ min: 1, max: 255 }),
      async (name, where, flip) => {
        rmSync(folder.dir, { recursive: true, force: true });
        for (const aside of asides()) rmSync(join(folder.parent, aside), { recursive: true });
        const { history: fresh } = await open(folder.dir);
        await fresh.close();
        for (const old of readdirSync(db())) rmSync(join(db(), old));
        for (const [file, bytes] of saved) writeFileSync(join(db(), file), bytes);
        const bytes = Buffer.from(saved.get(name)!);
        if (bytes.length > 0) bytes[Math.floor(where * bytes.length)]! ^= flip;
        writeFileSync(join(db(), name), bytes);

        const { history, report } = await open(folder.dir);
        for (const series of ['a', 'b'])
          for (const { atMs, value } of (await read(history, { series })).get(series) ?? [])
            expect(atMs).toBe(T0 + value * 1000);
        let runs = 0;
        for await (const run of history.runs()) {
          expect(run).toEqual(runOf(run.id, T0 + Number(run.id.slice(3)) * 60_000, 'live', 50));
          runs++;
        }
        if (report.length > 0)
          expect(existsSync(asides()[0] === undefined ? '' : join(folder.parent, asides()[0]!))).toBe(true);
        else expect(runs).toBeGreaterThan(0);
        history.append(ramp('after', 5));
        await history.flush();
        expect(await valuesOf(history, 'after')).toEqual([0, 1, 2, 3, 4]);
        await history.close();
      },
    ),
    { numRuns: 25 },
  );
});
