/**
 * Hours of full load in accelerated time: the history with 100 channels' series, one tick a second, flushed every five
 * seconds, rolled up every hour and trimmed every ten minutes, channels coming and going, a query a minute; the clock is
 * simulated, the store and its files are real. Memory and file size must be flat once retention has something to do.
 *
 *   npm run -s bench -- soak [--json] [--hours 48] [--channels 100] [--retention-hours 6]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import v8 from 'node:v8';
import vm from 'node:vm';
import { dist } from './history/dist.mjs';
import { bytesUnder } from './history/peers.mjs';

const { openHistory } = await import(`${dist}/history/store.js`);

v8.setFlagsFromString('--expose-gc');
/** Memory is read after a collection: what is then held is held by something. */
const collect = vm.runInNewContext('gc');
const START_MS = 1_760_000_400_000;
const HOUR_S = 3_600;
const DAY_H = 24;
/** A channel lives so long and is followed by one with another name. */
const CHANNEL_S = 2 * HOUR_S;
const KINDS = ['cores', 'wait', 'speed', 'lag', 'ingress_bps', 'rss'];

export async function run({ hours = 48, channels = 100, 'retention-hours': kept = 6 } = {}) {
  const parent = mkdtempSync(join(os.tmpdir(), 'corecast-soak-'));
  try {
    return report(
      await soak(join(parent, 'history'), Number(hours), Number(channels), Number(kept)),
      Number(kept),
    );
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

async function soak(dir, hours, channels, keptHours) {
  let second = 0;
  const clock = { nowMs: () => START_MS + second * 1000, monotonicMs: () => second * 1000 };
  const days = keptHours / DAY_H;
  const config = {
    flush_ms: 60_000,
    retention_days: days,
    retention_10s_days: 2 * days,
    retention_5m_days: 4 * days,
    max_mb: 512,
  };
  const { history } = await openHistory({ dir, clock, config });
  const load = new Load(channels);
  const marks = [];
  const began = performance.now();
  for (; second < hours * HOUR_S; second++) {
    history.append(load.tick(second, clock.nowMs()));
    if (second % 5 === 4) await history.flush();
    if (second % 60 === 59) await readBack(history, clock.nowMs());
    if (second % 600 === 599) await history.trim();
    if (second % HOUR_S !== HOUR_S - 1) continue;
    await history.rollUp();
    marks.push(markOf(dir, second, await history.stats()));
    process.stderr.write(
      `hour ${marks.length}: ${marks.at(-1).rssMb.toFixed(0)} MB, ${marks.at(-1).fileMb.toFixed(1)} MB on disk\n`,
    );
  }
  const seconds = (performance.now() - began) / 1000;
  const { samplesStored, samplesDropped } = history.metrics();
  await history.close();
  return { marks, seconds, samplesStored, samplesDropped };
}

async function readBack(history, nowMs) {
  const query = { series: 'host.busy', fromMs: nowMs - 3_600_000, toMs: nowMs, stepMs: 10_000 };
  let points = 0;
  for await (const chunk of history.query(query)) points += chunk.points.length;
  if (points === 0) throw new Error(`no samples of host.busy before ${new Date(nowMs).toISOString()}`);
}

/** Random walks with the resolutions of src/history/series.ts. */
class Load {
  #values = new Map();
  #channels;

  constructor(channels) {
    this.#channels = channels;
  }

  tick(second, atMs) {
    const points = [{ series: 'host.busy', atMs, value: this.#walk('host.busy', 1e-4) }];
    for (let channel = 0; channel < this.#channels; channel++) {
      // Each ends at another time.
      const life = Math.floor((second + (channel * CHANNEL_S) / this.#channels) / CHANNEL_S);
      for (const kind of KINDS) {
        const value = this.#walk(`${channel}.${kind}`, 1e-3);
        points.push({ series: `channel.${channel}-${life}.${kind}`, atMs, value });
      }
    }
    return points;
  }

  #walk(name, resolution) {
    const next = Math.min(1, Math.max(0, (this.#values.get(name) ?? 0.5) + (Math.random() - 0.5) / 20));
    this.#values.set(name, next);
    return Math.round(next / resolution) / Math.round(1 / resolution);
  }
}

function markOf(dir, second, { series }) {
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    hour: (second + 1) / HOUR_S,
    rssMb: rss / 1024 / 1024,
    usedMb: (heapUsed + external) / 1024 / 1024,
    fileMb: bytesUnder(dir) / 1024 / 1024,
    series,
  };
}

/** After the longest retention all ages are there; from then on the last third is held to the first. */
function report({ marks, seconds, samplesStored, samplesDropped }, keptHours) {
  const warm = marks.filter(({ hour }) => hour > 4 * keptHours + 1);
  if (warm.length < 6)
    throw new Error(`only ${warm.length} hours after warm-up; --hours must be at least ${4 * keptHours + 7}`);
  const third = Math.floor(warm.length / 3);
  const growth = (of) => {
    const mean = (some) => some.reduce((sum, mark) => sum + mark[of], 0) / some.length;
    return 100 * (mean(warm.slice(-third)) / mean(warm.slice(0, third)) - 1);
  };
  const last = marks.at(-1);
  return {
    figures: {
      hours: marks.length,
      wall_s: seconds,
      samples: samplesStored,
      samples_dropped: samplesDropped,
      rss_mb: last.rssMb,
      rss_growth_percent: growth('rssMb'),
      used_mb: last.usedMb,
      used_growth_percent: growth('usedMb'),
      file_mb: last.fileMb,
      file_growth_percent: growth('fileMb'),
      series: last.series,
      series_growth_percent: growth('series'),
      file_bytes_per_sample_written: (last.fileMb * 1024 * 1024) / samplesStored,
    },
  };
}
