import { type SpawnOptions, spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, isCorecastError } from '../lib/errors.js';
import { parseBench } from './bench-line.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { spawnPinned } from './spawn-pinned.js';
import { type Sample, trialArgs, whyNotTried } from './trial-command.js';
import { longerSampleOf, sampleOf } from './trial-sample.js';

/** What a trial of a channel's own command took. */
export interface Trial {
  /** By -benchmark, which begins to count when FFmpeg has loaded: the cost of starting a program is not in it. */
  readonly cpuSeconds: number;
  /** Media seconds that were transcoded; fewer than asked for when the input or the time ended before. */
  readonly mediaSeconds: number;
}

export interface TrialRequest {
  readonly inputFps: number;
  /** Wall time, milliseconds. */
  readonly limitMs: number;
  readonly svtAv1Major: number;
  /** Where it runs; absent: where this process may. */
  readonly cpus?: Cpuset;
}

/**
 * Tries a command on as much of its media as there is time for: first on two seconds, then, where these show that there
 * is time, on up to its first half minute. `inputSeconds`: of its main input; 0: not known. Throws as tryCommand does.
 */
export async function tryChannel(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  request: TrialRequest & { readonly inputSeconds: number },
): Promise<Trial> {
  const { inputSeconds } = request;
  const begun = performance.now();
  const first = await tryCommand(command, planned, sampleOf(inputSeconds), request);
  const wallMs = performance.now() - begun;
  const leftMs = TRIAL_MS - wallMs;
  const longer = longerSampleOf(inputSeconds, { ...first, wallMs }, PLANNED_SHARE * leftMs);
  if (longer === undefined) return first;
  try {
    return await tryCommand(command, planned, longer, {
      ...request,
      limitMs: Math.max(leftMs, request.limitMs - wallMs),
    });
  } catch (error) {
    // Cut off by a host that was busier than before.
    if (isCorecastError(error, 'CANCELLED')) return first;
    throw error;
  }
}

/** Wall time of a whole trial. `limitMs` is more where nobody waits, and then the same is tried, however busy the host. */
export const TRIAL_MS = 4_000;
/** Of the time that is left, so that a little more than was planned is not cut off. */
const PLANNED_SHARE = 0.8;

/**
 * Tries a command on a part of its media. Throws INVALID_ARGUMENT for a command that writes files besides its outputs,
 * CANCELLED when no frame was ready in time.
 */
export async function tryCommand(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  sample: Sample,
  request: TrialRequest,
): Promise<Trial> {
  const why = whyNotTried(command);
  if (why !== undefined) throw new CorecastError('INVALID_ARGUMENT', `the command was not tried: ${why}`);
  const { limitMs } = request;
  const args = trialArgs(command, planned, sample, request.svtAv1Major);
  const { said, progress, stopped } = await runBounded(command.program, args, limitMs, request.cpus);
  const bench = parseBench(said);
  if (bench === undefined || lastCount(progress, 'frame') === 0) {
    if (stopped) throw new CorecastError('CANCELLED', `the trial made no frame within ${limitMs} ms`);
    // Some containers cannot be entered where they say they have a picture.
    if (sample.fromSeconds > 0) return tryCommand(command, planned, { ...sample, fromSeconds: 0 }, request);
    throw new CorecastError('INTERNAL', `the trial made no frame: ${said.trim().slice(-300)}`);
  }
  return {
    cpuSeconds: Math.max(MIN_CPU_S, bench.userSeconds + bench.systemSeconds),
    mediaSeconds: stopped
      ? Math.min(sample.mediaSeconds, mediaDone(progress, planned[0]!, request.inputFps))
      : sample.mediaSeconds,
  };
}

/** After the limit, for flushing what was read. */
const FLUSH_MS = 2_000;
/** Channels that were admitted before come first. */
const NICE = 10;
/** A clock tick of the kernel's accounting: less cannot be told from nothing. */
const MIN_CPU_S = 0.001;

/** Of a trial that was cut short, by the first output's frames: -r drops or repeats them after the filters. */
function mediaDone(progress: string, { file, video }: PlannedOutput, inputFps: number): number {
  const frames = lastCount(progress, 'frame');
  if (lastOption(file.options, 'r') === undefined) return frames / video.fps;
  const taken = frames + lastCount(progress, 'drop_frames') - lastCount(progress, 'dup_frames');
  return taken / inputFps;
}

function lastCount(progress: string, name: string): number {
  const counts = [...progress.matchAll(new RegExp(`^${name}=\\s*(\\d+)`, 'gm'))];
  return Number(counts.at(-1)?.[1] ?? 0);
}

interface Ended {
  readonly said: string;
  readonly progress: string;
  /** The limit was met. */
  readonly stopped: boolean;
}

/**
 * Bounded twice: at the limit FFmpeg is asked to end, which flushes its encoders so that frames and CPU seconds still
 * belong together; one that does not end is killed, and nothing is known.
 */
async function runBounded(
  program: string,
  args: readonly string[],
  limitMs: number,
  cpus: Cpuset | undefined,
): Promise<Ended> {
  const options = { stdio: ['ignore', 'pipe', 'pipe'] } as const satisfies SpawnOptions;
  const child =
    cpus === undefined ? spawn(program, args, options) : spawnPinned(program, args, cpus, { ...options });
  let said = '';
  let progress = '';
  let stopped = false;
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-16_384);
  });
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    progress = (progress + text).slice(-4_096);
  });
  const stop = () => {
    stopped = true;
    child.kill('SIGTERM');
  };
  const timers = [
    setTimeout(stop, limitMs),
    setTimeout(() => child.kill('SIGKILL'), Math.max(0, limitMs) + FLUSH_MS),
  ];
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', () => resolve());
      if (child.pid !== undefined) lowerPriority(child.pid);
    });
  } catch (cause) {
    throw new CorecastError('NOT_FOUND', `cannot start ${program}: ${(cause as Error).message}`, { cause });
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
  return { said, progress, stopped };
}

function lowerPriority(pid: number): void {
  try {
    setPriority(pid, NICE);
  } catch {
    // It ended already.
  }
}
