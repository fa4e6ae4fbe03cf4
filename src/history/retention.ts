import type { Clock } from '../lib/clock.js';
import { nextBucketOf } from './chunk-reader.js';
import type { Db, HistoryDatabase, Operation } from './database.js';
import type { Documents } from './documents.js';
import {
  bucketOf,
  bucketStart,
  type Key,
  orderedKey,
  parseChunkKey,
  rollupKey,
  SECTION,
  sectionRange,
} from './keys.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { type Range, scan } from './scan.js';
import { parseSeriesRecord } from './series-names.js';
import type { SeriesStore } from './series-store.js';

export interface RetentionLimits {
  readonly retentionMs: number;
  readonly rollup10sMs: number;
  readonly rollup5mMs: number;
  readonly maxBytes: number;
  readonly maxRuns: number;
  readonly maxDecisions: number;
}

export interface TrimReport {
  readonly chunks: number;
  readonly rollups: number;
  readonly names: number;
  readonly decisions: number;
  readonly runs: number;
  readonly bytes: number;
}

/** Shares of the size limit; a section gives way only when the whole is over its limit and the section over its share. */
const SHARE = { chunks: 0.35, rollup10s: 0.1, rollup5m: 0.05, runs: 0.35, decisions: 0.15 };
/** Of what is over the limit, deleted beyond it, so that the next samples do not exceed it at once. */
const SLACK = 0.1;
const DELETES_PER_WRITE = 500;

/**
 * Nothing grows without bound. By age: chunks and decisions older than the retention time (and chunks as far in the
 * future: a clock was wrong), roll-ups older than theirs, and names of series without either. Runs do not age, they are what models learn from: the
 * newest `maxRuns` stay. By size: the oldest of each section until it fits its share.
 */
export class Retention {
  readonly #database: HistoryDatabase;
  readonly #series: SeriesStore;
  readonly #documents: Documents;
  readonly #clock: Clock;
  readonly #limits: RetentionLimits;

  constructor(
    database: HistoryDatabase,
    series: SeriesStore,
    documents: Documents,
    clock: Clock,
    limits: RetentionLimits,
  ) {
    this.#database = database;
    this.#series = series;
    this.#documents = documents;
    this.#clock = clock;
    this.#limits = limits;
  }

  async trim(): Promise<TrimReport> {
    const nowMs = this.#clock.nowMs();
    const { retentionMs, maxRuns, maxDecisions } = this.#limits;
    const { rollup10sMs, rollup5mMs } = this.#limits;
    let chunks = await this.#dropChunks(nowMs - retentionMs, nowMs + retentionMs);
    let rollups = await this.#dropRollups(SECTION.rollup10s, nowMs - rollup10sMs, nowMs + retentionMs);
    rollups += await this.#dropRollups(SECTION.rollup5m, nowMs - rollup5mMs, nowMs + retentionMs);
    let decisions = await this.#dropDocuments(
      SECTION.decision,
      SECTION.decisionById,
      nowMs - retentionMs,
      maxDecisions,
    );
    let runs = await this.#dropDocuments(SECTION.run, SECTION.runById, 0, maxRuns);
    if ((await this.#database.sizeBytes()) > this.#limits.maxBytes) {
      chunks += await this.#shrink(SECTION.chunk, SHARE.chunks);
      rollups += await this.#shrink(SECTION.rollup10s, SHARE.rollup10s);
      rollups += await this.#shrink(SECTION.rollup5m, SHARE.rollup5m);
      decisions += await this.#shrinkDocuments(SECTION.decision, SHARE.decisions);
      runs += await this.#shrinkDocuments(SECTION.run, SHARE.runs);
    }
    const names = chunks + rollups === 0 ? 0 : await this.#dropNames();
    return { chunks, rollups, names, decisions, runs, bytes: await this.#database.sizeBytes() };
  }

  /** The bucket of the oldest samples that age leaves. */
  oldestKept(): number {
    return bucketOf(Math.max(0, this.#clock.nowMs() - this.#limits.retentionMs));
  }

  get #level(): Db {
    return this.#database.level;
  }

  /** Chunks that end before `from` or start after `to`. */
  async #dropChunks(from: number, to: number): Promise<number> {
    const section = sectionRange(SECTION.chunk);
    const dead = (startMs: number) => startMs + CHUNK_SPAN_MS < from || startMs > to;
    const old = { gte: section.gte, lt: bucketStart(bucketOf(Math.max(0, from)) + 1) };
    const future = { gte: bucketStart(bucketOf(to)), lt: section.lt };
    let dropped = 0;
    for (const range of [old, future]) {
      const isDead = (key: Key) => {
        const parsed = parseChunkKey(key);
        return parsed === undefined || dead(parsed.startMs);
      };
      dropped += await this.#drop(range, (key) => (isDead(key) ? [{ type: 'del', key }] : []));
    }
    return dropped;
  }

  /** Whole hours that end before `from` or start after `to`. */
  async #dropRollups(section: string, from: number, to: number): Promise<number> {
    const { gte, lt } = sectionRange(section);
    const drop = (range: Range) => this.#drop(range, (key) => [{ type: 'del', key }]);
    const old = await drop({ gte, lt: rollupKey(section, bucketOf(Math.max(0, from)), 0) });
    return old + (await drop({ gte: rollupKey(section, bucketOf(to) + 1, 0), lt }));
  }

  /** The oldest go until the section fits its share. */
  async #shrink(section: string, share: number): Promise<number> {
    const range = sectionRange(section);
    let excess = await this.#excess(range, share);
    if (excess <= 0) return 0;
    return this.#drop(range, (key, value) => {
      if (excess <= 0) return 'enough';
      excess -= key.length + value.length;
      return [{ type: 'del', key }];
    });
  }

  async #shrinkDocuments(section: string, share: number): Promise<number> {
    const range = sectionRange(section);
    let excess = await this.#excess(range, share);
    if (excess <= 0) return 0;
    return this.#drop(range, (key, value) => {
      if (excess <= 0) return 'enough';
      excess -= key.length + value.length;
      return this.#documents.removal(key, value);
    });
  }

  async #dropDocuments(section: string, index: string, before: number, keep: number): Promise<number> {
    const range = sectionRange(section);
    // The index has as many entries and much smaller ones.
    let tooMany = (await this.#count(sectionRange(index))) - keep;
    const cutoff = orderedKey(section, before);
    return this.#drop(range, (key, value) => {
      if (tooMany-- <= 0 && Buffer.compare(key, cutoff) >= 0) return 'enough';
      return this.#documents.removal(key, value);
    });
  }

  /** Names of series that have no chunk or roll-up in a bucket that is still there, and no sample in memory. */
  async #dropNames(): Promise<number> {
    let oldest = Number.POSITIVE_INFINITY;
    for (const section of [SECTION.chunk, SECTION.rollup10s, SECTION.rollup5m])
      oldest = Math.min(oldest, await nextBucketOf(section, this.#level, undefined, 0, () => {}));
    return this.#series.exclusive(async () => {
      const operations: Operation[] = [];
      for await (const [key, value] of scan(this.#level, sectionRange(SECTION.seriesName), ignoreDamage)) {
        const record = parseSeriesRecord(key, value);
        const name = Buffer.from(key).toString('utf8', 1);
        if (record === undefined || record.last >= oldest || this.#series.isOpen(name)) continue;
        operations.push(...this.#series.names.removal(key, record.id));
      }
      for (let i = 0; i < operations.length; i += DELETES_PER_WRITE)
        await this.#database.write(operations.slice(i, i + DELETES_PER_WRITE));
      this.#series.names.count = Math.max(0, this.#series.names.count - operations.length / 2);
      // Names are few beside samples: LevelDB alone would keep them for very long after their end.
      for (const section of operations.length > 0 ? [SECTION.seriesName, SECTION.seriesId] : []) {
        const { gte, lt } = sectionRange(section);
        await this.#level.compactRange(gte, lt);
      }
      return operations.length / 2;
    });
  }

  /** Deletes what `choose` says, entry by entry, until it says 'enough'; then compacts, or the space would stay taken. */
  async #drop(
    range: Range,
    choose: (key: Key, value: Uint8Array) => Operation[] | Promise<Operation[]> | 'enough',
  ): Promise<number> {
    let dropped = 0;
    let operations: Operation[] = [];
    let last: Key | undefined;
    for await (const [key, value] of scan(this.#level, range, ignoreDamage)) {
      const chosen = await choose(key, value);
      if (chosen === 'enough') break;
      if (chosen.length === 0) continue;
      operations.push(...chosen);
      dropped++;
      last = key;
      if (operations.length < DELETES_PER_WRITE) continue;
      await this.#database.write(operations);
      operations = [];
    }
    if (operations.length > 0) await this.#database.write(operations);
    if (last !== undefined) await this.#level.compactRange(range.gte, last);
    return dropped;
  }

  async #count({ gte, lt }: Range): Promise<number> {
    let count = 0;
    for await (const _ of this.#level.keys({ gte, lt })) count++;
    return count;
  }

  async #excess({ gte, lt }: Range, share: number): Promise<number> {
    const bytes = await this.#level.approximateSize(gte, lt);
    const allowed = this.#limits.maxBytes * share;
    return bytes <= allowed ? 0 : bytes - allowed * (1 - SLACK);
  }
}

const ignoreDamage = { onDamage: () => {} };
