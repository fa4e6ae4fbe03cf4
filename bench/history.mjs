/**
 * The history: samples a second in, a day of one series out, bytes a sample. Bytes are measured on real samples: this host
 * at one tick a second for --seconds, with --channels small FFmpeg processes on it.
 *
 *   npm run -s bench -- history [--json] [--seconds 600] [--channels 4]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { createRecorder } = await import(`${dist}/feedback/recorder.js`);
const { seriesOf } = await import(`${dist}/history/series.js`);
const { openHistory } = await import(`${dist}/history/store.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { hostAddon } = await import(`${dist}/lib/native.js`);
const { createMonitor } = await import(`${dist}/monitor/monitor.js`);

const config = { flush_ms: 5_000, retention_days: 14, max_mb: 512 };
const START = 1_760_000_000_000;

export async function run({ seconds = 600, channels = 4 } = {}) {
  const parent = mkdtempSync(join(os.tmpdir(), 'corecast-bench-'));
  const open = async (name) =>
    (await openHistory({ dir: join(parent, name), clock: systemClock, config })).history;
  try {
    const ingested = await ingest(await open('ingest'));
    const read = await day(await open('day'));
    const real =
      Number(seconds) > 0 ? await realSamples(await open('real'), Number(seconds), Number(channels)) : {};
    return { figures: { ...ingested, ...read, ...real } };
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

/** 600 series (100 channels), a tick a second, flushed every five: as the daemon does, as fast as it can. */
async function ingest(history) {
  const names = Array.from({ length: 600 }, (_, i) => `channel.${Math.floor(i / 6)}.s${i % 6}`);
  const values = names.map(() => Math.random());
  const ticks = 2_000;
  const cpu = process.cpuUsage();
  const began = process.hrtime.bigint();
  for (let tick = 0; tick < ticks; tick++) {
    const atMs = START + tick * 1000;
    history.append(
      names.map((series, i) => {
        values[i] = Math.min(1, Math.max(0, values[i] + (Math.random() - 0.5) / 20));
        return { series, atMs, value: Math.round(values[i] * 1000) / 1000 };
      }),
    );
    if (tick % 5 === 4) await history.flush();
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const used = process.cpuUsage(cpu);
  const { samplesStored } = history.metrics();
  await history.close();
  return {
    ingestSamplesPerSecond: Math.round(samplesStored / seconds),
    // Making the samples included; on a busy host the truer number.
    ingestSamplesPerCpuSecond: Math.round(samplesStored / ((used.user + used.system) / 1e6)),
  };
}

async function day(history) {
  for (let other = 0; other < 20; other++)
    history.append(
      Array.from({ length: 86_400 }, (_, i) => ({
        series: `cpu.${other}.busy`,
        atMs: START + i * 1000,
        value: Math.round(1000 * (0.5 + 0.4 * Math.sin(i / 600) + 0.1 * Math.random())) / 1000,
      })),
    );
  await history.flush();
  const time = async (stepMs) => {
    const took = [];
    for (let i = 0; i < 21; i++) {
      const began = process.hrtime.bigint();
      let points = 0;
      const query = { series: 'cpu.7.busy', fromMs: START, toMs: START + 86_400_000, stepMs };
      for await (const chunk of history.query(query)) points += chunk.points.length;
      took.push(Number(process.hrtime.bigint() - began) / 1e6);
      if (points < (stepMs === 0 ? 86_400 : 1_440)) throw new Error(`only ${points} points`);
    }
    took.sort((a, b) => a - b);
    return { median: round(took[10]), best: round(took[0]) };
  };
  const raw = await time(0);
  const byMinute = await time(60_000);
  await history.close();
  return {
    dayOfOneSeriesRawMs: raw.median,
    dayOfOneSeriesRawBestMs: raw.best,
    dayOfOneSeriesByMinuteMs: byMinute.median,
    dayOfOneSeriesByMinuteBestMs: byMinute.best,
  };
}

async function realSamples(history, seconds, channels) {
  const addon = hostAddon();
  const monitor = createMonitor({
    sampler: addon.openSampler('/proc'),
    procRoot: '/proc',
    sysRoot: '/sys',
    clock: systemClock,
    schedulable: () => os.cpus().map((_, cpu) => cpu),
    gauges: {
      channels: () => channels,
      queued: () => 0,
      reserved: () => 0.5,
      reportedIngress: () => ({ bps: 0, queueLength: 0 }),
    },
    intervalMs: 1000,
  });
  const recorder = createRecorder({
    history,
    clock: systemClock,
    schedulableCpus: () => os.cpus().length,
    processAgeS: () => 0,
  });
  const children = Array.from({ length: channels }, (_, i) => {
    const input = `-re -f lavfi -i mandelbrot=size=160x90:rate=${10 + i}`;
    const ffmpeg = `-nostdin -v error -stats_period 1 -progress pipe:1 ${input} -c:v libx264 -preset ultrafast -f null -`;
    const child = spawn('ffmpeg', ffmpeg.split(' '), { stdio: ['ignore', 'pipe', 'inherit'] });
    const startTicks = addon.startTicks(child.pid);
    monitor.track(child.pid, startTicks);
    const id = `01K7Z0000${i}`;
    const shares = [{ cpu: i % os.cpus().length, shareMilli: 250 }];
    const reservation = {
      id,
      name: id,
      rung: 0,
      channelClass: 'live',
      cpus: shares,
      process: { pid: child.pid, startTicks },
    };
    const signature = { input: { bitrateBps: 0 } };
    recorder.begin(reservation, { signature, forecast: { horizons: [] } }, []);
    child.stdout.on('data', (text) => {
      const match = /out_time_us=(\d+)/.exec(text);
      if (match !== null)
        recorder.progress(id, {
          outTimeUs: Number(match[1]),
          speed: 1,
          lagSeconds: round(Math.random() / 10, 3),
        });
    });
    return child;
  });
  const cpu = process.cpuUsage();
  const began = systemClock.monotonicMs();
  monitor.onTick((sample) => {
    recorder.onTick(sample);
    history.append(seriesOf(sample, { channels: recorder.readings(), queued: 0 }));
  });
  monitor.start();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const used = process.cpuUsage(cpu);
  const wallMs = systemClock.monotonicMs() - began;
  await monitor.stop();
  for (const child of children) child.kill('SIGKILL');
  await history.flush();
  const { chunkBytes, chunkSamples, journalBytes, samplesStored } = history.metrics();
  await history.close();
  return {
    realSamples: samplesStored,
    realSamplesInChunks: chunkSamples,
    chunkBytesPerSample: round(chunkBytes / chunkSamples, 3),
    // A chunk's key (21 bytes, its front shared with its neighbours') and LevelDB's entry around it.
    withKeysBytesPerSample: round((chunkBytes + (chunkSamples / 480) * 33) / chunkSamples, 3),
    journalBytesPerSample: round(journalBytes / samplesStored, 3),
    cpuPercentOfOne: round((100 * (used.user + used.system)) / 1000 / wallMs),
  };
}

function round(value, places = 2) {
  return Number(value.toFixed(places));
}
