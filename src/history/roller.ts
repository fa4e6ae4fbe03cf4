import { setImmediate as breathe } from 'node:timers/promises';
import type { Clock } from '../lib/clock.js';
import type { Samples } from './chunk.js';
import { chunksOnDisk, nextBucket } from './chunk-reader.js';
import type { Db, HistoryDatabase, Operation } from './database.js';
import { frame } from './frame.js';
import { BUCKET_MS, bucketOf, bucketStart, parseChunkKey, rollupKey, SECTION } from './keys.js';
import { ascending } from './merge.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { ROLLUP_SECTION, type Rollups, stateOperation } from './rollups.js';
import { encodeWindows, WINDOW_MS, windowsOf } from './windows.js';

/** After an hour's end its last chunks may still fill (a chunk spans ten minutes) and be flushed. */
const SETTLE_MS = CHUNK_SPAN_MS + 300_000;
/** Read and written together, with no flush in between. */
const SERIES_PER_WRITE = 20;

/** Runs alone: no flush meanwhile. */
type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Rolls up hours that are over: reads their samples back and writes what the windows of each length say of them. Doing an
 * hour twice gives the same, so a crash costs the work and no more; and hours of older formats and of imports are rolled
 * up like any other.
 */
export class Roller {
  readonly #database: HistoryDatabase;
  readonly #rollups: Rollups;
  readonly #clock: Clock;
  readonly #exclusive: Exclusive;
  readonly #onDamage: (why: unknown) => void;

  constructor(
    database: HistoryDatabase,
    rollups: Rollups,
    clock: Clock,
    exclusive: Exclusive,
    onDamage: (why: unknown) => void,
  ) {
    this.#database = database;
    this.#rollups = rollups;
    this.#clock = clock;
    this.#exclusive = exclusive;
    this.#onDamage = onDamage;
  }

  /** At most so many hours, of those before a bucket; returns how many it did. The oldest come first. */
  async rollUp(mostHours = Number.POSITIVE_INFINITY, before = Number.POSITIVE_INFINITY): Promise<number> {
    const end = Math.min(before, bucketOf(Math.max(0, this.#clock.nowMs() - SETTLE_MS)));
    let done = 0;
    for (const { bucket, series } of this.#rollups.staleHours()) {
      if (done >= mostHours) return done;
      if (bucket >= end) continue;
      await this.#rollHour(bucket, series, this.#rollups.upTo);
      done++;
    }
    while (done < mostHours && this.#rollups.upTo < end) {
      const bucket = await nextBucket(this.#database.level, undefined, this.#rollups.upTo, this.#onDamage);
      if (bucket >= end) {
        await this.#advance(end);
        return done;
      }
      await this.#rollHour(bucket, await this.#seriesIn(bucket), bucket + 1);
      done++;
    }
    return done;
  }

  /** What is flushed to the hour from here on leaves a mark: `upTo` counts in memory at once, on disk at the end. */
  async #rollHour(bucket: number, series: readonly number[], upTo: number): Promise<void> {
    const advances = upTo > this.#rollups.upTo;
    this.#rollups.upTo = Math.max(this.#rollups.upTo, upTo);
    for (let i = 0; i < series.length; i += SERIES_PER_WRITE) {
      const some = series.slice(i, i + SERIES_PER_WRITE);
      await this.#exclusive(async () => {
        const operations: Operation[] = [];
        for (const id of some) {
          operations.push(...(await this.#operationsFor(bucket, id)));
          operations.push({ type: 'del', key: rollupKey(SECTION.rollupStale, bucket, id) });
        }
        await this.#database.write(operations);
        this.#rollups.settle(bucket, some);
      });
      await breathe();
    }
    if (advances) await this.#database.write([stateOperation(upTo)]);
  }

  async #advance(upTo: number): Promise<void> {
    await this.#database.write([stateOperation(upTo)]);
    this.#rollups.upTo = Math.max(this.#rollups.upTo, upTo);
  }

  async #operationsFor(bucket: number, id: number): Promise<Operation[]> {
    const samples = await this.#samplesOf(bucket, id);
    return WINDOW_MS.map((windowMs): Operation => {
      const key = rollupKey(ROLLUP_SECTION[windowMs], bucket, id);
      if (samples.at.length === 0) return { type: 'del', key };
      return { type: 'put', key, value: frame(key, encodeWindows(windowsOf(samples, windowMs))) };
    });
  }

  async #samplesOf(bucket: number, id: number): Promise<Samples> {
    const { level } = this.#database;
    const fromMs = bucket * BUCKET_MS;
    const toMs = fromMs + BUCKET_MS;
    const at: number[] = [];
    const values: number[] = [];
    const snapshot = level.snapshot();
    try {
      const record = { id, first: 0, last: bucket };
      const chunks = chunksOnDisk(level, snapshot, record, { fromMs, toMs }, this.#onDamage);
      for await (const slice of ascending(chunks))
        for (let i = slice.from; i < slice.to; i++)
          if (slice.at[i]! >= fromMs && slice.at[i]! < toMs) {
            at.push(slice.at[i]!);
            values.push(slice.values[i]!);
          }
    } finally {
      await snapshot.close();
    }
    return { at: Float64Array.from(at), values: Float64Array.from(values) };
  }

  /** Series with a chunk that begins in the hour, or so shortly before that it may reach into it. */
  async #seriesIn(bucket: number): Promise<number[]> {
    const series = new Set<number>();
    const level: Db = this.#database.level;
    const range = { gte: bucketStart(bucket - 1), lt: bucketStart(bucket + 1) };
    for await (const key of level.keys(range)) {
      const parsed = parseChunkKey(key);
      if (parsed !== undefined && parsed.startMs >= bucket * BUCKET_MS - CHUNK_SPAN_MS)
        series.add(parsed.series);
    }
    return [...series];
  }
}
