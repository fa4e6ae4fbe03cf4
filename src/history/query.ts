import { invalidField } from '../lib/errors.js';
import { MAX_AT_MS, type Samples } from './chunk.js';
import { chunksOnDisk, nextBucketOf, type Snapshot } from './chunk-reader.js';
import { type Db, getEach, type HistoryDatabase } from './database.js';
import { readFailure } from './failures.js';
import { AGGREGATES, type SeriesChunk, type SeriesQuery } from './history.js';
import { BUCKET_MS, bucketOf, SECTION, sectionRange, textKey, textOf } from './keys.js';
import { ascending, type Slice } from './merge.js';
import { ROLLUP_SECTION, type Rollups, readWindows, windowFor } from './rollups.js';
import { scan } from './scan.js';
import { parseSeriesRecord, type SeriesRecord } from './series-names.js';
import type { SeriesStore } from './series-store.js';
import { PAGE_POINTS, Steps } from './steps.js';
import { WINDOW_MS, type WindowMs, type Windows } from './windows.js';

/** Hours whose roll-ups are read together. */
const HOURS_AT_ONCE = 24;

interface Stretch {
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

/** What one query reads of one series: all as of one moment. */
interface View {
  readonly level: Db;
  readonly snapshot: Snapshot;
  readonly record: SeriesRecord;
  /** What is not on disk, by ascending start. */
  readonly memory: readonly Samples[];
}

/**
 * Reads series back: chunks from disk and memory, merged in time order, streamed as the reader asks. Steps that whole
 * windows of a roll-up make up are read from the roll-up, hour by hour, where it is current; the ends of the range that cut
 * a window, and all else, from the samples. Where the samples have aged out roll-ups answer, as fine as they are.
 */
export class SeriesReader {
  damagedChunks = 0;
  readonly #database: HistoryDatabase;
  readonly #store: SeriesStore;
  readonly #rollups: Rollups;
  readonly #onDamage: (why: unknown) => void;

  constructor(
    database: HistoryDatabase,
    store: SeriesStore,
    rollups: Rollups,
    onDamage: (why: unknown) => void,
  ) {
    this.#database = database;
    this.#store = store;
    this.#rollups = rollups;
    this.#onDamage = onDamage;
  }

  async *query(query: SeriesQuery): AsyncGenerator<SeriesChunk> {
    validate(query);
    try {
      for (const name of await this.#namesOf(query.series)) {
        if (query.stepMs === 0) yield* this.#readSamples(name, query);
        else yield* this.#readSteps(name, query);
      }
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

  async *#readSamples(series: string, query: SeriesQuery): AsyncGenerator<SeriesChunk> {
    yield* this.#withView(series, async function* (this: SeriesReader, view: View) {
      let points: { atMs: number; value: number }[] = [];
      for await (const { at, values, from, to } of this.#samples(view, query))
        for (let i = from; i < to; i++) {
          points.push({ atMs: at[i]!, value: values[i]! });
          if (points.length < PAGE_POINTS) continue;
          yield { series, points };
          points = [];
        }
      if (points.length > 0) yield { series, points };
    });
  }

  async *#readSteps(name: string, query: SeriesQuery): AsyncGenerator<SeriesChunk> {
    const steps = new Steps(name, query);
    const windowMs = windowFor(query.stepMs, query.aggregate === 'p95');
    yield* this.#withView(name, async function* (this: SeriesReader, view: View) {
      for (const { hours, ...stretch } of partsOf(query, windowMs)) {
        const parts = hours ? this.#windowsAndSamples(view, stretch, windowMs) : this.#samples(view, stretch);
        for await (const part of parts) {
          if ('count' in part) for (let i = 0; i < part.at.length; i++) steps.addWindow(part, i);
          else for (let i = part.from; i < part.to; i++) steps.add(part.at[i]!, part.values[i]!);
          if (steps.full) yield steps.take();
        }
      }
    });
    steps.end();
    while (steps.size > 0) yield steps.take();
  }

  async *#withView(
    name: string,
    read: (this: SeriesReader, view: View) => AsyncGenerator<SeriesChunk>,
  ): AsyncGenerator<SeriesChunk> {
    await this.#store.settled();
    // No await between these: what is flushed later is in `memory`, what was flushed before is in the snapshot.
    const memory = this.#store.inMemory(name).sort((a, b) => a.at[0]! - b.at[0]!);
    const { level } = this.#database;
    const snapshot = level.snapshot();
    try {
      const key = textKey(SECTION.seriesName, name);
      const record = parseSeriesRecord(key, (await getEach(level, [key]))[0]) ?? NEVER_WRITTEN;
      yield* read.call(this, { level, snapshot, record, memory });
    } finally {
      await snapshot.close();
    }
  }

  /** Samples of the stretch alone, in time order. */
  async *#samples(view: View, { fromMs, toMs }: Stretch): AsyncGenerator<Slice> {
    for await (const slice of ascending(this.#chunks(view, { fromMs, toMs }))) {
      let { from, to } = slice;
      while (from < to && slice.at[from]! < fromMs) from++;
      while (from < to && slice.at[to - 1]! >= toMs) to--;
      if (from < to) yield { ...slice, from, to };
    }
  }

  /** By ascending start. */
  async *#chunks({ level, snapshot, record, memory }: View, stretch: Stretch): AsyncGenerator<Samples> {
    const waiting = memory.filter(({ at }) => at[0]! < stretch.toMs && at[at.length - 1]! >= stretch.fromMs);
    for await (const chunk of chunksOnDisk(level, snapshot, record, stretch, this.#damaged)) {
      while (waiting.length > 0 && waiting[0]!.at[0]! <= chunk.at[0]!) yield waiting.shift()!;
      yield chunk;
    }
    yield* waiting;
  }

  /** Hour by hour: windows where they are current, or all that is left; else samples. */
  async *#windowsAndSamples(
    view: View,
    { fromMs, toMs }: Stretch,
    windowMs: WindowMs | undefined,
  ): AsyncGenerator<Windows | Slice> {
    const oldest = await nextBucketOf(SECTION.chunk, view.level, view.snapshot, 0, this.#damaged);
    const [first, end] = [bucketOf(fromMs), bucketOf(toMs - 1)];
    let samplesFromMs = fromMs;
    for (let bucket = first; bucket <= end; ) {
      bucket = Math.max(bucket, await this.#nextHour(view, bucket));
      if (bucket > end) break;
      const hours = Array.from({ length: Math.min(HOURS_AT_ONCE, end - bucket + 1) }, (_, i) => bucket + i);
      for (const [i, windows] of (await this.#windowsOfHours(view, hours, windowMs, oldest)).entries()) {
        if (windows === undefined) continue;
        const hourMs = hours[i]! * BUCKET_MS;
        if (samplesFromMs < hourMs) yield* this.#samples(view, { fromMs: samplesFromMs, toMs: hourMs });
        yield within(windows, { fromMs, toMs });
        samplesFromMs = hourMs + BUCKET_MS;
      }
      bucket += hours.length;
    }
    if (samplesFromMs < toMs) yield* this.#samples(view, { fromMs: samplesFromMs, toMs });
  }

  /** A year without any record costs one look. */
  async #nextHour({ level, snapshot, record, memory }: View, bucket: number): Promise<number> {
    const found = memory.map(({ at }) => bucketOf(at[0]!)).filter((start) => start >= bucket);
    for (const section of [SECTION.chunk, ...Object.values(ROLLUP_SECTION)])
      found.push(await nextBucketOf(section, level, snapshot, bucket, this.#damaged));
    return bucket > record.last + 1 && memory.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...found);
  }

  async #windowsOfHours(
    view: View,
    hours: readonly number[],
    windowMs: WindowMs | undefined,
    oldestChunk: number,
  ): Promise<(Windows | undefined)[]> {
    const { id } = view.record;
    const read = async (length: WindowMs, wanted: (hour: number, i: number) => boolean) => {
      const some = hours.filter(wanted);
      if (some.length === 0) return;
      const windows = await readWindows(view.level, id, length, some, this.#damaged);
      for (const [i, hour] of some.entries()) found[hour - hours[0]!] = windows[i];
    };
    const found: (Windows | undefined)[] = hours.map(() => undefined);
    const inMemory = (hour: number) =>
      view.memory.some(({ at }) => bucketOf(at[0]!) <= hour && bucketOf(at[at.length - 1]!) >= hour);
    if (windowMs !== undefined)
      await read(windowMs, (hour) => this.#rollups.isCurrent(hour, id) && !inMemory(hour));
    for (const length of WINDOW_MS)
      await read(length, (hour, i) => found[i] === undefined && hour < oldestChunk && !inMemory(hour));
    return found;
  }

  #damaged = (why: unknown): void => {
    this.damagedChunks++;
    this.#onDamage(why);
  };
}

const NEVER_WRITTEN: SeriesRecord = { id: 0, first: 1, last: 0 };

/** The stretch that whole windows fill, and what is left of the range before and after it. */
function partsOf({ fromMs, toMs }: Stretch, windowMs: number | undefined): (Stretch & { hours: boolean })[] {
  if (windowMs === undefined) return [{ fromMs, toMs, hours: true }];
  const start = Math.ceil(fromMs / windowMs) * windowMs;
  const end = Math.floor(toMs / windowMs) * windowMs;
  if (start >= end) return [{ fromMs, toMs, hours: false }];
  return [
    { fromMs, toMs: start, hours: false },
    { fromMs: start, toMs: end, hours: true },
    { fromMs: end, toMs, hours: false },
  ].filter((part) => part.fromMs < part.toMs);
}

/** Those that begin in the stretch. */
function within(windows: Windows, { fromMs, toMs }: Stretch): Windows {
  const { at } = windows;
  if (at.length === 0 || (at[0]! >= fromMs && at[at.length - 1]! < toMs)) return windows;
  const kept = (_: number, i: number) => at[i]! >= fromMs && at[i]! < toMs;
  const { count, sum, min, max, p95 } = windows;
  return {
    at: at.filter(kept),
    count: count.filter(kept),
    sum: sum.filter(kept),
    min: min.filter(kept),
    max: max.filter(kept),
    p95: p95.filter(kept),
  };
}

function validate({ series, fromMs, toMs, stepMs, aggregate = 'mean' }: SeriesQuery): void {
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
  if (!AGGREGATES.includes(aggregate)) throw invalidField('aggregate', aggregate, AGGREGATES.join(', '));
}
