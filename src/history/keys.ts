/**
 * The keys of the store (its layout stands at the top of store.ts). A key begins with the letter of its section; numbers
 * are big-endian, so that keys sort by time.
 */
export const SECTION = {
  chunk: 'c',
  decision: 'd',
  decisionById: 'e',
  decisionByReservation: 'g',
  fact: 'f',
  seriesId: 'i',
  journal: 'j',
  meta: 'm',
  seriesName: 'n',
  run: 'r',
  runById: 's',
  rollup10s: 'u',
  rollup5m: 'v',
  rollupState: 'w',
  rollupStale: 'x',
} as const;

export type Key = Uint8Array;

export const BUCKET_MS = 3_600_000;

export function bucketOf(atMs: number): number {
  return Math.floor(atMs / BUCKET_MS);
}

export interface ChunkKey {
  readonly bucket: number;
  readonly series: number;
  readonly startMs: number;
  /** Numbers every chunk ever written: two chunks never share a key, whatever the wall clock does. */
  readonly number: number;
}

const CHUNK_KEY_BYTES = 21;

export function chunkKey({ bucket, series, startMs, number }: ChunkKey): Key {
  const key = Buffer.allocUnsafe(CHUNK_KEY_BYTES);
  key.write(SECTION.chunk, 0, 'latin1');
  key.writeUInt32BE(bucket, 1);
  key.writeUInt32BE(series, 5);
  key.writeUIntBE(startMs, 9, 6);
  key.writeUIntBE(number, 15, 6);
  return key;
}

/** undefined for a key that no chunk can have. */
export function parseChunkKey(key: Key): ChunkKey | undefined {
  if (key.length !== CHUNK_KEY_BYTES) return undefined;
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  return {
    bucket: bytes.readUInt32BE(1),
    series: bytes.readUInt32BE(5),
    startMs: bytes.readUIntBE(9, 6),
    number: bytes.readUIntBE(15, 6),
  };
}

/** All chunks from the start of a bucket on. */
export function bucketStart(bucket: number): Key {
  return chunkKey({ bucket: Math.min(Math.max(0, bucket), 0xffffffff), series: 0, startMs: 0, number: 0 });
}

/** Roll-ups of one series' hour, or the mark that they are stale. */
export function rollupKey(section: string, bucket: number, series: number): Key {
  const key = Buffer.allocUnsafe(9);
  key.write(section, 0, 'latin1');
  key.writeUInt32BE(Math.min(Math.max(0, bucket), 0xffffffff), 1);
  key.writeUInt32BE(series, 5);
  return key;
}

/** undefined for a key that no roll-up can have. */
export function parseRollupKey(key: Key): { bucket: number; series: number } | undefined {
  if (key.length !== 9) return undefined;
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  return { bucket: bytes.readUInt32BE(1), series: bytes.readUInt32BE(5) };
}

export const rollupStateKey: Key = Buffer.from(SECTION.rollupState, 'latin1');

/** Section, then a time or sequence number, then text: decisions and runs in time order, journal records in sequence. */
export function orderedKey(section: string, order: number, text = ''): Key {
  const tail = Buffer.from(text, 'utf8');
  const key = Buffer.allocUnsafe(7 + tail.length);
  key.write(section, 0, 'latin1');
  key.writeUIntBE(Math.min(Math.max(0, Math.floor(order)), 2 ** 48 - 1), 1, 6);
  tail.copy(key, 7);
  return key;
}

export function orderOf(key: Key): number {
  return Buffer.from(key.buffer, key.byteOffset, key.length).readUIntBE(1, 6);
}

export function textKey(section: string, text: string): Key {
  return Buffer.from(section + text, 'utf8');
}

export function textOf(key: Key): string {
  return Buffer.from(key.buffer, key.byteOffset + 1, key.length - 1).toString('utf8');
}

export function seriesIdKey(id: number): Key {
  const key = Buffer.allocUnsafe(5);
  key.write(SECTION.seriesId, 0, 'latin1');
  key.writeUInt32BE(id, 1);
  return key;
}

export const metaKey: Key = Buffer.from(SECTION.meta, 'latin1');

/** Everything in one section, or below a text prefix in it. */
export function sectionRange(section: string, prefix = ''): { gte: Key; lt: Key } {
  const gte = textKey(section, prefix);
  const lt = Buffer.from(gte);
  // Neither section letters nor UTF-8 text end in 0xff.
  lt[lt.length - 1]!++;
  return { gte, lt };
}
