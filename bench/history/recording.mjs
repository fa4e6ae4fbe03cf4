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

/**
 * The recording made longer and wider: whole rounds of it one after another for `seconds`, for `copies` hosts whose rounds
 * begin at different ticks. Values and the jitter of times stay those that were measured.
 */
export class Stretched {
  #series;

  constructor(ticks, { seconds, copies = 1, startMs }) {
    this.seconds = seconds;
    this.copies = copies;
    this.startMs = startMs;
    const beganMs = ticks[0][0][1];
    this.#series = new Map();
    for (const [i, tick] of ticks.entries())
      for (const [name, atMs, value] of tick) {
        const known = this.#series.get(name) ?? [];
        known.push({ tick: i, offsetMs: atMs - beganMs - i * 1000, value });
        this.#series.set(name, known);
      }
    this.rounds = ticks.length;
    this.names = Array.from({ length: copies }, (_, copy) =>
      [...this.#series.keys()].map((name) => (copies === 1 ? name : `h${copy}.${name}`)),
    ).flat();
  }

  get samples() {
    let count = 0;
    for (const name of this.names) for (const _ of this.of(name)) count++;
    return count;
  }

  /** Samples of one series as [atMs, value], times ascending. */
  *of(name, seconds = this.seconds) {
    const [, copy = '0', plain] = this.copies === 1 ? ['', '0', name] : /^h(\d+)\.(.*)$/.exec(name);
    const known = this.#series.get(plain);
    const shift = Math.floor((Number(copy) * this.rounds) / this.copies);
    for (let round = 0; round * this.rounds < seconds + shift; round++)
      for (const { tick, offsetMs, value } of known) {
        const second = round * this.rounds + tick - shift;
        if (second >= 0 && second < seconds) yield [this.startMs + second * 1000 + offsetMs, value];
      }
  }

  /** Tick by tick, as the daemon appends: arrays of {series, atMs, value}. */
  *ticks() {
    const open = this.names.map((series) => ({ series, samples: this.of(series), next: undefined }));
    for (const each of open) each.next = each.samples.next();
    for (let second = 0; second < this.seconds; second++) {
      const endMs = this.startMs + (second + 1) * 1000 - 500;
      const points = [];
      for (const each of open)
        while (!each.next.done && each.next.value[0] < endMs) {
          const [atMs, value] = each.next.value;
          points.push({ series: each.series, atMs, value });
          each.next = each.samples.next();
        }
      yield points;
    }
  }
}
