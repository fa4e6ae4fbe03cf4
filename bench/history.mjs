/**
 * The history on real samples: what the daemon's monitor says of this host for --seconds with --channels small FFmpeg
 * processes on it, then made longer and wider by repeating it (bench/history/stretched.mjs). In the same run the same
 * samples in SQLite, in plain LevelDB with a key a sample, and in Prometheus' blocks.
 *
 *   npm run -s bench -- history [--json] [--seconds 300] [--channels 4] [--hours 24] [--recording FILE] [--peers no]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { betterSqlite, prometheus } from './history/install-peers.mjs';
import { fill, ingest, openOurs, queryDay } from './history/ours.mjs';
import { bytesUnder, median, plainLevel, prometheusBlocks, sqlite } from './history/peers.mjs';
import { recordingOf } from './history/recording.mjs';
import { Stretched } from './history/stretched.mjs';

/** The beginning of an hour. */
const START_MS = 1_760_000_400_000;
const HOUR_MS = 3_600_000;
/** 100 channels and their host have about as many. */
const INGEST_SERIES = 600;
const INGEST_SECONDS = 2_000;
const RUNS = 5;

export async function run({ seconds = 300, channels = 4, hours = 24, recording, peers = 'yes' } = {}) {
  const ticks = await recordingOf({ file: recording, seconds: Number(seconds), channels: Number(channels) });
  const parent = mkdtempSync(join(os.tmpdir(), 'corecast-bench-'));
  const dirOf = (name) => {
    mkdirSync(join(parent, name));
    return join(parent, name);
  };
  try {
    const data = new Stretched(ticks, { seconds: Number(hours) * 3_600, startMs: START_MS });
    const { samples } = data;
    const kept = await keep(dirOf('kept'), data, samples);
    const taken = await takeIn(dirOf('taken'), ticks);
    const figures = { ...kept, ...taken, ...resident(parent, dirOf('resident'), ticks) };
    const rows = [{ store: 'corecast', ...columns(figures) }];
    const others = peers === 'yes' ? await otherStores(dirOf, data) : {};
    for (const [store, of] of Object.entries(others)) rows.push({ store, ...columns(of) });
    return { rows, figures: { ...figures, samples, series: data.names.length }, peers: flat(others) };
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

/** Bytes on disk of all files once hours are rolled up and tables compacted, and a day of one series out of it. */
async function keep(dir, data, samples) {
  const history = await openOurs(dir, START_MS + data.seconds * 1_000 + 2 * HOUR_MS);
  await fill(history, data);
  const journalBytes = history.metrics().journalBytes;
  await history.rollUp();
  await history.compact();
  const { sections } = await history.stats();
  const took = [];
  const [series] = data.names;
  for (let i = 0; i < 21; i++)
    took.push(await queryDay(history, series, START_MS, Math.min(data.seconds, 86_400) * 0.99));
  await history.close();
  const rollups = sections.filter(({ name }) => name.startsWith('roll-ups'));
  return {
    bytes_per_sample: bytesUnder(dir) / samples,
    rollup_bytes_per_sample: rollups.reduce((sum, { bytes }) => sum + bytes, 0) / samples,
    journal_bytes_per_sample: journalBytes / samples,
    query_day_ms: median(took),
    query_day_best_ms: Math.min(...took),
  };
}

/** The median of several runs, each into a fresh store. */
async function takeIn(dir, ticks) {
  const own = new Set(ticks.flatMap((tick) => tick.map(([name]) => name))).size;
  const copies = Math.ceil(INGEST_SERIES / own);
  const data = new Stretched(ticks, { seconds: INGEST_SECONDS, copies, startMs: START_MS });
  const made = [...data.ticks()];
  const samples = made.reduce((sum, tick) => sum + tick.length, 0);
  const rates = [];
  const cpuRates = [];
  for (let i = 0; i < RUNS; i++) {
    const history = await openOurs(join(dir, String(i)), START_MS + INGEST_SECONDS * 1_000);
    const { seconds, cpuSeconds } = await ingest(history, made);
    rates.push(samples / seconds);
    cpuRates.push(samples / cpuSeconds);
    await history.close();
  }
  return {
    ingest_samples_per_s: median(rates),
    // LevelDB's own thread included; on a busy host the truer number.
    ingest_samples_per_cpu_s: median(cpuRates),
    ingest_series: data.names.length,
  };
}

function resident(parent, dir, ticks) {
  const file = join(parent, 'recording.json');
  writeFileSync(file, JSON.stringify(ticks));
  const script = fileURLToPath(new URL('./history/resident.mjs', import.meta.url));
  const out = execFileSync(process.execPath, [script, file, join(dir, 'history')], { encoding: 'utf8' });
  return { rss_mb: JSON.parse(out).rssMb };
}

async function otherStores(dirOf, data) {
  const stores = {};
  const add = async (name, measure) => {
    process.stderr.write(`${name}\n`);
    stores[name] = named(await measure(dirOf(name)));
  };
  const Database = betterSqlite();
  if (Database !== undefined) await add('sqlite', (dir) => sqlite(Database, dir, data));
  await add('leveldb', (dir) => plainLevel(dir, data));
  const tools = prometheus();
  if (tools !== undefined) await add('prometheus', (dir) => prometheusBlocks(tools, dir, data));
  return stores;
}

function named({ bytesPerSample, samplesPerS, queryMs }) {
  return {
    bytes_per_sample: bytesPerSample,
    ...(samplesPerS === undefined ? {} : { ingest_samples_per_s: samplesPerS }),
    ...(queryMs === undefined ? {} : { query_day_ms: queryMs }),
  };
}

function columns({ bytes_per_sample, ingest_samples_per_s, query_day_ms }) {
  return { bytes_per_sample, ingest_samples_per_s, query_day_ms };
}

function flat(stores) {
  return Object.fromEntries(
    Object.entries(stores).flatMap(([store, of]) =>
      Object.entries(of).map(([figure, value]) => [`${store}_${figure}`, value]),
    ),
  );
}
