import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { crc32 } from '../../src/history/checksum.js';
import {
  decisionOf,
  type Folder,
  historyFolder,
  listeningLog,
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

/** Everything but what was in the damaged part is there, that part is set aside, and the database works on. */
async function keepsTheRest(what: { samples: number; runs: number }): Promise<void> {
  const { history, report } = await open(folder.dir);
  expect(report.join()).toMatch(/was damaged \(.*set aside as .*damaged-20/);
  expect(asides()).toHaveLength(1);
  const values = await valuesOf(history, 'a');
  expect(values.length).toBeGreaterThanOrEqual(what.samples);
  expect(values).toEqual([...new Set(values)].sort((a, b) => a - b));
  let runs = 0;
  for await (const _ of history.runs()) runs++;
  expect(runs).toBeGreaterThanOrEqual(what.runs);
  history.append(ramp('new', 3));
  await history.putRun(runOf('new'));
  expect(await history.verify()).toMatchObject({ damage: [], damaged: 0 });
  await history.close();
  const again = await open(folder.dir);
  expect(again.report).toEqual([]);
  expect(await valuesOf(again.history, 'new')).toEqual([0, 1, 2]);
  expect(await valuesOf(again.history, 'a')).toEqual(values);
  await again.history.close();
}

const table = () => join(db(), files(/ldb$/)[0]!);

for (const [what, { damage, left }] of Object.entries<{
  damage: () => void;
  left: { samples: number; runs: number };
}>({
  'a table that was cut': {
    damage: () => truncateSync(table(), Math.floor(statSync(table()).size / 2)),
    left: { samples: 1_000, runs: 1 },
  },
  'a table with a stray byte at its end': {
    damage: () => appendFileSync(table(), 'x'),
    left: { samples: 2_000, runs: 40 },
  },
  'a table that is gone': { damage: () => rmSync(table()), left: { samples: 0, runs: 0 } },
  'a manifest that is gone': {
    damage: () => rmSync(join(db(), files(/^MANIFEST/)[0]!)),
    left: { samples: 2_000, runs: 40 },
  },
  'a manifest that was cut to nothing': {
    damage: () => truncateSync(join(db(), files(/^MANIFEST/)[0]!), 0),
    left: { samples: 2_000, runs: 40 },
  },
  'a CURRENT that is gone': {
    damage: () => rmSync(join(db(), 'CURRENT')),
    left: { samples: 2_000, runs: 40 },
  },
  'a CURRENT that names nothing': {
    damage: () => writeFileSync(join(db(), 'CURRENT'), 'MANIFEST-999999\n'),
    left: { samples: 2_000, runs: 40 },
  },
  'a CURRENT with a stray byte': {
    damage: () => appendFileSync(join(db(), 'CURRENT'), 'x'),
    left: { samples: 2_000, runs: 40 },
  },
}))
  test(`${what}: what is damaged is set aside and said, the rest stays readable`, async () => {
    await filled();
    damage();
    await keepsTheRest(left);
  });

test('a table that a kill left unfinished is no damage: nothing is said or set aside', async () => {
  await filled();
  // The output of a compaction that was never entered in the manifest: what it holds, others hold.
  const [name] = files(/ldb$/);
  writeFileSync(join(db(), '000999.ldb'), readFileSync(join(db(), name!)));
  const { history, report } = await open(folder.dir);
  expect(report).toEqual([]);
  expect(asides()).toEqual([]);
  expect(await valuesOf(history, 'a')).toHaveLength(2_000);
  await history.close();
});

test('damage that a compaction meets is mended while the history is in use; what was in memory is not lost', async () => {
  await filled();
  const log = listeningLog();
  const { history } = await open(folder.dir, { log });
  expect(await valuesOf(history, 'b')).toHaveLength(2_000);
  history.append(ramp('new', 1_000));
  await history.flush();
  const file = openSync(table(), 'r+');
  writeSync(file, Buffer.alloc(300, 0xa5), 0, 300, Math.floor(statSync(table()).size / 3));
  closeSync(file);
  expect((await history.verify()).damage[0]).toMatch(
    /^table \d+\.ldb: block at byte \d+ .* does not match its checksum/,
  );
  await history.compact();
  expect(log.lines.join('\n')).toMatch(/error: the history in .* was damaged .* set aside as .*damaged-20/);
  expect(await valuesOf(history, 'new')).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
  history.append(ramp('new', 1_000, T0 + 1_000_000));
  await history.flush();
  expect((await history.verify()).damage).toEqual([]);
  await history.close();
  const again = await open(folder.dir);
  expect(again.report).toEqual([]);
  expect(await valuesOf(again.history, 'new')).toHaveLength(2_000);
  const values = await valuesOf(again.history, 'a');
  expect(values).toEqual([...new Set(values)].sort((a, b) => a - b));
  await again.history.close();
});

test('when nothing can be read the whole is set aside, that is said, and a fresh one works', async () => {
  await filled();
  for (const name of readdirSync(db())) {
    const bytes = readFileSync(join(db(), name));
    writeFileSync(join(db(), name), bytes.fill(0xa5));
  }
  const { history, report } = await open(folder.dir);
  expect(report.join()).toMatch(/was damaged \(.*set aside as .*damaged-20.* a fresh one started/);
  expect(await history.seriesNames()).toEqual([]);
  history.append(ramp('new', 3));
  await history.close();
  const again = await open(folder.dir);
  expect(again.report).toEqual([]);
  expect(await valuesOf(again.history, 'new')).toEqual([0, 1, 2]);
  await again.history.close();
});

for (const [what, damage] of Object.entries<() => void>({
  'a FORMAT file that is gone': () => rmSync(join(folder.dir, 'FORMAT')),
  'a FORMAT file with a stray byte': () => appendFileSync(join(folder.dir, 'FORMAT'), 'x'),
}))
  test(`${what} is written anew, and all is readable`, async () => {
    await filled();
    damage();
    const { history, report } = await open(folder.dir);
    expect(report.join()).toMatch(/FORMAT file .* was unreadable; it is 2/);
    expect(await valuesOf(history, 'a')).toHaveLength(2_000);
    await history.close();
    expect((await open(folder.dir)).report).toEqual([]);
  });

test('a history of format 1 opens as one of format 2, with all its samples', async () => {
  await filled();
  await inFormat1();
  const { history, report } = await open(folder.dir, { clock: stillClock(T0 + 86_400_000) });
  expect(report).toEqual([]);
  expect(readFileSync(join(folder.dir, 'FORMAT'), 'utf8')).toBe('corecast-history 2\n');
  expect(await valuesOf(history, 'a')).toHaveLength(2_000);
  expect(await history.decision({ reservationId: 'r' })).toEqual(decisionOf('d', 'r'));
  expect(await history.rollUp()).toBeGreaterThan(0);
  const means = (await read(history, { series: 'a', stepMs: 10_000 })).get('a') ?? [];
  expect(means).toHaveLength(200);
  expect(means[0]).toEqual({ atMs: T0, value: 4.5 });
  expect(await history.verify()).toMatchObject({ damaged: 0 });
  await history.close();
});

/** Frames without the key in their checksum, and none of the sections that came with format 2. */
async function inFormat1(): Promise<void> {
  const level = new ClassicLevel<Buffer, Buffer>(db(), { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  for await (const [key, value] of level.iterator()) {
    const framed = Buffer.from(value);
    framed[0] = 1;
    framed.writeUInt32LE(crc32(framed.subarray(5)), 1);
    if ('uvwx'.includes(String.fromCharCode(key[0]!))) await level.del(key);
    else await level.put(key, framed);
  }
  await level.close();
  writeFileSync(join(folder.dir, 'FORMAT'), 'corecast-history 1\n');
}

test('a newer format is refused with its number, and nothing is touched', async () => {
  await filled();
  writeFileSync(join(folder.dir, 'FORMAT'), 'corecast-history 7\n');
  const before = readdirSync(db()).map((name) => [name, readFileSync(join(db(), name)).toString('base64')]);
  await expect(open(folder.dir)).rejects.toMatchObject({
    code: 'STORE_FAILED',
    message: /format 7.*up to 2/,
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

test('only the two newest damaged parts are kept', async () => {
  for (let i = 0; i < 4; i++) {
    const { history } = await open(folder.dir);
    await history.close();
    rmSync(join(db(), 'CURRENT'));
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

test('damaged counters are counted anew: no new series gets the number of an old one', async () => {
  await filled();
  await changeValue('m', 0, flipLast);
  const { history, report } = await open(folder.dir);
  expect(report).toEqual(['the counters of the history were damaged; they were counted anew']);
  history.append(ramp('new', 600));
  await history.flush();
  expect(await valuesOf(history, 'new')).toHaveLength(600);
  expect(await valuesOf(history, 'a')).toHaveLength(2_000);
  expect(await valuesOf(history, 'b')).toHaveLength(2_000);
  await history.close();
});

test('a value under another key is refused: its checksum covers the key', async () => {
  await filled();
  const options = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
  const level = new ClassicLevel<Buffer, Buffer>(db(), options);
  const [[key, value]] = (await level
    .iterator({ gte: Buffer.from('c'), lt: Buffer.from('d'), limit: 1 })
    .all()) as [[Buffer, Buffer]];
  const moved = Buffer.from(key);
  moved.writeUInt32BE(key.readUInt32BE(5) === 1 ? 2 : 1, 5);
  await level.put(moved, value);
  await level.close();
  const { history } = await open(folder.dir);
  expect(await valuesOf(history, 'a')).toHaveLength(2_000);
  expect(await valuesOf(history, 'b')).toHaveLength(2_000);
  expect((await history.verify()).damage).toEqual([expect.stringMatching(/^chunk of series \d.*checksum/)]);
  await history.close();
});
