import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Complexity, Signature, VideoInput } from '../forecast/signature.js';
import { CorecastError } from '../lib/errors.js';
import { packetBitrate, packetComplexity } from './complexity.js';
import { type FfmpegCommand, type FfmpegFile, lastOption, parseRate, parseSize } from './ffmpeg-args.js';
import { type ProbeFacts, probe } from './ffprobe.js';
import type { Picture } from './filtergraph.js';
import { pixelFormatDepth } from './filtergraph.js';
import { type PlannedOutput, plannedOutputs } from './outputs.js';

/** What the wrapper knows of a command before it runs. */
export interface CommandSignature {
  /** Undefined when the command encodes and copies no video: nothing to reserve for. */
  readonly signature: Signature | undefined;
  readonly planned: readonly PlannedOutput[];
  /** The input whose picture the signature speaks of. */
  readonly mainInput?: { readonly file: FfmpegFile; readonly facts: InputFacts };
  /** What had to be assumed, for the operator. */
  readonly notes: readonly string[];
}

export interface SignatureOptions {
  /** False: no ffprobe at all. */
  readonly probe: boolean;
  /** How long ffprobe may take; absent: 3 s, or 15 s for a file, which is there whatever the load. */
  readonly timeoutMs?: number;
  /** Declared facts of the input, for pipes and listeners; they win over what ffprobe says. */
  readonly declared?: Partial<VideoInput>;
  /** The operator's word for what kind of picture it is. */
  readonly content?: string;
}

/** Reads a command's signature: inputs by ffprobe, outputs by their options. */
export async function commandSignature(
  command: FfmpegCommand,
  options: SignatureOptions,
): Promise<CommandSignature> {
  const notes: string[] = [];
  const facts = await Promise.all(command.inputs.map((file) => probeInput(command, file, options, notes)));
  const read = signatureFrom(command, facts, notes);
  if (read.signature === undefined || options.content === undefined) return read;
  return { ...read, signature: { ...read.signature, content: options.content } };
}

/** Facts of one input: the picture and how hard it is. */
export interface InputFacts {
  readonly video: VideoInput;
  readonly complexity: Complexity;
  /** Left of it from where the command begins; absent where it is not known or cannot be entered anywhere. */
  readonly seconds?: number;
}

/** The pure part: joins input facts and options. */
export function signatureFrom(
  command: FfmpegCommand,
  facts: readonly (InputFacts | undefined)[],
  notes: readonly string[] = [],
): CommandSignature {
  const pictures = facts.map((fact): Picture | undefined => fact?.video);
  const planned = plannedOutputs(command, pictures);
  const main = hardest(facts);
  if (main < 0 || planned.length === 0) return { signature: undefined, planned, notes };
  const input = facts[main]!;
  const outputs = planned.map((output) => output.video);
  return {
    signature: { input: input.video, outputs, complexity: input.complexity },
    planned,
    mainInput: { file: command.inputs[main]!, facts: input },
    notes,
  };
}

/** One input, as the wrapper sees it. Undefined when it has no video. */
export async function probeInput(
  command: FfmpegCommand,
  file: FfmpegFile,
  options: SignatureOptions,
  notes: string[],
): Promise<InputFacts | undefined> {
  const unread = whyNotProbed(file, options);
  if (unread !== undefined) {
    notes.push(`${file.url}: ${unread}; its size and frame rate are as declared or assumed`);
    return { video: declaredInput(file, options.declared), complexity: {} };
  }
  const lavfi = lastOption(file.options, 'f')?.value === 'lavfi';
  let found: ProbeFacts | undefined;
  try {
    found = await probe({
      ffprobe: ffprobeBeside(command.program),
      url: file.url,
      options: probeOptions(file),
      // A lavfi source makes raw frames: their sizes say nothing.
      packets: !lavfi,
      fromSeconds: seconds(lastOption(file.options, 'ss')?.value),
      timeoutMs: options.timeoutMs ?? (isFile(file.url) ? FILE_TIMEOUT_MS : TIMEOUT_MS),
    });
  } catch (error) {
    // A slow or silent network input is FFmpeg's to wait for; only what cannot be opened is an error here.
    if (!(error instanceof CorecastError) || error.code !== 'CANCELLED') throw error;
    notes.push(`${error.message}; its size and frame rate are as declared or assumed`);
    return { video: declaredInput(file, options.declared), complexity: {} };
  }
  if (found === undefined) return undefined;
  const video: VideoInput = {
    codec: found.codec,
    width: found.width,
    height: found.height,
    fps: parseRate(lastOption(file.options, 'r')?.value) ?? found.fps,
    bitrateBps: lavfi ? 0 : found.bitrateBps || packetBitrate(found),
    bitDepth: found.bitDepth,
  };
  const left = found.seconds - seconds(lastOption(file.options, 'ss')?.value);
  return {
    video: { ...video, ...options.declared },
    complexity: packetComplexity(found),
    ...(left > 0 && !lavfi ? { seconds: left } : {}),
  };
}

const TIMEOUT_MS = 3_000;
const FILE_TIMEOUT_MS = 15_000;

function isFile(url: string): boolean {
  try {
    return statSync(url.replace(/^file:/, '')).isFile();
  } catch {
    return false;
  }
}

/** Pipes and listeners can be read once only, and that once is FFmpeg's. */
function whyNotProbed(file: FfmpegFile, options: SignatureOptions): string | undefined {
  if (!options.probe) return 'not probed, as asked';
  if (/^(-|pipe:|fd:|\/dev\/(stdin|fd\/))/.test(file.url)) return 'a pipe can be read only once';
  if (
    /[?&](listen=[12]?|mode=listener)/.test(file.url) ||
    lastOption(file.options, 'listen', 'rtsp_flags') !== undefined
  ) {
    return 'FFmpeg listens there for a publisher';
  }
  try {
    const entry = statSync(file.url.replace(/^file:/, ''));
    if (entry.isFIFO() || entry.isSocket() || entry.isCharacterDevice())
      return 'a pipe or device can be read only once';
  } catch {
    // Not a path on this host, or missing: ffprobe will say.
  }
  return undefined;
}

/** Input options that describe the input to ffprobe as they do to FFmpeg. */
function probeOptions(file: FfmpegFile): string[] {
  return file.options
    .filter((option) => option.value !== undefined && PROBE_OPTIONS.has(option.name))
    .flatMap((option) => [`-${option.name}`, option.value!]);
}

function declaredInput(file: FfmpegFile, declared: Partial<VideoInput> = {}): VideoInput {
  const size = parseSize(lastOption(file.options, 'video_size', 's')?.value) ?? { width: 1920, height: 1080 };
  const format = lastOption(file.options, 'f')?.value;
  return {
    codec:
      lastOption(file.options, 'c', 'vcodec', 'codec')?.value ??
      (format === 'rawvideo' ? 'rawvideo' : 'h264'),
    ...size,
    fps: parseRate(lastOption(file.options, 'framerate', 'r')?.value) ?? 25,
    bitrateBps: 0,
    bitDepth: pixelFormatDepth(lastOption(file.options, 'pixel_format', 'pix_fmt')?.value) ?? 8,
    ...declared,
  };
}

/** The ffprobe of the same build, when FFmpeg was named by a path. */
export function ffprobeBeside(program: string): string {
  return program.includes('/') && /ffmpeg$/.test(program) ? join(dirname(program), 'ffprobe') : 'ffprobe';
}

/** Index of the input with the most pixels a second; -1 when none has a picture. */
function hardest(facts: readonly (InputFacts | undefined)[]): number {
  const work = (i: number) => {
    const video = facts[i]?.video;
    return video === undefined ? -1 : video.width * video.height * video.fps;
  };
  return facts.reduce((best, _, i) => (work(i) > work(best) ? i : best), -1);
}

/** "90", "1:30", "00:01:30.5". */
export function seconds(text: string | undefined): number {
  if (text === undefined) return 0;
  const value = text.split(':').reduce((total, part) => total * 60 + Number(part), 0);
  return Number.isFinite(value) && value > 0 ? value : 0;
}

const PROBE_OPTIONS = new Set(
  (
    'f video_size pixel_format framerate probesize analyzeduration protocol_whitelist rtsp_transport user_agent ' +
    'headers cookies timeout rw_timeout safe format_probesize fflags pattern_type start_number loop http_proxy ' +
    'allowed_extensions passphrase latency localaddr'
  ).split(' '),
);
