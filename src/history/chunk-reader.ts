import { isCorecastError } from '../lib/errors.js';
import { decodeColumns, MAX_AT_MS, type Samples } from './chunk.js';
import type { Db } from './database.js';
import { unframe } from './frame.js';
import { bucketOf, chunkKey, type Key, rollupKey, SECTION, sectionRange } from './keys.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { scan } from './scan.js';
import type { SeriesRecord } from './series-names.js';

export type Snapshot = ReturnType<Db['snapshot']>;
type OnDamage = (why: unknown) => void;

/**
 * Chunks on disk that may have samples from `fromMs` to before `toMs`, by ascending start. While one hour is looked at the
 * next one is read.
 */
export async function* chunksOnDisk(
  level: Db,
  snapshot: Snapshot,
  { id, first, last }: SeriesRecord,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  onDamage: OnDamage,
): AsyncGenerator<Samples> {
  const startMs = Math.max(0, fromMs - CHUNK_SPAN_MS);
  const end = Math.min(bucketOf(toMs - 1), last);
  const read = (bucket: number) => {
    const gte = chunkKey({ bucket, series: id, startMs, number: 0 });
    const lt = chunkKey({ bucket, series: id, startMs: Math.min(toMs, 2 * MAX_AT_MS - 1), number: 0 });
    const entries = gather(scan(level, { gte, lt }, { snapshot, onDamage }));
    // Whoever waits for it is told; until then nobody may.
    entries.catch(() => {});
    return entries;
  };
  let ahead: Promise<Entry[]> | undefined;
  try {
    for (let bucket = Math.max(bucketOf(startMs), first); bucket <= end; bucket++) {
      const entries = await (ahead ?? read(bucket));
      ahead = entries.length > 0 && bucket < end ? read(bucket + 1) : undefined;
      for (const [key, value] of entries) {
        const chunk = readChunk(key, value, onDamage);
        if (chunk !== undefined && chunk.at.length > 0) yield chunk;
      }
      if (entries.length === 0) bucket = (await nextBucket(level, snapshot, bucket + 1, onDamage)) - 1;
    }
  } finally {
    // The snapshot may be closed only when nothing reads it any more.
    await ahead?.catch(() => {});
  }
}

type Entry = readonly [Key, Uint8Array];

async function gather(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const gathered: Entry[] = [];
  for await (const entry of entries) gathered.push(entry);
  return gathered;
}

/** The next bucket with chunks of any series: a gap in the record, or a clock that once stood at 1970, costs one look. */
export function nextBucket(
  level: Db,
  snapshot: Snapshot | undefined,
  bucket: number,
  onDamage: OnDamage,
): Promise<number> {
  return nextBucketOf(SECTION.chunk, level, snapshot, bucket, onDamage);
}

/** The same for any section whose keys begin with a bucket; infinity when there is none. */
export async function nextBucketOf(
  section: string,
  level: Db,
  snapshot: Snapshot | undefined,
  bucket: number,
  onDamage: OnDamage,
): Promise<number> {
  const range = { ...sectionRange(section), gte: rollupKey(section, bucket, 0) };
  const options = { ...(snapshot === undefined ? {} : { snapshot }), page: 1, onDamage };
  for await (const [key] of scan(level, range, options))
    if (key.length >= 9) return Buffer.from(key.buffer, key.byteOffset, key.length).readUInt32BE(1);
  return Number.POSITIVE_INFINITY;
}

function readChunk(key: Key, value: Uint8Array, onDamage: OnDamage): Samples | undefined {
  try {
    return decodeColumns(unframe(key, value));
  } catch (error) {
    if (!isCorecastError(error, 'STORE_DAMAGED')) throw error;
    onDamage(error);
    return undefined;
  }
}
