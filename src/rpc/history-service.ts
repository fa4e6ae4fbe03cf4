import type { SeriesQuery } from '../history/history.js';
import { unitOf } from '../history/series.js';
import type { Clock } from '../lib/clock.js';
import { type CallScope, clientStream, serverStream, unary } from './call.js';
import type { Control } from './control.js';
import { toRun } from './convert.js';
import type { HistoryServiceHandlers } from './generated/corecast/v1/HistoryService.js';
import type { QueryHistoryResponse } from './generated/corecast/v1/QueryHistoryResponse.js';
import { readRun } from './read-run.js';
import { backupDir, historyQuery, importedChunk, runsFilter } from './validate-history.js';

/** As many points as one message carries. */
const CHUNK_POINTS = 4_096;

export function historyService(control: Control, scope: CallScope, clock: Clock): HistoryServiceHandlers {
  return {
    QueryHistory: serverStream(scope, (message) => {
      const query = historyQuery(message, clock.nowMs());
      return query.series === '' ? names(control) : series(control, query);
    }),
    RecordRun: unary(scope, async (message, { peer }) => {
      await control.recordRun(readRun(message.run, await control.host()), peer);
      return {};
    }),
    ListRuns: serverStream(scope, async function* (message) {
      for await (const run of control.runs(runsFilter(message))) yield { run: toRun(run) };
    }),
    GetHistoryStats: unary(scope, async () => {
      const stats = await control.historyStats();
      return { ...stats, sections: [...stats.sections] };
    }),
    VerifyHistory: unary(scope, async (_, { peer }) => {
      const report = await control.verifyHistory(peer);
      return { ...report, damage: [...report.damage] };
    }),
    CompactHistory: unary(scope, (_, { peer }) => control.compactHistory(peer)),
    BackupHistory: unary(scope, ({ dir }, { peer }) => control.backupHistory(backupDir(dir), peer)),
    ImportHistory: clientStream(scope, async (requests, { peer }) => {
      const total = { points: 0, added: 0 };
      for await (const message of requests) {
        const chunk = importedChunk(message);
        total.added += await control.importSamples(chunk, peer);
        total.points += chunk.points.length;
      }
      return total;
    }),
  };
}

async function* series(control: Control, query: SeriesQuery): AsyncGenerator<QueryHistoryResponse> {
  for await (const chunk of control.query(query)) {
    const unit = unitOf(chunk.series);
    for (let i = 0; i < chunk.points.length; i += CHUNK_POINTS) {
      yield { series: chunk.series, unit, points: chunk.points.slice(i, i + CHUNK_POINTS) };
    }
  }
}

async function* names(control: Control): AsyncGenerator<QueryHistoryResponse> {
  for (const name of await control.seriesNames()) yield { series: name, unit: unitOf(name), points: [] };
}
