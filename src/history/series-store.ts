import type { Clock } from '../lib/clock.js';
import { CorecastError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { encodeColumns, type Samples } from './chunk.js';
import { chunkOperations } from './chunk-operations.js';
import type { HistoryDatabase, Operation } from './database.js';
import { FORMAT } from './format.js';
import { frameJson } from './frame.js';
import type { SeriesPoint } from './history.js';
import { encodeJournal, type JournalRecord } from './journal.js';
import { metaKey, orderedKey, SECTION } from './keys.js';
import { type Meta, parseMeta } from './meta.js';
import { CHUNK_SAMPLES, OpenChunk } from './open-chunk.js';
import { OpenSeries, type PendingChunk, type Series } from './open-series.js';
import { readLeft } from './replay.js';
import { Rollups } from './rollups.js';
import { SeriesNames } from './series-names.js';

/** Chunks in one write; also what may wait for the next flush without asking for one. */
const BATCH_BYTES = 1024 * 1024;
const MAX_JOURNAL_DELETES = 1_000;

export interface SeriesMetrics {
  readonly samplesStored: number;
  readonly samplesDropped: number;
  readonly chunksWritten: number;
  readonly chunkSamples: number;
  readonly chunkBytes: number;
  readonly journalBytes: number;
  readonly flushes: number;
  readonly lostJournalRecords: number;
  readonly pendingBytes: number;
  readonly openSeries: number;
}

/** Takes samples in, writes them as chunks, and keeps what is not a chunk yet safe in the journal (store.ts). */
export class SeriesStore {
  readonly names = new SeriesNames();
  readonly rollups = new Rollups();
  readonly #open: OpenSeries;
  readonly #database: HistoryDatabase;
  readonly #clock: Clock;
  readonly #log: Log;
  #generation: number;
  #record = 0;
  #firstRecord = 1;
  #chunk = 0;
  #failing = false;
  #tail: Promise<unknown> = Promise.resolve();
  #working = 0;
  #counts = {
    samplesStored: 0,
    chunksWritten: 0,
    chunkSamples: 0,
    chunkBytes: 0,
    journalBytes: 0,
    flushes: 0,
  };
  #lostRecords = 0;

  constructor(database: HistoryDatabase, clock: Clock, log: Log, maxPendingBytes: number) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
    this.#open = new OpenSeries(maxPendingBytes);
    this.#generation = database.generation;
  }

  get metrics(): SeriesMetrics {
    return {
      ...this.#counts,
      samplesDropped: this.#open.dropped,
      lostJournalRecords: this.#lostRecords,
      pendingBytes: this.#open.pendingBytes,
      openSeries: this.#open.series.size,
    };
  }

  append(points: readonly SeriesPoint[]): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { series, atMs, value } of points) this.#open.append(series, atMs, value, nowMs);
    if (this.#open.pendingBytes > BATCH_BYTES && this.#working === 0 && !this.#failing)
      this.flush().catch(() => {});
  }

  /** Writes what was appended before the call. Throws STORE_FAILED; the samples then wait for the next flush. */
  flush(): Promise<void> {
    return this.exclusive(() => this.#writeAll());
  }

  /** Writes ascending samples as chunks, at once and beside what is open. Throws STORE_FAILED, LIMIT_EXCEEDED. */
  write(name: string, { at, values }: Samples): Promise<void> {
    return this.exclusive(async () => {
      const series = this.#open.series.get(name) ?? this.#open.begin(name, this.#clock.monotonicMs());
      if (series === undefined)
        throw new CorecastError(
          'LIMIT_EXCEEDED',
          `the history has no room for series ${name}: too many are open`,
        );
      await this.#numberSeries();
      const operations: Operation[] = [];
      for (let from = 0; from < at.length; ) {
        const chunk = new OpenChunk(CHUNK_SAMPLES, 0);
        while (from < at.length && chunk.accepts(at[from]!)) chunk.push(at[from]!, values[from++]!);
        const { startMs, endMs } = chunk;
        const full = { startMs, endMs, bytes: encodeColumns(chunk.samples()), number: ++this.#chunk };
        operations.push(...chunkOperations(series, full, this.rollups));
      }
      operations.push(...this.names.operations(series));
      operations.push({ type: 'put', key: metaKey, value: frameJson(metaKey, this.#meta(this.#record)) });
      await this.#database.write(operations);
      this.#counts.samplesStored += at.length;
    });
  }

  /** Runs alone: no flush meanwhile. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.#working++;
    const result = this.#tail.then(work).finally(() => {
      this.#working--;
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  /** When it resolves no write is under way: until the next await, disk and inMemory() together hold each sample once. */
  async settled(): Promise<void> {
    while (this.#working > 0) await this.#tail;
  }

  /** A series' samples that are not in a chunk on disk, as ascending runs. */
  inMemory(name: string): Samples[] {
    const series = this.#open.series.get(name);
    return series === undefined ? [] : this.#open.samplesOf(series);
  }

  openNames(): Iterable<string> {
    return this.#open.series.keys();
  }

  isOpen(name: string): boolean {
    return this.#open.series.has(name);
  }

  /** Reads the counters and the journal. Sentences for the operator come back. */
  async replay(): Promise<string[]> {
    await this.rollups.load(this.#database.level);
    const { meta, open, lost, first, last, report } = await readLeft(this.#database);
    this.#record = Math.max(meta.record, last ?? 0);
    this.#firstRecord = first ?? this.#record + 1;
    this.#chunk = meta.chunk;
    this.names.next = meta.series + 1;
    this.names.count = meta.names;
    this.#lostRecords = lost;
    for (const { id, name, pieces } of open) this.#readBack(id, name, pieces);
    await this.#numberSeries();
    // A series whose record is damaged keeps the number that the journal knows it by.
    for (const { id, name } of open) {
      const series = name === undefined ? undefined : this.#open.series.get(name);
      if (series !== undefined && series.id !== id) Object.assign(series, { id, changed: true });
    }
    return [...report];
  }

  #readBack(
    id: number,
    name: string | undefined,
    runs: readonly { record: number; samples: Samples }[],
  ): void {
    const nowMs = this.#clock.monotonicMs();
    const series = name === undefined ? undefined : this.#open.begin(name, nowMs, CHUNK_SAMPLES);
    if (series === undefined) {
      this.#log.warn({ series: id }, 'the name of a series is damaged: its newest samples are lost');
      return;
    }
    for (const { record, samples } of runs)
      for (const [i, at] of samples.at.entries())
        this.#open.push(series, at, samples.values[i]!, nowMs, record);
  }

  async #writeAll(): Promise<void> {
    this.#open.sealIdle(this.#clock.monotonicMs());
    try {
      for (let more = true; more; ) {
        const { generation } = this.#database;
        if (this.#generation !== generation) await this.#beginAnew();
        await this.#numberSeries();
        more = await this.#writeBatch().catch((error: unknown) => {
          // Damage came to light and there is a fresh database: what is in memory goes there.
          if (this.#database.generation === generation) throw error;
          return true;
        });
      }
    } catch (error) {
      if (!this.#failing)
        this.#log.error({ err: error }, 'the history takes no samples; they wait in memory');
      this.#failing = true;
      throw error;
    }
    if (this.#failing)
      this.#log.info(
        { dropped: this.#open.dropped },
        'the history takes samples again; dropped ones are counted',
      );
    this.#failing = false;
    this.#counts.flushes++;
    this.#open.closeEmpty();
  }

  /** The database was mended or is a fresh one: what was written before may not be in it. */
  async #beginAnew(): Promise<void> {
    for (const series of this.#open.series.values()) {
      Object.assign(series, { id: 0, first: 1, last: 0, changed: true });
      series.open.journaled = 0;
    }
    for (const { chunk } of this.#open.pending) chunk.journaled = 0;
    this.#open.unsealed = [];
    const { level } = this.#database;
    this.names.count = parseMeta(await level.get(metaKey))?.names ?? 0;
    await this.rollups.load(level);
    this.#firstRecord = this.#record + 1;
    this.#generation = this.#database.generation;
  }

  async #numberSeries(): Promise<void> {
    const unnumbered = [...this.#open.series.values()].filter(({ id }) => id === 0);
    if (unnumbered.length === 0) return;
    const refused = await this.names.number(this.#database.level, unnumbered);
    for (const series of refused) this.#open.close(series);
    if (refused.length > 0)
      this.#log.warn({ refused: refused.length }, 'the history keeps no more series until old ones age out');
  }

  /** One atomic write: chunks, then (with the last of them) the journal. True when chunks are left. */
  async #writeBatch(): Promise<boolean> {
    const chunks = this.#takePending();
    const more = chunks.length < this.#open.pending.length;
    const journaled = more ? [] : [...this.#open.series.values()].filter(hasNew);
    const counts = journaled.map((series) => ({ series, open: series.open, count: series.open.count }));
    const unsealed = [...this.#open.unsealed];
    const record: JournalRecord = {
      seals: [...unsealed, ...chunks.map(({ series, chunk }) => ({ series, count: chunk.journaled }))]
        .filter(({ count }) => count > 0)
        .map(({ series, count }) => ({ series: series.id, count })),
      pieces: journaled.map(({ id, open }) => ({ series: id, samples: open.samples(open.journaled) })),
    };
    if (chunks.length + journaled.length === 0) return more;
    const operations = chunks.flatMap((entry) => this.#chunkOperations(entry));
    const named = new Set(
      [...chunks.map(({ series }) => series), ...journaled].filter(({ changed }) => changed),
    );
    for (const series of named) operations.push(...this.names.operations(series));
    let number = this.#record;
    let journalBytes = 0;
    if (record.seals.length + record.pieces.length > 0) {
      const key = orderedKey(SECTION.journal, ++number);
      const value = encodeJournal(key, record);
      journalBytes = value.length;
      operations.push({ type: 'put', key, value });
    }
    const firstRecord = this.#oldestNeeded(chunks, number);
    for (let old = this.#firstRecord; old < firstRecord; old++)
      operations.push({ type: 'del', key: orderedKey(SECTION.journal, old) });
    operations.push({ type: 'put', key: metaKey, value: frameJson(metaKey, this.#meta(number)) });
    await this.#commit(chunks, operations);
    this.#open.unsealed.splice(0, unsealed.length);
    this.#record = number;
    this.#firstRecord = firstRecord;
    this.#counts.journalBytes += journalBytes;
    for (const series of named) series.changed = false;
    for (const { series, open, count } of counts) this.#markJournaled(series, open, count);
    return more;
  }

  #chunkOperations(entry: PendingChunk): Operation[] {
    const { series, chunk, bytes } = entry;
    if (entry.number === 0) entry.number = ++this.#chunk;
    const { startMs, endMs } = chunk;
    return chunkOperations(series, { startMs, endMs, bytes, number: entry.number }, this.rollups);
  }

  async #commit(chunks: readonly PendingChunk[], operations: readonly Operation[]): Promise<void> {
    for (const entry of chunks) entry.inFlight = true;
    try {
      await this.#database.write(operations);
    } finally {
      for (const entry of chunks) entry.inFlight = false;
    }
    for (const { chunk, bytes } of chunks) {
      this.#counts.samplesStored += chunk.count - chunk.journaled;
      this.#counts.chunkSamples += chunk.count;
      this.#counts.chunkBytes += bytes.length;
      this.#counts.chunksWritten++;
    }
    this.#open.written(chunks);
  }

  #markJournaled(series: Series, open: OpenChunk, count: number): void {
    if (open.journaled === 0) open.firstRecord = this.#record;
    this.#counts.samplesStored += count - open.journaled;
    open.journaled = count;
    if (open.dropped) this.#open.unsealed.push({ series, count });
  }

  /** The oldest pending chunks, as far as their series are numbered and one write holds them. */
  #takePending(): PendingChunk[] {
    let bytes = 0;
    const end = this.#open.pending.findIndex((entry, i) => {
      bytes += entry.bytes.length;
      return entry.series.id === 0 || (i > 0 && bytes > BATCH_BYTES);
    });
    return this.#open.pending.slice(0, end < 0 ? undefined : end);
  }

  /** The oldest journal record that a chunk which is still open, or waits behind this batch, began in. */
  #oldestNeeded(batch: readonly PendingChunk[], newest: number): number {
    const done = new Set(batch.map(({ chunk }) => chunk));
    let oldest = newest;
    const consider = (chunk: OpenChunk) => {
      if (chunk.journaled > 0 && !done.has(chunk)) oldest = Math.min(oldest, chunk.firstRecord);
    };
    for (const { open } of this.#open.series.values()) consider(open);
    for (const { chunk } of this.#open.pending) consider(chunk);
    return Math.max(this.#firstRecord, Math.min(oldest, this.#firstRecord + MAX_JOURNAL_DELETES));
  }

  #meta(record: number): Meta {
    return {
      format: FORMAT,
      record,
      chunk: this.#chunk,
      series: this.names.next - 1,
      names: this.names.count,
    };
  }
}

function hasNew({ id, open }: { id: number; open: OpenChunk }): boolean {
  return id !== 0 && open.count > open.journaled;
}
