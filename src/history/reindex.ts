import type { Db, Operation } from './database.js';
import { frameJson } from './frame.js';
import {
  type Key,
  metaKey,
  orderOf,
  parseChunkKey,
  SECTION,
  sectionRange,
  seriesIdKey,
  textKey,
  textOf,
} from './keys.js';
import { type Meta, parseMeta } from './meta.js';
import { scan } from './scan.js';
import { parseSeriesName, parseSeriesRecord, type SeriesRecord } from './series-names.js';

const PUTS_PER_WRITE = 500;

/** Buckets of a series' chunks. */
interface Extent {
  first: number;
  last: number;
}

/**
 * After a repair the newest word of some records may be gone. What others tell of them is written anew: the numbers that
 * were given, or a new series would get the number, and so the samples, of an old one; and where each series has chunks.
 * Returns how many series have samples but no name any more: those stay unread.
 */
export async function reindex(db: Db): Promise<number> {
  const { extents, newestChunk } = await readChunkKeys(db);
  const names = await readNames(db);
  const operations: Operation[] = [];
  const put = (key: Key, value: unknown) =>
    operations.push({ type: 'put', key, value: frameJson(key, value) });
  for (const [name, record] of names) {
    const { first, last } = extents.get(record.id) ?? { first: 1, last: 0 };
    put(textKey(SECTION.seriesName, name), { id: record.id, first, last } satisfies SeriesRecord);
    put(seriesIdKey(record.id), name);
  }
  const named = new Set([...names.values()].map(({ id }) => id));
  const known: Partial<Meta> = parseMeta(await db.get(metaKey)) ?? {};
  const meta: Meta = {
    record: Math.max(known.record ?? 0, await newestRecord(db)),
    chunk: Math.max(known.chunk ?? 0, newestChunk),
    series: Math.max(known.series ?? 0, ...named, ...extents.keys()),
    names: names.size,
  };
  put(metaKey, meta);
  for (let i = 0; i < operations.length; i += PUTS_PER_WRITE)
    await db.batch(operations.slice(i, i + PUTS_PER_WRITE) as Operation[]);
  return [...extents.keys()].filter((id) => !named.has(id)).length;
}

async function readChunkKeys(db: Db): Promise<{ extents: Map<number, Extent>; newestChunk: number }> {
  const extents = new Map<number, Extent>();
  let newestChunk = 0;
  for await (const [key] of scan(db, sectionRange(SECTION.chunk), ignoreDamage)) {
    const parsed = parseChunkKey(key);
    if (parsed === undefined) continue;
    const { series, bucket, number } = parsed;
    newestChunk = Math.max(newestChunk, number);
    const extent = extents.get(series);
    if (extent === undefined) extents.set(series, { first: bucket, last: bucket });
    else {
      extent.first = Math.min(extent.first, bucket);
      extent.last = Math.max(extent.last, bucket);
    }
  }
  return { extents, newestChunk };
}

/** From names to numbers and from numbers to names: either is enough. */
async function readNames(db: Db): Promise<Map<string, { id: number }>> {
  const names = new Map<string, { id: number }>();
  for await (const [key, value] of scan(db, sectionRange(SECTION.seriesId), ignoreDamage)) {
    const name = parseSeriesName(key, value);
    if (name !== undefined && key.length === 5) names.set(name, { id: Buffer.from(key).readUInt32BE(1) });
  }
  for await (const [key, value] of scan(db, sectionRange(SECTION.seriesName), ignoreDamage)) {
    const record = parseSeriesRecord(key, value);
    if (record !== undefined) names.set(textOf(key), { id: record.id });
  }
  return names;
}

async function newestRecord(db: Db): Promise<number> {
  let newest = 0;
  for await (const [key] of scan(db, sectionRange(SECTION.journal), ignoreDamage)) newest = orderOf(key);
  return newest;
}

const ignoreDamage = { onDamage: () => {} };
