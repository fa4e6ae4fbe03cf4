/** Real samples: what the daemon's own monitor says of this host, tick by tick, with small FFmpeg channels on it. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dist } from './dist.mjs';

const { createRecorder } = await import(`${dist}/feedback/recorder.js`);
const { seriesOf } = await import(`${dist}/history/series.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { hostAddon } = await import(`${dist}/lib/native.js`);
const { createMonitor } = await import(`${dist}/monitor/monitor.js`);

/** Ticks of [series, atMs, value]; from `file` where it is there, and kept in it. */
export async function recordingOf({ file, seconds, channels }) {
  if (file !== undefined && existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'));
  process.stderr.write(`recording ${seconds} s of this host with ${channels} channels\n`);
  const ticks = await record(seconds, channels);
  if (file !== undefined) writeFileSync(file, JSON.stringify(ticks));
  return ticks;
}

async function record(seconds, channels) {
  const addon = hostAddon();
  const ticks = [];
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
    history: { append: () => {}, putRun: async () => {} },
    clock: systemClock,
    schedulableCpus: () => os.cpus().length,
    processAgeS: () => 0,
  });
  const children = Array.from({ length: channels }, (_, i) => startChannel(i, addon, monitor, recorder));
  monitor.onTick((sample) => {
    recorder.onTick(sample);
    const points = seriesOf(sample, { channels: recorder.readings(), queued: 0 });
    ticks.push(points.map(({ series, atMs, value }) => [series, atMs, value]));
  });
  monitor.start();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  await monitor.stop();
  for (const child of children) child.kill('SIGKILL');
  return ticks;
}

function startChannel(i, addon, monitor, recorder) {
  const input = `-re -f lavfi -i mandelbrot=size=160x90:rate=${10 + i}`;
  const ffmpeg = `-nostdin -v error -stats_period 1 -progress pipe:1 ${input} -c:v libx264 -preset ultrafast -f null -`;
  const child = spawn('ffmpeg', ffmpeg.split(' '), { stdio: ['ignore', 'pipe', 'inherit'] });
  const startTicks = addon.startTicks(child.pid);
  monitor.track(child.pid, startTicks);
  const id = `01K7Z0000${i}`;
  const cpus = [{ cpu: i % os.cpus().length, shareMilli: 250 }];
  const channel = {
    id,
    name: id,
    rung: 0,
    channelClass: 'live',
    cpus,
    process: { pid: child.pid, startTicks },
  };
  recorder.begin(channel, { signature: { input: { bitrateBps: 0 } }, forecast: { horizons: [] } }, []);
  const began = systemClock.monotonicMs();
  child.stdout.on('data', (text) => {
    const outTimeUs = Number(/out_time_us=(\d+)/.exec(text)?.[1] ?? Number.NaN);
    const speed = Number(/speed=\s*([\d.]+)x/.exec(text)?.[1] ?? 1);
    if (Number.isNaN(outTimeUs)) return;
    const lagSeconds = Math.max(0, (systemClock.monotonicMs() - began) / 1000 - outTimeUs / 1e6);
    recorder.progress(id, { outTimeUs, speed, lagSeconds });
  });
  return child;
}
