import { levelCode } from './damage.js';
import type { Db } from './database.js';
import { readFailure } from './failures.js';
import type { Key } from './keys.js';

export interface Range {
  readonly gte: Key;
  readonly lt: Key;
}

export interface ScanOptions {
  readonly snapshot?: ReturnType<Db['snapshot']>;
  /** Entries read ahead at most; the read-ahead is also bounded in bytes (highWaterMarkBytes). */
  readonly page?: number;
  /** Called for each stretch of the range that LevelDB could not read. */
  readonly onDamage: (why: unknown) => void;
}

/**
 * Entries of a range in key order. Where a table block is unreadable LevelDB says only "corruption" for all that is read
 * from there on; the scan then looks for the next readable place by doubling jumps of the key's first bytes.
 */
export async function* scan(
  db: Db,
  range: Range,
  options: ScanOptions,
): AsyncGenerator<readonly [Key, Uint8Array]> {
  let { gte } = range;
  for (let jump = 1; Buffer.compare(gte, range.lt) < 0; jump *= 2) {
    const from = gte;
    try {
      for await (const entry of readPages(db, { gte, lt: range.lt }, options)) {
        gte = after(entry[0]);
        yield entry;
      }
      return;
    } catch (error) {
      if (levelCode(error) !== 'LEVEL_CORRUPTION') throw readFailure(error);
      if (gte !== from) jump = 1;
      options.onDamage(error);
      gte = jumped(gte, jump);
    }
  }
}

async function* readPages(
  db: Db,
  range: Range,
  { snapshot, page = 64 }: ScanOptions,
): AsyncGenerator<readonly [Key, Uint8Array]> {
  const iterator = db.iterator({ ...range, ...(snapshot === undefined ? {} : { snapshot }) });
  try {
    for (;;) {
      const entries = await iterator.nextv(page);
      if (entries.length === 0) return;
      yield* entries;
    }
  } finally {
    await iterator.close();
  }
}

/** The smallest key after this one. */
function after(key: Key): Key {
  return Buffer.concat([key, Buffer.of(0)]);
}

/** The key whose bytes 1-6, read as a number, are `jump` more: the time of an ordered key, the front of a name. */
function jumped(key: Key, jump: number): Key {
  const next = Buffer.alloc(7);
  next.set(key.subarray(0, 7));
  const order = next.readUIntBE(1, 6) + jump;
  if (order >= 2 ** 48) return Buffer.of(next[0]! + 1);
  next.writeUIntBE(order, 1, 6);
  return next;
}
