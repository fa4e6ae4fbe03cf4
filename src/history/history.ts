import type { Decision } from '../balancer/decision.js';
import type { Run } from './records.js';

export interface SeriesPoint {
  readonly series: string;
  readonly atMs: number;
  readonly value: number;
}

export interface SeriesQuery {
  /** A series name, or a prefix ending in ".*". */
  readonly series: string;
  /** Unix milliseconds, inclusive. */
  readonly fromMs: number;
  /** Unix milliseconds, exclusive. */
  readonly toMs: number;
  /** Means over steps of this many milliseconds; 0 for the samples as stored. */
  readonly stepMs: number;
}

export interface SeriesChunk {
  readonly series: string;
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
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
