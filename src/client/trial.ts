import { type SpawnOptions, spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError } from '../lib/errors.js';
import { parseBench } from './bench-line.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { spawnPinned } from './spawn-pinned.js';
import { trialArgs, whyNotTried } from './trial-command.js';

/** What a trial of a channel's own command took. */
export interface Trial {
  /** By -benchmark, which begins to count when FFmpeg has loaded: the cost of starting a program is not in it. */
  readonly cpuSeconds: number;
  /** Media seconds that were transcoded; fewer than asked for when the input or the time ended before. */
  readonly mediaSeconds: number;
}

export interface TrialRequest {
  /** Where in the input, seconds; a second of media at each. */
  readonly places: readonly number[];
  readonly inputFps: number;
  /** Length of the input from where the command begins; absent when it is not known. */
  readonly inputSeconds?: number;
  /** Wall time of all of them together, milliseconds. */
  readonly limitMs: number;
  readonly svtAv1Major: number;
  /** Where it runs; absent: where this process may. */
  readonly cpus?: Cpuset;
}

/**
 * Tries a command on a second of its media at one place after the other, until the time is up. Throws INVALID_ARGUMENT for
 * a command that writes files besides its outputs, CANCELLED when no frame was ready in time.
 */
export async function tryCommand(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  request: TrialRequest,
): Promise<Trial> {
  const why = whyNotTried(command);
  if (why !== undefined) throw new CorecastError('INVALID_ARGUMENT', `the command was not tried: ${why}`);
  const end = performance.now() + request.limitMs;
  const total = { cpuSeconds: 0, mediaSeconds: 0 };
  for (const fromSeconds of request.places) {
    const begun = performance.now();
    const sample = { fromSeconds, mediaSeconds: SAMPLE_S };
    const args = trialArgs(command, planned, sample, request.svtAv1Major);
    const { cpuSeconds, progress } = await runTrial(command.program, args, end - begun, request.cpus);
    total.cpuSeconds += cpuSeconds;
    total.mediaSeconds +=
      progress === undefined
        ? Math.min(SAMPLE_S, (request.inputSeconds ?? Number.POSITIVE_INFINITY) - fromSeconds)
        : mediaSeconds(progress, planned[0]!, request.inputFps);
    // One that would probably be cut short tells less than it costs.
    if (end - performance.now() < 1.2 * (performance.now() - begun)) break;
  }
  return total;
}

const SAMPLE_S = 1;
/** After the limit, for flushing what was read. */
const FLUSH_MS = 2_000;
/** Channels that were admitted before come first. */
const NICE = 10;
/** A clock tick of the kernel's accounting: less cannot be told from nothing. */
const MIN_CPU_S = 0.001;

interface Ran {
  readonly cpuSeconds: number;
  /** What had been done when the time was up; undefined for a trial that came to its end. */
  readonly progress?: string;
}

/**
 * Bounded twice: at the limit FFmpeg is asked to end, which flushes its encoders so that frames and CPU seconds still
 * belong together; one that does not end is killed, and nothing is known.
 */
async function runTrial(
  program: string,
  args: readonly string[],
  limitMs: number,
  cpus: Cpuset | undefined,
): Promise<Ran> {
  const { said, progress, stopped } = await runBounded(program, args, limitMs, cpus);
  const bench = parseBench(said);
  if (bench === undefined || lastCount(progress, 'frame') === 0) {
    const why = stopped ? `nothing was ready within ${Math.round(limitMs)} ms` : said.trim().slice(-300);
    throw new CorecastError(stopped ? 'CANCELLED' : 'INTERNAL', `the trial made no frame: ${why}`);
  }
  const cpuSeconds = Math.max(MIN_CPU_S, bench.userSeconds + bench.systemSeconds);
  return stopped ? { cpuSeconds, progress } : { cpuSeconds };
}

/** Of a trial that was cut short, by the first output's frames: -r drops or repeats them after the filters. */
function mediaSeconds(progress: string, { file, video }: PlannedOutput, inputFps: number): number {
  const frames = lastCount(progress, 'frame');
  if (lastOption(file.options, 'r') === undefined) return Math.min(SAMPLE_S, frames / video.fps);
  const taken = frames + lastCount(progress, 'drop_frames') - lastCount(progress, 'dup_frames');
  return Math.min(SAMPLE_S, taken / inputFps);
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
