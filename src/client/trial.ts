import { spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import { CorecastError } from '../lib/errors.js';
import { parseBench } from './bench-line.js';
import type { FfmpegCommand } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { type TrialRequest, trialArgs } from './trial-command.js';

/** What a trial of a channel's own command took. */
export interface Trial {
  /** By -benchmark, which begins to count when FFmpeg has loaded: the cost of starting a program is not in it. */
  readonly cpuSeconds: number;
  /** Media seconds that were transcoded; fewer than asked for when the input or the time ended before. */
  readonly mediaSeconds: number;
  readonly wallSeconds: number;
}

export interface TrialOptions extends TrialRequest {
  /** When it is told to finish with the frames it has read. */
  readonly wallLimitMs: number;
}

/**
 * Runs a trial. It is bounded twice: at the wall limit FFmpeg is asked to end, which flushes its encoders so that frames
 * and CPU seconds still belong together; one that does not end is killed, and nothing is known. It runs at a low priority,
 * because channels that were admitted before come first.
 */
export async function runTrial(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  options: TrialOptions,
): Promise<Trial> {
  const args = trialArgs(command, planned, options);
  const begun = performance.now();
  const { said, progress, stopped } = await runBounded(command.program, args, options.wallLimitMs);
  const wallSeconds = (performance.now() - begun) / 1000;
  const bench = parseBench(said);
  const frames = Number([...progress.matchAll(/^frame=\s*(\d+)/gm)].at(-1)?.[1] ?? 0);
  const fps = planned[0]?.video.fps ?? 0;
  if (bench === undefined || frames === 0 || fps === 0) {
    const why = stopped ? `nothing was ready within ${options.wallLimitMs} ms` : said.trim().slice(-300);
    throw new CorecastError(stopped ? 'CANCELLED' : 'INTERNAL', `the trial made no frame: ${why}`);
  }
  const cpuSeconds = bench.userSeconds + bench.systemSeconds;
  const byFrames = frames / fps;
  // Frame rate conversion may round a frame up or down; the input's own end is exact.
  const whole = !stopped && byFrames > options.mediaSeconds - 1.5 / fps;
  return {
    cpuSeconds: Math.max(MIN_CPU_S, cpuSeconds),
    mediaSeconds: whole ? options.mediaSeconds : byFrames,
    wallSeconds,
  };
}

/** A clock tick of the kernel's accounting: less cannot be told from nothing. */
const MIN_CPU_S = 0.001;
/** After the wall limit, for flushing what was read. */
const FLUSH_MS = 4_000;
const NICE = 10;

interface Ended {
  readonly said: string;
  readonly progress: string;
  /** The wall limit was met. */
  readonly stopped: boolean;
}

async function runBounded(program: string, args: readonly string[], limitMs: number): Promise<Ended> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let progress = '';
  let stopped = false;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-16_384);
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    progress = (progress + text).slice(-4_096);
  });
  const kills: NodeJS.Timeout[] = [
    setTimeout(() => {
      stopped = true;
      child.kill('SIGTERM');
    }, limitMs),
    setTimeout(() => child.kill('SIGKILL'), limitMs + FLUSH_MS),
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
    for (const kill of kills) clearTimeout(kill);
  }
  return { said, progress, stopped };
}

function lowerPriority(pid: number): void {
  try {
    setPriority(pid, NICE);
  } catch {
    // It ended already, or may not: then it runs as any other.
  }
}
