import { cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { decodeColumns } from '../../src/history/chunk.js';
import { unframe, unframeJson } from '../../src/history/frame.js';
import { parseChunkKey } from '../../src/history/keys.js';
import { checkTable, entriesOf } from '../../src/history/table-file.js';
import { decisionOf, open, read, runOf, stillClock, T0 } from './history.js';

export const HOURS = 3;
const SAMPLES = HOURS * 3_600;
const SERIES = ['a', 'b'] as const;
type Name = (typeof SERIES)[number];

/** Told apart by series and by time: a value in another's place is seen. b is noise, so that its chunks fill blocks. */
export const valueAt = (series: Name, i: number): number =>
  series === 'a' ? i : 100_000 + ((Math.imul(i, 2_654_435_761) >>> 8) % 65_536) / 8;
const now = () => stillClock(T0 + (SAMPLES + 7_200) * 1_000);

/** Several tables, a log and roll-ups: each opening makes a table of the log that it finds. */
export async function makeStore(dir: string): Promise<void> {
  for (let hour = 0; hour < HOURS; hour++) {
    const { history } = await open(dir, { clock: now() });
    for (let i = hour * 3_600; i < (hour + 1) * 3_600; i++)
      history.append(SERIES.map((series) => ({ series, atMs: T0 + i * 1_000, value: valueAt(series, i) })));
    await history.putDecision(decisionOf(`d${hour}`, `r${hour}`, T0 + hour));
    for (let run = 0; run < 5; run++)
      await history.putRun(runOf(`run${hour * 5 + run}`, T0 + hour * 5 + run));
    await history.putFact(`fact${hour}`, { hour });
    if (hour === HOURS - 2) await history.rollUp();
    await history.close();
  }
}

export interface Damage {
  readonly file: string;
  readonly kind: 'cut' | 'flip';
  readonly offset: number;
  readonly flip: number;
}

/** Files that hold something; LOCK is empty and LOG is LevelDB's diary. */
export function filesOf(dir: string): string[] {
  return [
    'FORMAT',
    ...readdirSync(join(dir, 'db'))
      .filter((name) => !/^LO(CK|G)/.test(name))
      .map((name) => join('db', name)),
  ].sort();
}

/** By table: which samples stand in it. */
export function samplesByTable(dir: string): Map<string, Set<string>> {
  const names = new Map<number, string>();
  const chunks: { file: string; id: number; at: Float64Array }[] = [];
  for (const file of filesOf(dir).filter((name) => name.endsWith('.ldb'))) {
    const bytes = readFileSync(join(dir, file));
    for (const block of checkTable(bytes).blocks)
      for (const { key, value } of entriesOf(bytes, block)) {
        if (key[0] === 0x69) names.set(Buffer.from(key).readUInt32BE(1), unframeJson<string>(key, value));
        const chunk = key[0] === 0x63 ? parseChunkKey(key) : undefined;
        if (chunk !== undefined)
          chunks.push({ file, id: chunk.series, at: decodeColumns(unframe(key, value)).at });
      }
  }
  const found = new Map<string, Set<string>>();
  for (const { file, id, at } of chunks) {
    const set = found.get(file) ?? new Set();
    found.set(file, set);
    for (const atMs of at) set.add(`${names.get(id)} ${atMs}`);
  }
  return found;
}

/** Opens a copy of the store with one damage and holds it to what must be true of any. Returns how many samples were lost. */
export async function tryDamage(
  pristine: string,
  dir: string,
  damage: Damage,
  tables: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<number> {
  cpSync(pristine, dir, { recursive: true });
  apply(dir, damage);
  const said = JSON.stringify(damage);
  const opened = await open(dir, { clock: now() }).catch((error: Error) => error);
  if (opened instanceof Error) {
    // A flipped digit is a format that only a newer corecast knows: refused, and nothing touched.
    expect(damage.file, `${said}: ${opened.message}`).toBe('FORMAT');
    expect(opened.message).toMatch(/format \d+, this corecast reads formats up to 2/);
    return 0;
  }
  const { history, report } = opened;
  try {
    const lost = await missing(history, said);
    const own = tables.get(damage.file);
    if (/CURRENT|FORMAT|MANIFEST/.test(damage.file)) expect(lost, said).toEqual([]);
    if (own !== undefined)
      expect(
        lost.filter((sample) => !own.has(sample)),
        said,
      ).toEqual([]);
    // A cut log is what every kill -9 leaves.
    if (lost.length > 0 && !(damage.kind === 'cut' && damage.file.endsWith('.log')))
      expect(report, said).not.toEqual([]);
    await checkDocuments(history, said);
    history.append([{ series: 'after', atMs: T0, value: 1 }]);
    await history.flush();
    expect((await read(history, { series: 'after' })).get('after'), said).toEqual([{ atMs: T0, value: 1 }]);
    expect((await history.verify()).damage, said).toEqual([]);
    return lost.length;
  } finally {
    await history.close();
  }
}

type Store = Awaited<ReturnType<typeof open>>['history'];

/** Samples that are not there; one that is there twice or with another value fails. */
async function missing(history: Store, said: string): Promise<string[]> {
  const lost: string[] = [];
  for (const series of SERIES) {
    const seen = new Set<number>();
    // Plain comparisons: an assertion for each of thousands of samples would take longer than all the rest.
    for (const { atMs, value } of (await read(history, { series })).get(series) ?? []) {
      if (value !== valueAt(series, (atMs - T0) / 1_000))
        expect.fail(`${said}: ${series} at ${atMs} is ${value}`);
      if (seen.has(atMs)) expect.fail(`${said}: ${series} at ${atMs} is there twice`);
      seen.add(atMs);
    }
    for (let i = 0; i < SAMPLES; i++) if (!seen.has(T0 + i * 1_000)) lost.push(`${series} ${T0 + i * 1_000}`);
    const steps = await read(history, { series, stepMs: 10_000, aggregate: 'max' });
    for (const { atMs, value } of steps.get(series) ?? []) {
      const first = Math.round((atMs - T0) / 1_000);
      const inside = Array.from({ length: 10 }, (_, i) => valueAt(series, first + i));
      if (!inside.includes(value)) expect.fail(`${said}: the step of ${series} at ${atMs} is ${value}`);
    }
  }
  return lost;
}

async function checkDocuments(history: Store, said: string): Promise<void> {
  for await (const run of history.runs())
    expect(run, said).toEqual(runOf(run.id, T0 + Number(run.id.slice(3))));
  for (let hour = 0; hour < HOURS; hour++) {
    expect([undefined, { hour }], said).toContainEqual(await history.getFact(`fact${hour}`));
    const decision = await history.decision({ decisionId: `d${hour}` });
    if (decision !== undefined) expect(decision, said).toEqual(decisionOf(`d${hour}`, `r${hour}`, T0 + hour));
  }
}

function apply(dir: string, { file, kind, offset, flip }: Damage): void {
  const path = join(dir, file);
  if (kind === 'cut') {
    truncateSync(path, offset);
    return;
  }
  const bytes = readFileSync(path);
  bytes[offset]! ^= flip;
  writeFileSync(path, bytes);
}
