/**
 * The historical data store: samples of named series, decisions, runs and facts, in one LevelDB database.
 *
 * On disk (format 1)
 *   DIR/FORMAT   "corecast-history 1\n". A newer number is refused before anything is opened.
 *   DIR/db/      LevelDB.
 *   DIR.damaged-TIME/  what was set aside as damaged; the two newest are kept.
 *
 * Keys begin with a letter; numbers are big-endian. Every value begins with a layout version (1 byte) and the CRC-32 of
 * the rest (4 bytes, little-endian); "JSON" below means such a frame around JSON text (frame.ts).
 *   m                                      JSON: the last numbers given: {record, chunk, series, names}
 *   n NAME                                 JSON: {id, first, last}: a series' number, buckets of its first and last chunk
 *   i ID(4)                                JSON: its name
 *   c BUCKET(4) ID(4) START_MS(6) NUMBER(6)  a chunk of samples (chunk.ts). BUCKET is the hour of START_MS since 1970
 *   j RECORD(6)                            a journal record (journal.ts)
 *   d AT_MS(6) ID                          JSON: a decision;   e ID: its AT_MS;  g RESERVATION: {atMs, id} of its latest
 *   r STARTED_MS(6) ID                     JSON: a run;        s ID: its STARTED_MS
 *   f NAME                                 JSON: a fact
 *
 * The way of a sample: append() puts it into the open chunk of its series in memory. Each flush writes, in one batch, the
 * chunks that filled up (480 samples or ten minutes) and one journal record with the new samples of all open chunks; the
 * journal's records go as soon as all their samples are in chunks. So a flush costs one write however many series there
 * are, a sample is written twice, not once for every rewrite of its chunk, and after kill -9 the open chunks are
 * read back from the journal: at most the samples since the last flush are lost. Writes are not synced: a crash of the
 * machine (not of the daemon) may cost the last seconds; the ledger, which may not lose any, is another database.
 *
 * The hour leads the chunk's key so that retention deletes one stretch and a day of a series is 24 stretches. The chunk's
 * number makes keys unique when the wall clock jumps back; within a chunk times ascend, and a query merges the chunks
 * that then overlap, so it sees the samples in time order, all of them.
 *
 * Damage: a chunk, record or stretch that does not match its checksum is skipped, counted and said; a database that LevelDB
 * cannot open, or fails to compact, is set aside and a fresh one started (database.ts). Disk full: samples wait in memory
 * up to a limit, then the oldest chunks are dropped and counted; documents are refused with STORE_FAILED (series-store.ts).
 */
import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { levelCode } from './damage.js';
import { HistoryDatabase, readFailure } from './database.js';
import { Documents } from './documents.js';
import type { History } from './history.js';
import { SeriesReader } from './query.js';
import { Retention, type TrimReport } from './retention.js';
import { type SeriesMetrics, SeriesStore } from './series-store.js';

/** Samples that wait for a full disk, compressed: about an hour of 100 channels. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const MAX_RUNS = 50_000;
const MAX_DECISIONS = 100_000;
const TRIM_EVERY_MS = 600_000;
const FIRST_TRIM_MS = 60_000;

export interface HistoryMetrics extends SeriesMetrics {
  readonly writeFailures: number;
  readonly damagedRecords: number;
  /** As of the last trim. */
  readonly diskBytes: number;
}

export interface HistoryStore extends History {
  metrics(): HistoryMetrics;
  /** Enforces the limits on age, size and number; runs by itself every ten minutes. */
  trim(): Promise<TrimReport>;
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
  const { dir, clock, log = silentLog } = options;
  const database = await HistoryDatabase.open(dir, clock, log);
  let series = newSeriesStore(database, options);
  let report: string[];
  try {
    report = await series.replay();
  } catch (error) {
    if (!isCorecastError(error, 'STORE_DAMAGED') && levelCode(error) !== 'LEVEL_CORRUPTION') {
      await database.close();
      throw readFailure(error);
    }
    await database.replaceDamaged(messageOf(error));
    series = newSeriesStore(database, options);
    report = await series.replay();
  }
  return { history: new LevelHistory(database, series, options), report: [...database.report, ...report] };
}

function newSeriesStore(database: HistoryDatabase, options: HistoryOptions): SeriesStore {
  const { clock, log = silentLog, maxPendingBytes = MAX_PENDING_BYTES } = options;
  return new SeriesStore(database, clock, log, maxPendingBytes);
}

class LevelHistory implements HistoryStore {
  readonly #database: HistoryDatabase;
  readonly #series: SeriesStore;
  readonly #documents: Documents;
  readonly #reader: SeriesReader;
  readonly #retention: Retention;
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
    this.#reader = new SeriesReader(database, series, (why) =>
      log.warn({ err: why }, 'skipped damaged samples in the history'),
    );
    this.#retention = new Retention(database, series, this.#documents, clock, {
      retentionMs: config.retention_days * 86_400_000,
      maxBytes: config.max_mb * 1024 * 1024,
      maxRuns,
      maxDecisions: MAX_DECISIONS,
    });
    this.#timers = [
      setInterval(() => void this.#series.flush().catch(() => {}), config.flush_ms),
      setTimeout(() => this.#trimNow(), FIRST_TRIM_MS),
      setInterval(() => this.#trimNow(), TRIM_EVERY_MS),
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

  async trim(): Promise<TrimReport> {
    const report = await this.#retention.trim();
    this.#diskBytes = report.bytes;
    return report;
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
    await this.#documents.settled();
    await this.#database.close();
  }

  #trimNow(): void {
    this.trim().then(
      (report) => this.#log.debug(report, 'trimmed the history'),
      (error) => this.#log.warn({ err: error }, 'the history could not be trimmed'),
    );
  }
}
