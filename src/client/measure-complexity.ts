import { readFileSync, statSync } from 'node:fs';
import type { Complexity } from '../forecast/signature.js';
import { CorecastError, type ErrorCode, isCorecastError, messageOf } from '../lib/errors.js';
import { type FfmpegCommand, type FfmpegFile, lastOption } from './ffmpeg-args.js';
import type { CommandSignature } from './signature.js';
import { measureSiti } from './siti.js';
import { TRIAL_MS, tryChannel } from './trial.js';
import { sampleOf } from './trial-sample.js';

/**
 * How a picture's difficulty is read. Each level has a price, which is bounded and reported:
 * - `packets`: sizes of the first packets, by the ffprobe that reads the signature anyway.
 * - `siti`: spatial and temporal information (ITU-T P.910) of two seconds, decoded by FFmpeg's siti filter.
 * - `probe`: a trial of the channel's own command on as much of its input as there is time for.
 */
export const COMPLEXITY_LEVELS = ['packets', 'siti', 'probe'] as const;
export type ComplexityLevel = (typeof COMPLEXITY_LEVELS)[number];

/** What asking for a level came to. */
export interface ComplexityCost {
  readonly level: ComplexityLevel;
  readonly wallMs: number;
  /** Of all programs that were started for it, their loading included. */
  readonly cpuSeconds: number;
  /** Why the level was not reached: the forecast then rests on the packets. */
  readonly failure?: { readonly code: ErrorCode; readonly message: string };
}

/** The same signature with what the level adds to it; packets add nothing here. Never throws: a channel starts without. */
export async function withComplexity(
  command: FfmpegCommand,
  read: CommandSignature,
  level: ComplexityLevel,
): Promise<{ readonly read: CommandSignature; readonly cost?: ComplexityCost }> {
  const { signature } = read;
  if (level === 'packets' || signature === undefined) return { read };
  const begun = performance.now();
  const cpuBefore = childCpuSeconds();
  const cost = () => ({
    level,
    wallMs: Math.round(performance.now() - begun),
    cpuSeconds: Number((childCpuSeconds() - cpuBefore).toFixed(2)),
  });
  try {
    const added = await measureLevel(command, read, level);
    const complexity = { ...signature.complexity, ...added };
    return { read: { ...read, signature: { ...signature, complexity } }, cost: cost() };
  } catch (error) {
    const code = isCorecastError(error) ? error.code : 'INTERNAL';
    return { read, cost: { ...cost(), failure: { code, message: messageOf(error) } } };
  }
}

async function measureLevel(
  command: FfmpegCommand,
  { mainInput, planned }: CommandSignature,
  level: ComplexityLevel,
): Promise<Complexity> {
  const read = level === 'siti' ? [mainInput!.file] : command.inputs;
  const problem = read.map(whyNotReadTwice).find((why) => why !== undefined);
  if (problem !== undefined) throw new CorecastError('WRONG_STATE', problem);
  const { seconds, video } = mainInput!.facts;
  const sample = sampleOf(seconds ?? 0);
  if (level === 'siti') return measureSiti(command.program, mainInput!.file, sample, LIMIT_MS);
  const { svtAv1Major } = await import('./ffmpeg-build.js');
  const svt = planned.some((output) => output.video.encoder === 'libsvtav1');
  const { cpuSeconds, mediaSeconds } = await tryChannel(command, planned, {
    inputSeconds: seconds ?? 0,
    inputFps: video.fps,
    limitMs: LIMIT_MS,
    svtAv1Major: svt ? await svtAv1Major(command.program) : 1,
  });
  return { probeCpuSecondsPerFrame: Number((cpuSeconds / (mediaSeconds * video.fps)).toPrecision(5)) };
}

/** Wall time; what has begun by then is finished within 2 s more. */
const LIMIT_MS = TRIAL_MS;
/**
 * A level above packets opens the input once more, which a file, a generated picture and a web server bear. A pipe would
 * lose what was read; a device or a live protocol may have only one reader, or hand out its only copy.
 */
export function whyNotReadTwice(file: FfmpegFile): string | undefined {
  if (lastOption(file.options, 'f')?.value === 'lavfi') return undefined;
  if (/^https?:/.test(file.url)) {
    const listens = lastOption(file.options, 'listen') !== undefined || /[?&]listen=[12]/.test(file.url);
    return listens ? `${file.url} is a listener: FFmpeg waits there for its one publisher` : undefined;
  }
  try {
    if (statSync(file.url.replace(/^file:/, '')).isFile()) return undefined;
  } catch {
    // No path: a protocol or a pipe.
  }
  return `${file.url} is not a file: a live input is left to the channel, and not read twice`;
}

/** Of all children that have ended, to a hundredth of a second: cutime and cstime of proc(5). */
export function childCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[16 - 3]) + Number(fields[17 - 3])) / CLOCK_TICKS;
}

/** USER_HZ, 100 on every architecture that Node runs on. */
const CLOCK_TICKS = 100;
