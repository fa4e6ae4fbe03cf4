import { join } from 'node:path';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type ClipSpec, clipGrid, clipSource } from './calibrate-clips.js';
import { Measurer } from './calibrate-measure.js';
import { calibrationPlan, SIZES } from './calibrate-plan.js';
import { parseFfmpegCommand } from './ffmpeg-args.js';
import { availableEncoders, svtAv1Major } from './ffmpeg-build.js';
import { allowedCpus } from './host-glance.js';
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
  /** Aborted: ends after the run under way. */
  readonly signal: AbortSignal;
  /** CPU seconds that one run may take at most. */
  readonly maxRunSeconds?: number;
  readonly onProgress: (progress: CalibrateProgress) => void;
}

export interface CalibrateProgress {
  readonly done: number;
  readonly total: number;
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

/** Failures in a row after which the fault lies with FFmpeg or the host, not with one setting. */
const MAX_FAILURES_IN_A_ROW = 8;

export async function calibrate(options: CalibrateOptions): Promise<CalibrateResult> {
  const { ffmpeg, cacheDir, clock, store, signal } = options;
  const encoders = await availableEncoders(ffmpeg);
  const clips = await clipsFor(options, encoders);
  const plan = calibrationPlan({
    runs: options.runs,
    seed: options.seed,
    encoders,
    clips,
    cpus: allowedCpus().length,
  });
  const svt = encoders.includes('libsvtav1') ? await svtAv1Major(ffmpeg, cacheDir) : 1;
  const measurer = new Measurer({
    ffmpeg,
    cacheDir: join(cacheDir, 'clips'),
    svtAv1Major: svt,
    clock,
    ...(options.maxRunSeconds === undefined ? {} : { maxRunSeconds: options.maxRunSeconds }),
  });
  const begunMs = clock.monotonicMs();
  const todo = plan.filter((entry) => !store.ids.has(entry.id));
  const present = plan.length - todo.length;
  let measured = 0;
  let skipped = 0;
  let failures = 0;
  for (const entry of todo) {
    if (signal.aborted) break;
    let run: Run | undefined;
    let why = 'too slow on this host';
    try {
      run = await measurer.measure(entry);
      failures = 0;
    } catch (error) {
      failures++;
      why = `${entry.encoder} on ${clipSource(entry.clip)}: ${messageOf(error)}`;
      if (failures >= MAX_FAILURES_IN_A_ROW) {
        throw new CorecastError('INTERNAL', `${failures} measurements failed in a row; the last: ${why}`, {
          cause: error,
        });
      }
    }
    if (run === undefined) skipped++;
    else {
      await store.add(run);
      measured++;
    }
    options.onProgress({
      done: present + measured + skipped,
      total: plan.length,
      remainingSeconds:
        ((clock.monotonicMs() - begunMs) / 1000 / (measured + skipped)) * (todo.length - measured - skipped),
      ...(run === undefined ? { skipped: why } : { run }),
    });
  }
  return { planned: plan.length, measured, present, skipped, backgroundBusy: measurer.backgroundBusy };
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
