import type { Operation } from './database.js';
import { frame } from './frame.js';
import { bucketOf, chunkKey } from './keys.js';
import type { Series } from './open-series.js';
import type { Rollups } from './rollups.js';

export interface FullChunk {
  readonly startMs: number;
  readonly endMs: number;
  /** Its columns (chunk.ts). */
  readonly bytes: Uint8Array;
  readonly number: number;
}

/** What writes a chunk of a numbered series: the chunk, and marks on roll-ups that it makes stale. */
export function chunkOperations(series: Series, chunk: FullChunk, rollups: Rollups): Operation[] {
  const { startMs, endMs, bytes, number } = chunk;
  const bucket = bucketOf(startMs);
  const none = series.first > series.last;
  const first = none ? bucket : Math.min(series.first, bucket);
  const last = none ? bucket : Math.max(series.last, bucket);
  if (first !== series.first || last !== series.last) Object.assign(series, { first, last, changed: true });
  const key = chunkKey({ bucket, series: series.id, startMs, number });
  const marks = rollups.marksFor(series.id, bucket, bucketOf(endMs));
  return [{ type: 'put', key, value: frame(key, bytes) }, ...marks];
}
