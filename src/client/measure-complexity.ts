import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Complexity } from '../forecast/signature.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { FfmpegCommand, FfmpegFile } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { runTrial } from './trial.js';
import { whyNotTried } from './trial-command.js';

/** How complexity is read: from packets alone, or by decoding the first seconds as well. */
export type ComplexityMode = 'packets' | 'siti' | 'probe';

/**
 * SI and TI of ITU-T P.910 over the first two seconds, by FFmpeg's siti filter. Throws NOT_FOUND when this build has no
 * such filter (it came with FFmpeg 5.1).
 */
export async function measureSiti(ffmpeg: string, input: FfmpegFile): Promise<Complexity> {
  const said = await runFfmpeg(ffmpeg, input, SITI_S, ['-vf', 'siti=print_summary=1', '-f', 'null', '-']);
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

/**
 * CPU seconds per input frame of the channel's own command, decoding, filters and all outputs, by a trial of one second
 * of media that writes to nowhere (trial.ts).
 */
export async function measureProbe(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  inputFps: number,
  svtAv1Major: number,
): Promise<Complexity> {
  const why = whyNotTried(command);
  if (why !== undefined) throw new CorecastError('INVALID_ARGUMENT', `the command was not tried: ${why}`);
  const request = { mediaSeconds: PROBE_S, svtAv1Major, wallLimitMs: PROBE_LIMIT_MS };
  const { cpuSeconds, mediaSeconds } = await runTrial(command, planned, request);
  return { probeCpuSecondsPerFrame: Number((cpuSeconds / (mediaSeconds * inputFps)).toPrecision(5)) };
}

const SITI_S = 2;
const PROBE_S = 1;
const PROBE_LIMIT_MS = 4_000;
const TIMEOUT_MS = 10_000;

async function runFfmpeg(
  ffmpeg: string,
  input: FfmpegFile,
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
    const limits = { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 4 * 1024 * 1024 } as const;
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
