import { isAbsolute } from 'node:path';
import type { Aggregate, SeriesChunk, SeriesQuery } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { ImportHistoryRequest__Output } from './generated/corecast/v1/ImportHistoryRequest.js';
import type { ListRunsRequest__Output } from './generated/corecast/v1/ListRunsRequest.js';
import type { QueryHistoryRequest__Output } from './generated/corecast/v1/QueryHistoryRequest.js';
import { MAX_NAME, MAX_TIME_MS } from './validate.js';
import { Violations } from './violations.js';

const MAX_PATH = 4_096;
const MAX_POINTS = 4_096;
/** What the history can keep: until the year 6429. */
const MAX_AT_MS = 2 ** 47 - 1;
const AGGREGATE: Readonly<Record<string, Aggregate>> = {
  AGGREGATE_UNSPECIFIED: 'mean',
  AGGREGATE_MEAN: 'mean',
  AGGREGATE_MIN: 'min',
  AGGREGATE_MAX: 'max',
  AGGREGATE_P95: 'p95',
  AGGREGATE_COUNT: 'count',
};

export function historyQuery(message: QueryHistoryRequest__Output, nowMs: number): SeriesQuery {
  const violations = new Violations();
  const query: SeriesQuery = {
    series: violations.text('series', message.series, 0, MAX_NAME),
    fromMs: violations.integer('from_ms', message.fromMs, 0, MAX_TIME_MS),
    toMs: violations.integer('to_ms', message.toMs, 0, MAX_TIME_MS) || nowMs,
    stepMs: violations.integer('step_ms', message.stepMs, 0, MAX_TIME_MS),
    aggregate: AGGREGATE[message.aggregate] ?? 'mean',
  };
  if (message.toMs !== 0) {
    violations.check(query.toMs > query.fromMs, 'to_ms', message.toMs, `more than from_ms (${query.fromMs})`);
  }
  const known = AGGREGATE[message.aggregate] !== undefined;
  violations.check(known, 'aggregate', message.aggregate, `${Object.keys(AGGREGATE).join(', ')}`);
  const needsStep = query.aggregate !== 'mean';
  violations.check(
    !needsStep || query.stepMs > 0,
    'step_ms',
    query.stepMs,
    `more than 0 for ${query.aggregate}`,
  );
  violations.raise();
  return query;
}

export function runsFilter(message: ListRunsRequest__Output): { origin?: Run['origin']; sinceMs: number } {
  const violations = new Violations();
  const sinceMs = violations.integer('since_ms', message.sinceMs, 0, MAX_TIME_MS);
  const origin = (['calibration', 'live', 'vod'] as const).find((known) => known === message.origin);
  const known = message.origin === '' || origin !== undefined;
  violations.check(known, 'origin', message.origin, '"calibration", "live", "vod" or nothing');
  violations.raise();
  return origin === undefined ? { sinceMs } : { origin, sinceMs };
}

export function backupDir(dir: string): string {
  const violations = new Violations();
  violations.text('dir', dir, 1, MAX_PATH);
  violations.check(isAbsolute(dir), 'dir', dir, 'an absolute path');
  violations.raise();
  return dir;
}

export function importedChunk(message: ImportHistoryRequest__Output): SeriesChunk {
  const violations = new Violations();
  violations.text('series', message.series, 1, MAX_NAME);
  violations.check(!message.series.includes('*'), 'series', message.series, 'a name without *');
  const { points } = message;
  const few = points.length <= MAX_POINTS;
  violations.check(few, 'points', `${points.length} points`, `at most ${MAX_POINTS}`);
  const late = points.findIndex(({ atMs }, i) => i > 0 && atMs < points[i - 1]!.atMs);
  violations.check(late < 0, `points[${late}].at_ms`, points[late]?.atMs, 'ascending times');
  for (const { atMs } of points.slice(0, MAX_POINTS))
    if (!(Number.isSafeInteger(atMs) && atMs >= 0 && atMs <= MAX_AT_MS)) {
      violations.integer('points.at_ms', atMs, 0, MAX_AT_MS);
      break;
    }
  violations.raise();
  return { series: message.series, points };
}
