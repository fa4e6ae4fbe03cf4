import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { type Answer, answerKey, fingerprintOf } from '../../src/reservation/ledger-format.js';
import { type LedgerStore, levelStore, type StoreOperation } from '../../src/reservation/ledger-store.js';
import { ended, open, record, temporaryDirectory } from '../support/ledger-records.js';
import { ManualTime } from '../support/manual-time.js';

const KEY = answerKey('Reserve', 1000, 'key-1');
const ANSWER: Answer = {
  fingerprint: fingerprintOf({ name: 'a' }),
  atMs: 1_800_000_000_000,
  reservation: record('a').reservation,
};

/** LevelDB whose writes can be made to fail, before or after they reached the disk. */
function fallible(directory: string) {
  const store: LedgerStore = levelStore(directory);
  const batches: { operations: StoreOperation[]; sync: boolean }[] = [];
  const faults = { fail: 'no' as 'no' | 'before' | 'after', open: false };
  const wrapped: LedgerStore = {
    open: async () => {
      if (faults.open) throw new Error('IO error: No space left on device');
      await store.open();
    },
    close: () => store.close(),
    get: (key) => store.get(key),
    iterator: () => store.iterator(),
    batch: async (operations, options) => {
      batches.push({ operations, sync: options.sync });
      if (faults.fail === 'before') throw new Error('IO error: No space left on device');
      await store.batch(operations, options);
      if (faults.fail === 'after') throw new Error('IO error: Input/output error');
    },
  };
  return { createStore: () => wrapped, batches, faults };
}

describe('the ledger', () => {
  it('has every change on the disk when commit returns: a copy of the directory made then knows it', async () => {
    const directory = join(temporaryDirectory(), 'ledger');
    const { ledger, report } = await open(directory);
    expect(report).toEqual([]);
    await ledger.commit({
      records: [record('a', { token: ledger.nextToken() })],
      answer: { key: KEY, answer: ANSWER },
    });
    cpSync(directory, `${directory}-copy`, { recursive: true });
    const copy = await open(`${directory}-copy`);
    expect(copy.report).toEqual([]);
    expect(copy.ledger.get('a')).toEqual(ledger.get('a'));
    expect(await copy.ledger.answer(KEY)).toEqual(ANSWER);
    expect(copy.ledger.nextToken()).toBe(2);
    await Promise.all([ledger.close(), copy.ledger.close()]);
  });

  it('lets changes that come at once share synced batches', async () => {
    const directory = temporaryDirectory();
    const { createStore, batches } = fallible(directory);
    const { ledger } = await open(directory, { createStore });
    await Promise.all(Array.from({ length: 100 }, (_, i) => ledger.commit({ records: [record(`r${i}`)] })));
    expect([...ledger.live()]).toHaveLength(100);
    expect(batches.every(({ sync }) => sync)).toBe(true);
    expect(batches.length).toBeLessThanOrEqual(3);
    await ledger.close();
  });

  it('never issues a token twice, not even after a restart', async () => {
    const directory = temporaryDirectory();
    const seen: number[] = [];
    for (let life = 0; life < 3; life++) {
      const { ledger } = await open(directory);
      const token = ledger.nextToken();
      seen.push(token);
      await ledger.commit({ records: [record(`r${life}`, { token })] });
      await ledger.close();
    }
    expect(seen).toEqual([1, 2, 3]);
    const { ledger } = await open(directory);
    ledger.raiseToken(500);
    ledger.raiseToken(10);
    expect(ledger.nextToken()).toBe(501);
    await ledger.close();
  });

  it('removes what ended, and old answers, after their time and not before, whatever the wall clock does', async () => {
    const time = new ManualTime();
    const directory = temporaryDirectory();
    const options = { clock: time, keepEndedMs: () => 60_000 };
    const { ledger } = await open(directory, options);
    await ledger.commit({ records: [record('live')] });
    await ledger.commit({
      records: [ended('done', { changedMs: time.nowMs() })],
      answer: { key: KEY, answer: { ...ANSWER, atMs: time.nowMs() } },
    });
    time.jumpWallClock(86_400_000);
    expect(await ledger.sweep()).toBe(0);
    time.jumpWallClock(-86_400_000);
    await time.pass(30_000);
    await ledger.close();

    const again = await open(directory, options);
    expect(again.report).toEqual([]);
    await time.pass(29_999);
    expect(await again.ledger.sweep()).toBe(0);
    await time.pass(1);
    expect(await again.ledger.sweep()).toBe(2);
    expect(again.ledger.get('done')).toBeUndefined();
    expect(again.ledger.fingerprint(KEY)).toBeUndefined();
    expect(again.ledger.get('live')).toBeDefined();
    await again.ledger.close();
    const third = await open(directory, options);
    expect(third.report).toEqual([]);
    expect([...third.ledger.records()].map(({ reservation }) => reservation.id)).toEqual(['live']);
    await third.ledger.close();
  });

  it('refuses to share a database with another process, and says so', async () => {
    const directory = temporaryDirectory();
    const { ledger } = await open(directory);
    await expect(open(directory)).rejects.toThrow(/held by another process: is another corecastd running/);
    await ledger.commit({ records: [record('a')] });
    await ledger.close();
    await expect(ledger.commit({ records: [record('b')] })).rejects.toThrow(/is closed/);
  });
});

describe('a failed write', () => {
  it('changes nothing and says STORE_FAILED', async () => {
    const directory = temporaryDirectory();
    const { createStore, faults } = fallible(directory);
    const { ledger } = await open(directory, { createStore });
    await ledger.commit({ records: [record('a')] });
    faults.fail = 'before';
    const failed = await ledger
      .commit({ records: [record('b'), ended('a')], answer: { key: KEY, answer: ANSWER } })
      .catch((error: unknown) => error);
    expect(isCorecastError(failed, 'STORE_FAILED')).toBe(true);
    expect((failed as Error).message).toMatch(/nothing was changed.*No space left/);
    expect(ledger.get('b')).toBeUndefined();
    expect(ledger.get('a')).toEqual(record('a'));
    expect(ledger.fingerprint(KEY)).toBeUndefined();
    await ledger.close();
  });

  it('is taken back by the next one if it reached the disk all the same', async () => {
    const directory = temporaryDirectory();
    const { createStore, faults } = fallible(directory);
    const { ledger } = await open(directory, { createStore });
    await ledger.commit({ records: [record('a')] });
    faults.fail = 'after';
    await expect(
      ledger.commit({ records: [record('ghost'), ended('a')], answer: { key: KEY, answer: ANSWER } }),
    ).rejects.toThrow(/Input\/output error/);
    faults.fail = 'no';
    await ledger.commit({ records: [record('c')] });
    await ledger.close();
    const again = await open(directory);
    expect(again.report).toEqual([]);
    expect([...again.ledger.records()].map(({ reservation }) => reservation.id)).toEqual(['a', 'c']);
    expect(again.ledger.get('a')).toEqual(record('a'));
    expect(again.ledger.fingerprint(KEY)).toBeUndefined();
    await again.ledger.close();
  });

  it('is survived: writes succeed again when the disk does, also when the reopening failed at first', async () => {
    const directory = temporaryDirectory();
    const { createStore, faults } = fallible(directory);
    const { ledger } = await open(directory, { createStore });
    faults.fail = 'before';
    await expect(ledger.commit({ records: [record('a')] })).rejects.toThrow(/No space left/);
    faults.fail = 'no';
    faults.open = true;
    await expect(ledger.commit({ records: [record('b')] })).rejects.toThrow(/could not be reopened/);
    faults.open = false;
    await ledger.commit({ records: [record('c')] });
    expect([...ledger.live()].map(({ reservation }) => reservation.id)).toEqual(['c']);
    await ledger.close();
  });
});
