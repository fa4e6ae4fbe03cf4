import { join } from 'node:path';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type ClipSpec, clipFile, clipGrid, clipSource } from './calibrate-clips.js';
import { Measurer } from './calibrate-measure.js';
import { calibrationPlan, type PlanEntry, SIZES } from './calibrate-plan.js';
import { CpuSlots } from './cpu-slots.js';
import { parseFfmpegCommand } from './ffmpeg-args.js';
import { availableEncoders, svtAv1Major } from './ffmpeg-build.js';
import { allowedCpus, busyShares, mean, readCpuTimes } from './host-glance.js';
import { childCpuSeconds } from './measure-complexity.js';
import { probeInput } from './signature.js';

/** Where measurements go: a file, or the daemon's history. */
export interface RunStore {
  /** Ids that are there already: those runs are not measured again. */
  readonly ids: ReadonlySet<string>;
  add(run: Run): Promise<void> | void;
}

export interface CalibrateOptions {
  readonly ffmpeg: string;
  readonly runs: number;
  readonly seed: number;
  /** The operator's own clips. */
  readonly inputs: readonly string[];
  readonly cacheDir: string;
  readonly clock: Clock;
  readonly store: RunStore;
  /** Aborted: ends after the runs under way. */
  readonly signal: AbortSignal;
  /** CPU seconds that one run may take at most. */
  readonly maxRunSeconds?: number;
  readonly onProgress: (progress: CalibrateProgress) => void;
}

export interface CalibrateProgress {
  readonly done: number;
  readonly total: number;
  /** The clip that was made: `done` and `total` count clips. */
  readonly clip?: string;
  /** The run that was measured; undefined when it was skipped. */
  readonly run?: Run;
  readonly skipped?: string;
  /** By the pace so far; undefined before the first. */
  readonly remainingSeconds?: number;
}

export interface CalibrateResult {
  readonly planned: number;
  readonly measured: number;
  /** Measured by an earlier calibration. */
  readonly present: number;
  readonly skipped: number;
  /** Busy share 0-1 of the CPUs that other work had meanwhile. */
  readonly backgroundBusy: number;
}

export async function calibrate(options: CalibrateOptions): Promise<CalibrateResult> {
  const { ffmpeg, cacheDir, clock, store, maxRunSeconds } = options;
  const cpus = allowedCpus();
  const encoders = await availableEncoders(ffmpeg);
  const clips = await clipsFor(options, encoders);
  const { runs, seed } = options;
  const plan = calibrationPlan({ runs, seed, encoders, clips, cpus: cpus.length });
  const todo = plan.filter((entry) => !store.ids.has(entry.id));
  const clipDir = join(cacheDir, 'clips');
  await makeClips(todo, clipDir, options);
  const measurer = new Measurer({
    ffmpeg,
    cacheDir: clipDir,
    svtAv1Major: encoders.includes('libsvtav1') ? await svtAv1Major(ffmpeg, cacheDir) : 1,
    clock,
    ...(maxRunSeconds === undefined ? {} : { maxRunSeconds }),
  });
  const background = watchBackground(cpus, clock);
  const { measured, skipped } = await measureAll(todo, plan.length, measurer, cpus, options);
  const present = plan.length - todo.length;
  return { planned: plan.length, measured, present, skipped, backgroundBusy: background() };
}

/** As many at once as there are cores for, as channels of a working host run. */
async function measureAll(
  todo: readonly PlanEntry[],
  planned: number,
  measurer: Measurer,
  cpus: Cpuset,
  { store, signal, clock, onProgress }: CalibrateOptions,
): Promise<{ measured: number; skipped: number }> {
  const slots = new CpuSlots(cpus);
  const begunMs = clock.monotonicMs();
  const counts = { measured: 0, skipped: 0 };
  const failures = new FailuresInARow();
  const measureOne = async (entry: PlanEntry, own: Cpuset) => {
    let run: Run | undefined;
    let why = 'too slow on this host';
    try {
      run = await measurer.measure(entry, own);
      failures.none();
    } catch (error) {
      why = `${entry.encoder} on ${clipSource(entry.clip)}: ${messageOf(error)}`;
      failures.another(why, error);
    }
    if (run !== undefined) await store.add(run);
    counts[run === undefined ? 'skipped' : 'measured']++;
    const done = counts.measured + counts.skipped;
    onProgress({
      done: planned - todo.length + done,
      total: planned,
      remainingSeconds: ((clock.monotonicMs() - begunMs) / 1000 / done) * (todo.length - done),
      ...(run === undefined ? { skipped: why } : { run }),
    });
  };
  const running = new Set<Promise<void>>();
  for (const entry of todo) {
    const own = await slots.take(entry.cpuCount);
    if (signal.aborted || failures.tooMany !== undefined) break;
    const one = measureOne(entry, own).finally(() => {
      slots.give(own);
      running.delete(one);
    });
    one.catch(() => {});
    running.add(one);
  }
  await Promise.all(running);
  if (failures.tooMany !== undefined) throw failures.tooMany;
  return counts;
}

/** Failures in a row after which the fault lies with FFmpeg or the host, not with one setting. */
const MAX_FAILURES_IN_A_ROW = 8;

class FailuresInARow {
  #count = 0;
  tooMany: CorecastError | undefined;

  none(): void {
    this.#count = 0;
  }

  another(why: string, cause: unknown): void {
    if (++this.#count < MAX_FAILURES_IN_A_ROW) return;
    const message = `${this.#count} measurements failed in a row; the last: ${why}`;
    this.tooMany ??= new CorecastError('INTERNAL', message, { cause });
  }
}

/** Before anything is measured: making clips would disturb it. */
async function makeClips(
  todo: readonly PlanEntry[],
  dir: string,
  { ffmpeg, signal, onProgress }: CalibrateOptions,
): Promise<void> {
  const clips = [...new Set(todo.map(({ clip }) => clip))];
  for (const [i, clip] of clips.entries()) {
    if (signal.aborted) return;
    try {
      await clipFile(clip, ffmpeg, dir);
    } catch {
      // Its entries will say so.
    }
    onProgress({ done: i + 1, total: clips.length, clip: clipSource(clip) });
  }
}

/** Call what comes back for the busy share 0-1 of the CPUs, until then, that was neither this process nor a child. */
function watchBackground(cpus: Cpuset, clock: Clock): () => number {
  const own = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6 + childCpuSeconds();
  };
  const begin = { ms: clock.monotonicMs(), times: readCpuTimes(), own: own() };
  return () => {
    const seconds = Math.max(0.001, (clock.monotonicMs() - begin.ms) / 1000);
    const busy = mean(busyShares(begin.times, readCpuTimes(), cpus));
    return Math.max(0, busy - (own() - begin.own) / seconds / cpus.length);
  };
}

async function clipsFor(options: CalibrateOptions, encoders: readonly string[]): Promise<ClipSpec[]> {
  const files = [];
  for (const path of options.inputs) {
    const command = parseFfmpegCommand([options.ffmpeg, '-i', path, '-f', 'null', '-']);
    const facts = await probeInput(command, command.inputs[0]!, { probe: true, timeoutMs: 20_000 }, []);
    if (facts === undefined) throw new CorecastError('INVALID_ARGUMENT', `${path} has no video`);
    const { codec, width, height, fps } = facts.video;
    files.push({ path, codec, width, height, fps, seconds: facts.seconds ?? 0 });
  }
  const needed: Readonly<Record<string, string>> = {
    h264: 'libx264',
    hevc: 'libx265',
    mpeg2video: 'mpeg2video',
  };
  return clipGrid(SIZES, files).filter((clip) => clip.original || encoders.includes(needed[clip.codec]!));
}
