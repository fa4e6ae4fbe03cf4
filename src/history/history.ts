import type { Decision } from '../balancer/decision.js';
import type { Run } from './records.js';

export interface SeriesPoint {
  readonly series: string;
  readonly atMs: number;
  readonly value: number;
}

/** p95: the smallest value that is at least as large as 95 % of the samples. */
export const AGGREGATES = ['mean', 'min', 'max', 'p95', 'count'] as const;
export type Aggregate = (typeof AGGREGATES)[number];

export interface SeriesQuery {
  /** A series name, or a prefix ending in ".*". */
  readonly series: string;
  /** Unix milliseconds, inclusive. */
  readonly fromMs: number;
  /** Unix milliseconds, exclusive. */
  readonly toMs: number;
  /** One point for each step of this many milliseconds; 0 for the samples as stored. */
  readonly stepMs: number;
  /** Of the samples in a step; 'mean' when absent. */
  readonly aggregate?: Aggregate;
}

export interface SeriesChunk {
  readonly series: string;
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

/** How much is kept, of what, and how well. */
export interface HistoryStats {
  readonly format: number;
  /** Of all files. */
  readonly diskBytes: number;
  readonly series: number;
  /** Unix milliseconds of the oldest and newest hour with samples as stored; 0 without any. */
  readonly oldestMs: number;
  readonly newestMs: number;
  readonly sections: readonly {
    readonly name: string;
    readonly entries: number;
    /** About: of compressed tables, without what is still in the log. */
    readonly bytes: number;
  }[];
  /** Since the daemon started. */
  readonly samplesStored: number;
  readonly samplesDropped: number;
  readonly writeFailures: number;
  readonly damagedRecords: number;
  /** Roll-ups are complete up to here; 0 before the first. */
  readonly rolledUpToMs: number;
}

export interface VerifyReport {
  /** Records whose checksum and contents were checked. */
  readonly records: number;
  /** Samples in chunks. */
  readonly samples: number;
  /** What is damaged, one sentence each, at most MAX_NAMED of them. */
  readonly damage: readonly string[];
  readonly damaged: number;
}

export interface BackupReport {
  readonly dir: string;
  readonly records: number;
  readonly bytes: number;
}

/** What an operator may ask of the store while it runs. */
export interface HistoryUpkeep {
  stats(): Promise<HistoryStats>;
  /** Reads everything. */
  verify(): Promise<VerifyReport>;
  /** Rewrites the tables without what was deleted. */
  compact(): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }>;
  /** A copy as of now in a directory that does not exist yet; what a daemon finds there it starts from. */
  backup(dir: string): Promise<BackupReport>;
  /** Adds samples of one series, times ascending, but those that are there already. Returns how many were new. */
  importSamples(series: string, points: SeriesChunk['points']): Promise<number>;
}

/** The historical data store. Samples are at most one flush interval behind; decisions and runs are written at once. */
export interface History {
  /** Never throws and never waits: a full disk drops samples, counts them and says so once. */
  append(points: readonly SeriesPoint[]): void;
  query(query: SeriesQuery): AsyncIterable<SeriesChunk>;
  seriesNames(): Promise<readonly string[]>;
  putDecision(decision: Decision): Promise<void>;
  /** By decision id, or the latest of a reservation. */
  decision(by: { decisionId: string } | { reservationId: string }): Promise<Decision | undefined>;
  putRun(run: Run): Promise<void>;
  run(id: string): Promise<Run | undefined>;
  /** Oldest first. */
  runs(filter?: { origin?: Run['origin']; sinceMs?: number }): AsyncIterable<Run>;
  /** Small named values: the speed factor, calibration state, retention marks. */
  getFact<T>(name: string): Promise<T | undefined>;
  putFact(name: string, value: unknown): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
}
