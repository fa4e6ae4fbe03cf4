import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Complexity } from '../forecast/signature.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { FfmpegFile } from './ffmpeg-args.js';
import { inputWords } from './trial-command.js';

/**
 * SI and TI of ITU-T P.910 over a second at each place, by FFmpeg's siti filter. Throws NOT_FOUND when this build has no
 * such filter (it came with FFmpeg 5.1), CANCELLED when not even one place was done within the limit.
 */
export async function measureSiti(
  ffmpeg: string,
  input: FfmpegFile,
  places: readonly number[],
  limitMs: number,
): Promise<Complexity> {
  const end = performance.now() + limitMs;
  const measured: SitiSummary[] = [];
  for (const fromSeconds of places) {
    const begun = performance.now();
    measured.push(await measureAt(ffmpeg, input, fromSeconds, end - begun));
    const tookMs = performance.now() - begun;
    if (end - performance.now() < 1.2 * tookMs) break;
  }
  const mean = (value: (summary: SitiSummary) => number) =>
    measured.reduce((sum, summary) => sum + value(summary), 0) / measured.length;
  return { spatial: mean(({ spatial }) => spatial), temporal: mean(({ temporal }) => temporal) };
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

async function measureAt(
  ffmpeg: string,
  input: FfmpegFile,
  fromSeconds: number,
  limitMs: number,
): Promise<SitiSummary> {
  const args = ['-nostdin', '-hide_banner', ...inputWords(input, { fromSeconds, mediaSeconds: SAMPLE_S })];
  const output = ['-map', '0:v:0', '-vf', 'siti=print_summary=1', '-f', 'null', '-'];
  const limits = {
    timeout: Math.max(1, Math.round(limitMs)),
    killSignal: 'SIGKILL',
    maxBuffer: 4 * 1024 * 1024,
  } as const;
  let said: string;
  try {
    said = (await promisify(execFile)(ffmpeg, [...args, ...output], limits)).stderr;
  } catch (cause) {
    throw failure(ffmpeg, input.url, limitMs, cause);
  }
  const found = parseSiti(said);
  if (found === undefined) throw new CorecastError('INTERNAL', `FFmpeg gave no SI and TI of ${input.url}`);
  return found;
}

const SAMPLE_S = 1;

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
    const message = `SI and TI of ${url} were not there within ${Math.round(limitMs)} ms`;
    return new CorecastError('CANCELLED', message, { cause });
  }
  if (code === 'ENOENT') return new CorecastError('NOT_FOUND', `${ffmpeg}: no such program`, { cause });
  const last = stderr.trim().split('\n').at(-1) ?? messageOf(cause);
  return new CorecastError('INTERNAL', `could not measure SI and TI of ${url}: ${last.slice(0, 300)}`, {
    cause,
  });
}
