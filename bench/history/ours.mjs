/** The project's own store on the bench. */
import { dist } from './dist.mjs';

const { openHistory } = await import(`${dist}/history/store.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);

const config = {
  flush_ms: 5_000,
  retention_days: 3_650,
  retention_10s_days: 3_650,
  retention_5m_days: 3_650,
  max_mb: 4_096,
};

/** A store whose wall clock stands at `nowMs`: after the samples, so that they can be rolled up. */
export async function openOurs(dir, nowMs) {
  const clock = { nowMs: () => nowMs, monotonicMs: () => systemClock.monotonicMs() };
  return (await openHistory({ dir, clock, config })).history;
}

/** Ticks made beforehand, flushed every five as the daemon does, on one thread, as fast as it goes. */
export async function ingest(history, ticks) {
  const cpu = process.cpuUsage();
  const began = process.hrtime.bigint();
  for (const [i, points] of ticks.entries()) {
    history.append(points);
    if (i % 5 === 4) await history.flush();
  }
  await history.flush();
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const used = process.cpuUsage(cpu);
  return { seconds, cpuSeconds: (used.user + used.system) / 1e6 };
}

export async function fill(history, data) {
  let i = 0;
  for (const points of data.ticks()) {
    history.append(points);
    if (++i % 5 === 0) await history.flush();
  }
  await history.flush();
}

/** Milliseconds for all samples of a day of one series, each a point that the reader gets. */
export async function queryDay(history, series, startMs, expected) {
  const began = process.hrtime.bigint();
  let points = 0;
  const query = { series, fromMs: startMs - 60_000, toMs: startMs + 86_400_000, stepMs: 0 };
  for await (const chunk of history.query(query)) points += chunk.points.length;
  const ms = Number(process.hrtime.bigint() - began) / 1e6;
  if (points < expected) throw new Error(`${series}: only ${points} of ${expected} points`);
  return ms;
}
