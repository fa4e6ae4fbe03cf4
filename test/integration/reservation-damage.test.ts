import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CENSUS_KEY, encode, recordKey } from '../../src/reservation/ledger-format.js';
import { levelStore } from '../../src/reservation/ledger-store.js';
import { open, record, temporaryDirectory } from '../support/ledger-records.js';

const COUNT = 40;

/** A closed ledger with COUNT reservations; `tables`: in table files instead of the write-ahead log. */
async function filled(tables: boolean): Promise<string> {
  const directory = join(temporaryDirectory(), 'ledger');
  const { ledger } = await open(directory);
  for (let i = 0; i < COUNT; i++) {
    await ledger.commit({ records: [record(`r${i}`, { token: ledger.nextToken() })] });
  }
  await ledger.close();
  if (tables) await (await open(directory)).ledger.close();
  return directory;
}

function flip(path: string, at: (length: number) => number[]): void {
  const bytes = readFileSync(path);
  for (const i of at(bytes.length)) bytes[i]! ^= 0x5a;
  writeFileSync(path, bytes);
}

function fileOf(directory: string, pattern: RegExp): string {
  const name = readdirSync(directory)
    .filter((file) => pattern.test(file))
    .at(-1);
  if (name === undefined) throw new Error(`no ${pattern} in ${directory}`);
  return join(directory, name);
}

async function writeRaw(directory: string, key: string, value: string): Promise<void> {
  const store = levelStore(directory);
  await store.open();
  await store.batch([{ type: 'put', key, value }], { sync: true });
  await store.close();
}

/** What must hold whatever was damaged: it opens, works, and either has everything or says what is wrong. */
async function survives(directory: string): Promise<{ report: string[]; left: number }> {
  const { ledger, report } = await open(directory);
  const left = [...ledger.records()].length;
  if (left < COUNT) expect(report.join('\n')).not.toBe('');
  for (const { reservation } of ledger.records()) {
    expect(reservation).toEqual(record(reservation.id, { token: reservation.token }).reservation);
  }
  expect(ledger.nextToken()).toBeGreaterThan(COUNT);
  await ledger.commit({ records: [record('new')] });
  await ledger.close();
  const again = await open(directory);
  expect(again.report).toEqual([]);
  expect([...again.ledger.records()]).toHaveLength(left + 1);
  await again.ledger.close();
  return { report, left };
}

describe('a damaged ledger', () => {
  it('with a bad MANIFEST is set aside with its files and reported; a fresh one works', async () => {
    const directory = await filled(true);
    flip(fileOf(directory, /^MANIFEST/), (length) => [0, 1, 2, length >> 1]);
    const { report, left } = await survives(directory);
    expect(left).toBe(0);
    expect(report.join('\n')).toMatch(
      /is damaged \(.+\); it was set aside as .+\.damaged-.+ and a fresh one started/,
    );
    const aside = readdirSync(dirname(directory)).filter((name) => name.startsWith('ledger.damaged-'));
    expect(aside).toHaveLength(1);
    expect(readdirSync(join(dirname(directory), aside[0]!)).some((name) => name.endsWith('.ldb'))).toBe(true);
  });

  it('with a missing CURRENT is not taken for an empty one', async () => {
    const directory = await filled(true);
    rmSync(join(directory, 'CURRENT'));
    const { report } = await survives(directory);
    expect(report.join('\n')).toMatch(/CURRENT is missing/);
  });

  it('with a missing table is set aside', async () => {
    const directory = await filled(true);
    rmSync(fileOf(directory, /\.ldb$/));
    const { report } = await survives(directory);
    expect(report.join('\n')).toMatch(/set aside|is damaged/);
  });

  it('with flipped bytes anywhere in a table or the log loses nothing in silence', async () => {
    for (const [tables, pattern] of [
      [true, /\.ldb$/],
      [false, /\.log$/],
    ] as const) {
      const source = await filled(tables);
      const length = readFileSync(fileOf(source, pattern)).length;
      for (let part = 0; part < 6; part++) {
        const directory = `${source}-${part}`;
        // A copy, because damage is repaired on opening.
        cpSync(source, directory, { recursive: true });
        flip(fileOf(directory, pattern), () => [Math.floor((length * (part + 0.5)) / 6)]);
        const { report, left } = await survives(directory);
        expect(report.length > 0 || left === COUNT).toBe(true);
      }
    }
  });

  it('sets a record aside that does not match its checksum, and uses the rest', async () => {
    const directory = await filled(false);
    const { value } = encode(recordKey('r7'), record('r7'));
    await writeRaw(directory, recordKey('r7'), value.replace('"shareMilli":250', '"shareMilli":950'));
    await writeRaw(directory, recordKey('r8'), 'not JSON');
    await writeRaw(directory, 'nonsense', encode('nonsense', record('r9')).value);
    const { report, left } = await survives(directory);
    expect(left).toBe(COUNT - 2);
    expect(report.join('\n')).toMatch(/"r\/r7" does not match its checksum; it was set aside/);
    expect(report.join('\n')).toMatch(/"r\/r8" is not a ledger value/);
    expect(report.join('\n')).toMatch(/"nonsense" has a key of no known kind/);
    const store = levelStore(directory);
    await store.open();
    const aside: string[] = [];
    for await (const [key, value] of store.iterator()) if (key.startsWith('x/')) aside.push(value);
    await store.close();
    expect(aside).toContain('not JSON');
  });

  it('notices by its census that records are gone', async () => {
    const directory = await filled(false);
    const store = levelStore(directory);
    await store.open();
    await store.batch([{ type: 'del', key: recordKey('r3') }], { sync: true });
    await store.close();
    const { report } = await survives(directory);
    expect(report).toEqual([expect.stringMatching(/held 40 reservations .* now 39 /)]);
  });

  it('of a newer format is refused and left as it is', async () => {
    const directory = await filled(false);
    const { value } = encode(CENSUS_KEY, { token: 9, records: 1, answers: 0, digest: '0'.repeat(16) });
    await writeRaw(directory, CENSUS_KEY, value.replace('{"v":1,', '{"v":2,'));
    await expect(open(directory)).rejects.toThrow(/has format 2, this corecast knows 1/);
    await expect(open(directory)).rejects.toThrow(/STORE_FAILED|has format 2/);
    const store = levelStore(directory);
    await store.open();
    let count = 0;
    for await (const [key] of store.iterator()) if (key.startsWith('r/')) count++;
    await store.close();
    expect(count).toBe(COUNT);
  });
});
