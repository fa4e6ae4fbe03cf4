import type { ChildProcess } from 'node:child_process';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError } from '../lib/errors.js';
import { ProgressReader } from '../lib/ffmpeg-progress.js';
import { parseBench } from './bench-line.js';
import { busyShares, readCpuTimes } from './host-glance.js';
import { repin, spawnPinned } from './spawn-pinned.js';
import { ThreadUsage } from './thread-usage.js';

/** What one FFmpeg of a calibration took. */
export interface FfmpegUse {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly mediaSeconds: number;
  /** Of the work, by CPU, busiest first. */
  readonly shares: readonly number[];
  /** Busy share of each of the host's allowed CPUs meanwhile. */
  readonly busy: readonly number[];
}

export interface FfmpegOptions {
  readonly ffmpeg: string;
  readonly clock: Clock;
  readonly procRoot?: string;
  readonly allowed: Cpuset;
  /** A run that takes more was guessed wrong; it is abandoned. CPU, not wall, so that a loaded host loses no more. */
  readonly maxCpuSeconds: number;
}

/** Wall seconds that a paced run is watched, from its first output on. */
const WATCHED_S = 5;
/** Encoders that look ahead write nothing before; one that has not by then is taken to be under way. */
const MOST_DELAY_S = 8;
/** A run that reaches less of real time than this is too slow to be paced. */
const LEAST_SPEED = 0.9;
/** Frames that an encoder may hand out at once: SVT-AV1 a group of 16 and the key frame. */
const BURST_FRAMES = 17;
const SAMPLE_MS = 100;

/**
 * As a live channel runs: paced, for as long as it takes to see it at work. A paced encoder takes more CPU than one at full
 * speed, because it sleeps and finds its caches cold; by how much depends on its threads. Its beginning (loading, filling
 * the look-ahead) and its end are not in it. Undefined when it does not keep real time on these CPUs. `fps`: of its slowest output.
 */
export async function runPaced(
  args: readonly string[],
  fps: number,
  cpus: Cpuset,
  options: FfmpegOptions,
): Promise<FfmpegUse | undefined> {
  const { clock, procRoot, allowed } = options;
  const child = start(options.ffmpeg, ['-progress', 'pipe:1', '-stats_period', '0.2', ...args], cpus);
  const ended = endOf(child, options.ffmpeg);
  let outTimeS = 0;
  const reader = new ProgressReader(clock, (progress) => {
    outTimeS = progress.outTimeUs / 1e6;
  });
  child.stdout!.setEncoding('utf8').on('data', (text: string) => reader.feed(text));
  const usage = new ThreadUsage(child.pid ?? 0, procRoot);
  const mark = () => {
    usage.read();
    const { seconds, byCpu } = usage;
    return { ms: clock.monotonicMs(), seconds, byCpu, outTimeS, times: readCpuTimes(procRoot) };
  };
  const begunMs = clock.monotonicMs();
  let first: ReturnType<typeof mark> | undefined;
  let last: ReturnType<typeof mark> | undefined;
  const sampling = setInterval(() => {
    if (child.pid !== undefined) repin(child.pid, cpus);
    const ageS = (clock.monotonicMs() - begunMs) / 1000;
    if (first === undefined) {
      if (outTimeS > 0 || ageS > MOST_DELAY_S) first = mark();
    } else if (clock.monotonicMs() - first.ms >= WATCHED_S * 1000) {
      last ??= mark();
      child.kill('SIGKILL');
    }
  }, SAMPLE_MS);
  const { code, said } = await ended.finally(() => clearInterval(sampling));
  if (first === undefined || last === undefined) throw failed(options.ffmpeg, args, code, said);
  const wallSeconds = (last.ms - first.ms) / 1000;
  // Output comes in bursts, so it tells whether the pace was kept, and not the media time.
  const mostMediaS = last.outTimeS - first.outTimeS + BURST_FRAMES / fps;
  if (mostMediaS / wallSeconds < LEAST_SPEED) return undefined;
  return {
    cpuSeconds: last.seconds - first.seconds,
    wallSeconds,
    mediaSeconds: wallSeconds,
    shares: sharesBetween(first.byCpu, last.byCpu, cpus.length),
    busy: busyShares(first.times, last.times, allowed),
  };
}

/** As fast as it will go, whole. Undefined when it was abandoned. `mediaSeconds`: what `args` ask for. */
export async function runFast(
  args: readonly string[],
  mediaSeconds: number,
  cpus: Cpuset,
  options: FfmpegOptions,
): Promise<FfmpegUse | undefined> {
  const { clock, procRoot, allowed, maxCpuSeconds } = options;
  const before = readCpuTimes(procRoot);
  const begunMs = clock.monotonicMs();
  const child = start(options.ffmpeg, ['-benchmark', ...args], cpus);
  const ended = endOf(child, options.ffmpeg);
  const usage = new ThreadUsage(child.pid ?? 0, procRoot);
  let abandoned = false;
  const stop = () => {
    abandoned = true;
    child.kill('SIGKILL');
  };
  const sampling = setInterval(() => {
    usage.read();
    if (usage.seconds > maxCpuSeconds) stop();
    if (child.pid !== undefined) repin(child.pid, cpus);
  }, SAMPLE_MS);
  const limit = setTimeout(stop, maxCpuSeconds * WALL_PER_CPU * 1000);
  const { code, said } = await ended.finally(() => {
    clearInterval(sampling);
    clearTimeout(limit);
  });
  if (abandoned) return undefined;
  const bench = parseBench(said);
  if (code !== 0 || bench === undefined) throw failed(options.ffmpeg, args, code, said);
  return {
    cpuSeconds: bench.userSeconds + bench.systemSeconds,
    wallSeconds: (clock.monotonicMs() - begunMs) / 1000,
    mediaSeconds,
    shares: sharesBetween(new Map(), usage.byCpu, cpus.length),
    busy: busyShares(before, readCpuTimes(procRoot), allowed),
  };
}

/** How much longer than its CPU time a run may take before the host is too busy to measure it. */
const WALL_PER_CPU = 9;

/** Share of the work on each of `cpuCount` CPUs, busiest first; the shares sum to 1. */
function sharesBetween(
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
  cpuCount: number,
): number[] {
  const seconds = [...after].map(([cpu, s]) => s - (before.get(cpu) ?? 0)).sort((a, b) => b - a);
  const total = seconds.reduce((a, b) => a + b, 0);
  return Array.from({ length: cpuCount }, (_, i) => (total === 0 ? 1 / cpuCount : (seconds[i] ?? 0) / total));
}

function start(ffmpeg: string, args: readonly string[], cpus: Cpuset): ChildProcess {
  return spawnPinned(ffmpeg, args, cpus, { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function endOf(child: ChildProcess, ffmpeg: string): Promise<{ code: number | null; said: string }> {
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8_192);
  });
  child.stdout!.resume();
  return new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new CorecastError('NOT_FOUND', `could not start ${ffmpeg}: ${cause.message}`, { cause })),
    );
    child.once('close', (code) => resolve({ code, said }));
  });
}

function failed(ffmpeg: string, args: readonly string[], code: number | null, said: string): CorecastError {
  return new CorecastError(
    'INTERNAL',
    `${ffmpeg} ${args.join(' ')} ended with ${code} before it was measured: ${said.slice(-500)}`,
  );
}
