/**
 * The historical data store: samples of named series, decisions, runs and facts, in one LevelDB database.
 *
 * On disk (format 2)
 *   DIR/FORMAT   "corecast-history 2\n". A newer number is refused before anything is opened.
 *   DIR/db/      LevelDB.
 *   DIR.damaged-TIME/  what was set aside as damaged; the two newest are kept.
 *
 * Keys begin with a letter; numbers are big-endian. Every value is a frame (frame.ts): a version (1 byte), the CRC-32 of
 * key and body (4 bytes, little-endian), the body. "JSON" below means JSON text as the body.
 *   m                                      JSON: the last numbers given: {format, record, chunk, series, names}
 *   n NAME                                 JSON: {id, first, last}: a series' number, buckets of its first and last chunk
 *   i ID(4)                                JSON: its name
 *   c BUCKET(4) ID(4) START_MS(6) NUMBER(6)  a chunk of samples (chunk.ts). BUCKET is the hour of START_MS since 1970
 *   u BUCKET(4) ID(4)                      an hour of a series in windows of 10 s (windows.ts);   v: of 5 min
 *   w                                      JSON: {upTo}: every hour before this bucket was rolled up
 *   x BUCKET(4) ID(4)                      JSON: true: that hour got samples after it was rolled up (rollups.ts)
 *   j RECORD(6)                            a journal record (journal.ts)
 *   d AT_MS(6) ID                          JSON: a decision;   e ID: its AT_MS;  g RESERVATION: {atMs, id} of its latest
 *   r STARTED_MS(6) ID                     JSON: a run;        s ID: its STARTED_MS
 *   f NAME                                 JSON: a fact
 *
 * Migrations
 *   1 → 2   Format 1 had no u, v, w, x and frames whose checksum left the key out (version 1). Those are still read, so
 *           opening writes FORMAT and no more; hours without roll-ups are rolled up in the background, the oldest first.
 *
 * The way of a sample: append() puts it into the open chunk of its series in memory. Each flush writes, in one batch, the
 * chunks that filled up (480 samples or ten minutes) and one journal record with the new samples of all open chunks; the
 * journal's records go as soon as all their samples are in chunks. So a flush costs one write however many series there
 * are, a sample is written twice, not once for every rewrite of its chunk, and after kill -9 the open chunks are
 * read back from the journal: at most the samples since the last flush are lost. Writes are not synced: a crash of the
 * machine (not of the daemon) may cost the last seconds; the ledger, which may not lose any, is another database.
 * A quarter of an hour after an hour's end its chunks are rolled up (roller.ts).
 *
 * The hour leads the chunk's key so that retention deletes one stretch and a day of a series is 24 stretches. The chunk's
 * number makes keys unique when the wall clock jumps back; within a chunk times ascend, and a query merges the chunks
 * that then overlap, so it sees the samples in time order, all of them.
 *
 * Damage: opening checks every checksum of every file (damage.ts). Damaged tables are set aside, what can be read of them
 * is put back, and counters and names are counted anew (mend.ts, reindex.ts). A record that does not match its checksum
 * is skipped, counted and said. Disk full: samples wait in memory up to a limit, then the oldest chunks are dropped and
 * counted; documents are refused with STORE_FAILED (series-store.ts).
 */
import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import { type Log, silentLog } from '../lib/log.js';
import { backUp } from './backup.js';
import { HistoryDatabase } from './database.js';
import { Documents } from './documents.js';
import { readFailure } from './failures.js';
import type { History, HistoryUpkeep } from './history.js';
import { importPoints } from './import.js';
import { SeriesReader } from './query.js';
import { Retention, type TrimReport } from './retention.js';
import { Roller } from './roller.js';
import { type SeriesMetrics, SeriesStore } from './series-store.js';
import { countHistory } from './stats.js';
import { verifyRecords } from './verify.js';

/** Samples that wait for a full disk, compressed: about an hour of 100 channels. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const MAX_RUNS = 50_000;
const MAX_DECISIONS = 100_000;
const DAY_MS = 86_400_000;
const TRIM_EVERY_MS = 600_000;
const FIRST_TRIM_MS = 60_000;
const ROLL_UP_EVERY_MS = 60_000;
/** In one go, so that a history of weeks without roll-ups is caught up with unnoticed. */
const HOURS_PER_ROLL_UP = 4;

export interface HistoryMetrics extends SeriesMetrics {
  readonly writeFailures: number;
  readonly damagedRecords: number;
  /** As of the last trim. */
  readonly diskBytes: number;
}

export interface HistoryStore extends History, HistoryUpkeep {
  metrics(): HistoryMetrics;
  /** Enforces the limits on age, size and number; runs by itself every ten minutes. */
  trim(): Promise<TrimReport>;
  /** Rolls up hours that are over, at most so many; runs by itself every minute. Returns how many it did. */
  rollUp(mostHours?: number): Promise<number>;
}

export interface HistoryOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly config: Config['history'];
  readonly log?: Log;
  readonly maxPendingBytes?: number;
  readonly maxRuns?: number;
}

/** `report` says what was damaged, in sentences for the operator. Throws STORE_FAILED. */
export async function openHistory(
  options: HistoryOptions,
): Promise<{ history: HistoryStore; report: string[] }> {
  const { dir, clock, log = silentLog, maxPendingBytes = MAX_PENDING_BYTES } = options;
  const database = await HistoryDatabase.open(dir, clock, log);
  const series = new SeriesStore(database, clock, log, maxPendingBytes);
  try {
    const report = await series.replay();
    return { history: new LevelHistory(database, series, options), report: [...database.report, ...report] };
  } catch (error) {
    await database.close();
    throw readFailure(error);
  }
}

class LevelHistory implements HistoryStore {
  readonly #database: HistoryDatabase;
  readonly #series: SeriesStore;
  readonly #documents: Documents;
  readonly #reader: SeriesReader;
  readonly #retention: Retention;
  readonly #roller: Roller;
  #upkeep: Promise<unknown> = Promise.resolve();
  readonly #log: Log;
  readonly #timers: NodeJS.Timeout[];
  #diskBytes = 0;
  #closed = false;

  constructor(database: HistoryDatabase, series: SeriesStore, options: HistoryOptions) {
    const { clock, config, log = silentLog, maxRuns = MAX_RUNS } = options;
    this.#database = database;
    this.#series = series;
    this.#log = log;
    this.#documents = new Documents(database, log);
    const onDamage = (why: unknown) => log.warn({ err: why }, 'skipped damaged samples in the history');
    this.#reader = new SeriesReader(database, series, series.rollups, onDamage);
    this.#roller = new Roller(database, series.rollups, clock, (work) => series.exclusive(work), onDamage);
    this.#retention = new Retention(database, series, this.#documents, clock, {
      retentionMs: config.retention_days * DAY_MS,
      rollup10sMs: Math.max(config.retention_days, config.retention_10s_days) * DAY_MS,
      rollup5mMs: Math.max(config.retention_days, config.retention_5m_days) * DAY_MS,
      maxBytes: config.max_mb * 1024 * 1024,
      maxRuns,
      maxDecisions: MAX_DECISIONS,
    });
    this.#timers = [
      setInterval(() => void this.#series.flush().catch(() => {}), config.flush_ms),
      setTimeout(() => this.#trimNow(), FIRST_TRIM_MS),
      setInterval(() => this.#trimNow(), TRIM_EVERY_MS),
      setInterval(() => this.#rollUpNow(), ROLL_UP_EVERY_MS),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  append: History['append'] = (points) => {
    if (!this.#closed) this.#series.append(points);
  };

  query: History['query'] = (query) => this.#reader.query(query);
  seriesNames: History['seriesNames'] = () => this.#reader.names();
  putDecision: History['putDecision'] = (decision) => this.#documents.putDecision(decision);
  decision: History['decision'] = (by) => this.#documents.decision(by);
  putRun: History['putRun'] = (run) => this.#documents.putRun(run);
  run: History['run'] = (id) => this.#documents.run(id);
  runs: History['runs'] = (filter) => this.#documents.runs(filter);
  getFact<T>(name: string): Promise<T | undefined> {
    return this.#documents.getFact<T>(name);
  }
  putFact: History['putFact'] = (name, value) => this.#documents.putFact(name, value);
  flush: History['flush'] = () => this.#series.flush();

  metrics(): HistoryMetrics {
    return {
      ...this.#series.metrics,
      writeFailures: this.#database.writeFailures,
      damagedRecords:
        this.#documents.damaged + this.#reader.damagedChunks + this.#series.metrics.lostJournalRecords,
      diskBytes: this.#diskBytes,
    };
  }

  trim(): Promise<TrimReport> {
    return this.#alone(async () => {
      // What is about to go is rolled up first.
      await this.#roller.rollUp(undefined, this.#retention.oldestKept() + 1);
      const report = await this.#retention.trim();
      this.#diskBytes = report.bytes;
      return report;
    });
  }

  rollUp(mostHours?: number): Promise<number> {
    return this.#alone(() => this.#roller.rollUp(mostHours));
  }

  stats: HistoryUpkeep['stats'] = () =>
    countHistory(this.#database, this.#series, this.metrics().damagedRecords);

  verify: HistoryUpkeep['verify'] = async () => {
    await this.#series.flush();
    return verifyRecords(this.#database.level, this.#database.location);
  };

  compact: HistoryUpkeep['compact'] = () =>
    this.#alone(async () => {
      await this.#series.flush();
      const bytesBefore = await this.#database.sizeBytes();
      await this.#database.compact();
      return { bytesBefore, bytesAfter: await this.#database.sizeBytes() };
    });

  backup: HistoryUpkeep['backup'] = async (dir) => {
    await this.#series.flush();
    await this.#documents.settled();
    return backUp(this.#database.level, dir, (why) =>
      this.#log.warn({ err: why, dir }, 'left a damaged part of the history out of the backup'),
    );
  };

  importSamples: HistoryUpkeep['importSamples'] = (series, points) =>
    this.#alone(() => importPoints(this.#series, this.#reader, series, points));

  /** Trims, roll-ups, compactions and imports come one after another. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#upkeep.then(work);
    this.#upkeep = result.catch(() => {});
    return result;
  }

  /** Writes what it still has. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    try {
      await this.#series.flush();
    } catch (error) {
      this.#log.error({ err: error }, 'the last samples could not be written');
    }
    await this.#upkeep;
    await this.#documents.settled();
    await this.#database.close();
  }

  #rollUpNow(): void {
    this.rollUp(HOURS_PER_ROLL_UP).catch((error) =>
      this.#log.warn({ err: error }, 'the history could not be rolled up'),
    );
  }

  #trimNow(): void {
    this.trim().then(
      (report) => this.#log.debug(report, 'trimmed the history'),
      (error) => this.#log.warn({ err: error }, 'the history could not be trimmed'),
    );
  }
}
