import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Complexity } from '../forecast/signature.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { FfmpegCommand, FfmpegFile } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { runTrial, type Trial } from './trial.js';
import { whyNotTried } from './trial-command.js';

/** How complexity is read: from packets alone, or by decoding the first seconds as well. */
export type ComplexityMode = 'packets' | 'siti' | 'probe';

/**
 * SI and TI of ITU-T P.910 over the first two seconds, by FFmpeg's siti filter. Throws NOT_FOUND when this build has no
 * such filter (it came with FFmpeg 5.1).
 */
export async function measureSiti(
  ffmpeg: string,
  input: FfmpegFile,
  limitMs = SITI_LIMIT_MS,
): Promise<Complexity> {
  const said = await runFfmpeg(ffmpeg, input, limitMs, SITI_S, [
    '-vf',
    'siti=print_summary=1',
    '-f',
    'null',
    '-',
  ]);
  const found = parseSiti(said);
  if (found === undefined) throw new CorecastError('NOT_FOUND', 'FFmpeg printed no SITI summary');
  return found;
}

export function parseSiti(text: string): Complexity | undefined {
  const spatial = /Spatial Information:\s+Average: ([\d.]+)/.exec(text)?.[1];
  const temporal = /Temporal Information:\s+Average: ([\d.]+)/.exec(text)?.[1];
  if (spatial === undefined || temporal === undefined) return undefined;
  return { spatial: Number(spatial), temporal: Number(temporal) };
}

export interface ProbeRequest {
  readonly inputFps: number;
  readonly svtAv1Major: number;
  /** Length of the input from where the command begins, where it can be entered anywhere; 0: only its beginning is tried. */
  readonly seekableSeconds: number;
  /** Of all trials together, milliseconds. */
  readonly wallLimitMs?: number;
}

/**
 * CPU seconds per input frame of the channel's own command, decoding, filters and all outputs, by trials of one second
 * of media that are written to nowhere (trial.ts). A file is tried at a few places of its first minute, because a first
 * second is often a title; one place after the other, until the time is up.
 */
export async function measureProbe(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  { inputFps, svtAv1Major, seekableSeconds, wallLimitMs = PROBE_LIMIT_MS }: ProbeRequest,
): Promise<Complexity> {
  const why = whyNotTried(command);
  if (why !== undefined) throw new CorecastError('INVALID_ARGUMENT', `the command was not tried: ${why}`);
  const end = performance.now() + wallLimitMs;
  const trials: Trial[] = [];
  for (const fromSeconds of probePlaces(seekableSeconds)) {
    const leftMs = end - performance.now();
    // A trial that would probably be cut short tells less than it costs.
    if (trials.length > 0 && leftMs < 1200 * trials.at(-1)!.wallSeconds) break;
    trials.push(
      await runTrial(command, planned, {
        mediaSeconds: PROBE_S,
        svtAv1Major,
        fromSeconds,
        wallLimitMs: leftMs,
      }),
    );
  }
  const total = (key: 'cpuSeconds' | 'mediaSeconds') => trials.reduce((sum, trial) => sum + trial[key], 0);
  const cost = total('cpuSeconds') / (total('mediaSeconds') * inputFps);
  return { probeCpuSecondsPerFrame: Number(cost.toPrecision(5)) };
}

/** The middle first: when there is time for one only, it is no title. */
export function probePlaces(seekableSeconds: number): number[] {
  const span = Math.min(PROBED_SPAN_S, seekableSeconds) - PROBE_S;
  if (span < 2 * PROBE_S) return [0];
  return [0.5, 0, 0.95].map((part) => Math.round(span * part * 10) / 10);
}

const SITI_S = 2;
const PROBE_S = 1;
const PROBE_LIMIT_MS = 4_000;
const PROBED_SPAN_S = 60;
const SITI_LIMIT_MS = 10_000;

async function runFfmpeg(
  ffmpeg: string,
  input: FfmpegFile,
  limitMs: number,
  length: number,
  output: string[],
): Promise<string> {
  const options = input.options
    // Pace is for the real run; here every second of waiting delays the start.
    .filter(({ name }) => name !== 're' && name !== 'readrate' && name !== 't' && name !== 'stream_loop')
    .flatMap((o) => [
      `-${o.name}${o.specifier === '' ? '' : `:${o.specifier}`}`,
      ...(o.value === undefined ? [] : [o.value]),
    ]);
  const args = ['-nostdin', '-hide_banner', ...options, '-t', String(length), '-i', input.url];
  try {
    const limits = { timeout: limitMs, killSignal: 'SIGKILL', maxBuffer: 4 * 1024 * 1024 } as const;
    return (await promisify(execFile)(ffmpeg, [...args, '-map', '0:v:0', ...output], limits)).stderr;
  } catch (cause) {
    const said = String((cause as { stderr?: string }).stderr ?? '');
    if (/No such filter: 'siti'/.test(said)) {
      throw new CorecastError('NOT_FOUND', `${ffmpeg} has no siti filter; it came with FFmpeg 5.1`, {
        cause,
      });
    }
    throw new CorecastError('INTERNAL', `could not measure ${input.url}: ${messageOf(cause).slice(0, 300)}`, {
      cause,
    });
  }
}
