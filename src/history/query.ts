import { invalidField, isCorecastError } from '../lib/errors.js';
import { decodeChunk, MAX_AT_MS, type Samples } from './chunk.js';
import { type Db, getEach, type HistoryDatabase, readFailure } from './database.js';
import type { SeriesChunk, SeriesQuery } from './history.js';
import {
  bucketOf,
  bucketStart,
  chunkKey,
  parseChunkKey,
  SECTION,
  sectionRange,
  textKey,
  textOf,
} from './keys.js';
import { ascending } from './merge.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { scan } from './scan.js';
import { parseSeriesRecord } from './series-names.js';
import type { SeriesStore } from './series-store.js';
import { Page, type PointSink, StepMeans } from './steps.js';

/** Reads series back: chunks from disk and memory, merged in time order, streamed as the reader asks. */
export class SeriesReader {
  damagedChunks = 0;
  readonly #database: HistoryDatabase;
  readonly #store: SeriesStore;
  readonly #onDamage: (why: unknown) => void;

  constructor(database: HistoryDatabase, store: SeriesStore, onDamage: (why: unknown) => void) {
    this.#database = database;
    this.#store = store;
    this.#onDamage = onDamage;
  }

  async *query(query: SeriesQuery): AsyncGenerator<SeriesChunk> {
    validate(query);
    try {
      for (const name of await this.#namesOf(query.series)) yield* this.#readSeries(name, query);
    } catch (error) {
      throw readFailure(error);
    }
  }

  /** Sorted. */
  async names(prefix = ''): Promise<string[]> {
    const names = new Set<string>();
    for (const name of this.#store.openNames()) if (name.startsWith(prefix)) names.add(name);
    const range = sectionRange(SECTION.seriesName, prefix);
    for await (const [key] of scan(this.#database.level, range, { page: 1_000, onDamage: this.#damaged })) {
      const name = textOf(key);
      if (name.startsWith(prefix)) names.add(name);
    }
    return [...names].sort();
  }

  #namesOf(series: string): Promise<readonly string[]> | readonly string[] {
    return series.endsWith('.*') ? this.names(series.slice(0, -1)) : [series];
  }

  async *#readSeries(name: string, query: SeriesQuery): AsyncGenerator<SeriesChunk> {
    const sink: PointSink =
      query.stepMs === 0 ? new Page(name) : new StepMeans(name, query.stepMs, query.fromMs);
    for await (const { at, values, from, to } of ascending(this.#chunks(name, query))) {
      for (let i = from; i < to; i++) {
        if (at[i]! < query.fromMs || at[i]! >= query.toMs) continue;
        sink.add(at[i]!, values[i]!);
        if (sink.full) yield sink.take();
      }
    }
    sink.end();
    while (sink.size > 0) yield sink.take();
  }

  /** By ascending start. */
  async *#chunks(name: string, { fromMs, toMs }: SeriesQuery): AsyncGenerator<Samples> {
    await this.#store.settled();
    // No await between these: what is flushed later is in `memory`, what was flushed before is in the snapshot.
    const memory = this.#store.inMemory(name).sort((a, b) => a.at[0]! - b.at[0]!);
    const { level } = this.#database;
    const snapshot = level.snapshot();
    try {
      for await (const chunk of this.#chunksOnDisk(level, snapshot, name, fromMs, toMs)) {
        while (memory.length > 0 && memory[0]!.at[0]! <= chunk.at[0]!) yield memory.shift()!;
        yield chunk;
      }
    } finally {
      await snapshot.close();
    }
    yield* memory;
  }

  async *#chunksOnDisk(
    level: Db,
    snapshot: ReturnType<Db['snapshot']>,
    name: string,
    fromMs: number,
    toMs: number,
  ): AsyncGenerator<Samples> {
    const record = parseSeriesRecord((await getEach(level, [textKey(SECTION.seriesName, name)]))[0]);
    if (record === undefined || record.first > record.last) return;
    const startMs = Math.max(0, fromMs - CHUNK_SPAN_MS);
    const end = Math.min(bucketOf(toMs - 1), record.last);
    for (let bucket = Math.max(bucketOf(startMs), record.first); bucket <= end; bucket++) {
      const range = {
        gte: chunkKey({ bucket, series: record.id, startMs, number: 0 }),
        lt: chunkKey({ bucket, series: record.id, startMs: Math.min(toMs, 2 * MAX_AT_MS - 1), number: 0 }),
      };
      let found = false;
      for await (const [, value] of scan(level, range, { snapshot, onDamage: this.#damaged })) {
        found = true;
        const chunk = this.#decode(value);
        if (chunk !== undefined && chunk.at.length > 0) yield chunk;
      }
      if (!found) bucket = (await nextBucket(level, snapshot, bucket + 1, this.#damaged)) - 1;
    }
  }

  #decode(value: Uint8Array): Samples | undefined {
    try {
      return decodeChunk(value);
    } catch (error) {
      if (!isCorecastError(error, 'STORE_DAMAGED')) throw error;
      this.#damaged(error);
      return undefined;
    }
  }

  #damaged = (why: unknown): void => {
    this.damagedChunks++;
    this.#onDamage(why);
  };
}

/** The next bucket with chunks of any series: a gap in the record, or a clock that once stood at 1970, costs one look. */
async function nextBucket(
  level: Db,
  snapshot: ReturnType<Db['snapshot']>,
  bucket: number,
  onDamage: (why: unknown) => void,
): Promise<number> {
  const range = { ...sectionRange(SECTION.chunk), gte: bucketStart(bucket) };
  for await (const [key] of scan(level, range, { snapshot, page: 1, onDamage })) {
    const found = parseChunkKey(key);
    if (found !== undefined) return found.bucket;
  }
  return Number.POSITIVE_INFINITY;
}

function validate({ series, fromMs, toMs, stepMs }: SeriesQuery): void {
  if (series.length < 1 || series.length > 200) throw invalidField('series', series, '1 to 200 characters');
  if (series.replace(/\.\*$/, '').includes('*'))
    throw invalidField('series', series, 'a name, or a prefix that ends in ".*"');
  const time = `whole unix milliseconds from 0 to ${MAX_AT_MS}`;
  for (const [field, value] of Object.entries({ from_ms: fromMs, to_ms: toMs }))
    if (!(Number.isInteger(value) && value >= 0 && value <= MAX_AT_MS))
      throw invalidField(field, value, time);
  if (fromMs > toMs) throw invalidField('from_ms', fromMs, `at most to_ms (${toMs})`);
  if (!(Number.isInteger(stepMs) && stepMs >= 0 && stepMs <= MAX_AT_MS))
    throw invalidField('step_ms', stepMs, 'whole milliseconds, 0 for the samples as stored');
}
