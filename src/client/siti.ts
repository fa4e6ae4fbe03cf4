import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { FfmpegFile } from './ffmpeg-args.js';
import { inputWords, type Sample } from './trial-command.js';

/**
 * SI and TI of ITU-T P.910 by FFmpeg's siti filter. Throws NOT_FOUND when this build has no such filter (it came with
 * FFmpeg 5.1), CANCELLED when it was not done within the limit.
 */
export async function measureSiti(
  ffmpeg: string,
  input: FfmpegFile,
  sample: Sample,
  limitMs: number,
): Promise<SitiSummary> {
  const args = ['-nostdin', '-hide_banner', ...inputWords(input, sample)];
  const output = ['-map', '0:v:0', '-vf', 'siti=print_summary=1', '-f', 'null', '-'];
  const limits = { timeout: limitMs, killSignal: 'SIGKILL', maxBuffer: 4 * 1024 * 1024 } as const;
  let said: string;
  try {
    said = (await promisify(execFile)(ffmpeg, [...args, ...output], limits)).stderr;
  } catch (cause) {
    throw failure(ffmpeg, input.url, limitMs, cause);
  }
  const found = parseSiti(said);
  if (found !== undefined) return found;
  // Some containers cannot be entered where they say they have a picture.
  if (sample.fromSeconds > 0) return measureSiti(ffmpeg, input, { ...sample, fromSeconds: 0 }, limitMs);
  throw new CorecastError('INTERNAL', `FFmpeg gave no SI and TI of ${input.url}`);
}

interface SitiSummary {
  readonly spatial: number;
  readonly temporal: number;
}

export function parseSiti(text: string): SitiSummary | undefined {
  const frames = Number(/Total frames: (\d+)/.exec(text)?.[1] ?? 0);
  const spatial = /Spatial Information:\s+Average: ([\d.]+)/.exec(text)?.[1];
  const temporal = /Temporal Information:\s+Average: ([\d.]+)/.exec(text)?.[1];
  if (spatial === undefined || temporal === undefined) return undefined;
  // The filter counts a 0 for the first frame, which has none before it.
  const counted = frames > 1 ? frames / (frames - 1) : 1;
  return { spatial: Number(spatial), temporal: Number(temporal) * counted };
}

function failure(ffmpeg: string, url: string, limitMs: number, cause: unknown): CorecastError {
  const {
    stderr = '',
    killed = false,
    code,
  } = cause as { stderr?: string; killed?: boolean; code?: unknown };
  if (/No such filter: 'siti'/.test(stderr)) {
    const message = `${ffmpeg} has no siti filter; it came with FFmpeg 5.1`;
    return new CorecastError('NOT_FOUND', message, { cause });
  }
  if (killed) {
    const message = `SI and TI of ${url} were not there within ${limitMs} ms`;
    return new CorecastError('CANCELLED', message, { cause });
  }
  if (code === 'ENOENT') return new CorecastError('NOT_FOUND', `${ffmpeg}: no such program`, { cause });
  const last = stderr.trim().split('\n').at(-1) ?? messageOf(cause);
  return new CorecastError('INTERNAL', `could not measure SI and TI of ${url}: ${last.slice(0, 300)}`, {
    cause,
  });
}
