import { existsSync } from 'node:fs';
import { CorecastError } from '../lib/errors.js';
import {
  type FfmpegCommand,
  type FfmpegFile,
  type FfmpegOption,
  lastOption,
  parseFfmpegCommand,
} from './ffmpeg-args.js';
import { seconds } from './signature.js';

/**
 * A rung of the degrade ladder is a set of output options that replace the command's own on every video output. FFmpeg
 * cannot change them while it runs, so a change of rung is a restart:
 *  - an input that is a file is entered again where the outputs had got to (-ss); a live input or a pipe goes on where it is;
 *  - limits on length (-t, -to, -frames) are lowered by what is done already;
 *  - HLS goes on in the same playlist (append_list); another file can't be continued, so each restart writes a part of
 *    its own beside it (out.mp4, out.part2.mp4, ...); streams and pipes are opened again under the same name.
 */
export interface Restart {
  /** Media seconds that the outputs hold already, over all runs so far. */
  readonly mediaSeconds: number;
  readonly frames: number;
  /** 2 for the first restart. */
  readonly part: number;
}

/** The options of one rung, checked: options with values, no inputs, no outputs. */
export function parseRung(words: readonly string[], text: string): readonly string[] {
  const { inputs, outputs, globals } = parseFfmpegCommand(['ffmpeg', ...words, 'out']);
  const fault =
    inputs.length > 0
      ? 'has an input'
      : outputs.length !== 1 || outputs[0]!.url !== 'out'
        ? 'names an output or leaves an option without its value'
        : outputs[0]!.options.length === 0
          ? 'has no output option'
          : globals.length > 0
            ? `has the global option -${globals[0]!.name}`
            : undefined;
  if (fault !== undefined) {
    throw new CorecastError(
      'INVALID_ARGUMENT',
      `--degrade ${JSON.stringify(text)} ${fault}; expected output options such as "-preset ultrafast -s 640x360"`,
    );
  }
  return words;
}

/** The command line at a rung, before thread options. */
export function atRung(command: FfmpegCommand, rung: readonly string[], restart?: Restart): string[] {
  const dropped = new Set<number>();
  const inserted = new Map<number, string[]>();
  const replaced = new Map<number, string>();
  const insert = (at: number, ...words: string[]) =>
    inserted.set(at, [...(inserted.get(at) ?? []), ...words]);
  const drop = (option: FfmpegOption) => {
    dropped.add(option.at);
    if (option.value !== undefined) dropped.add(option.at + 1);
  };

  const mine = parseFfmpegCommand(['ffmpeg', ...rung, 'out']).outputs[0]!.options;
  const names = new Set(mine.flatMap((option) => SAME[option.name] ?? [option.name]));
  for (const output of command.outputs) {
    if (lastOption(output.options, 'vn') !== undefined) continue;
    for (const option of output.options)
      if (names.has(option.name) && !isOtherMedia(option.specifier)) drop(option);
    if (rung.length > 0) insert(output.at, ...rung);
  }
  if (restart !== undefined) {
    for (const input of command.inputs) resumeInput(input, restart, insert, drop);
    for (const output of command.outputs) {
      resumeLimits(output, restart, replaced);
      resumeOutput(command, output, restart, insert, replaced);
    }
  }
  const args = command.args.flatMap((word, at) => [
    ...(inserted.get(at) ?? []),
    ...(dropped.has(at) ? [] : [replaced.get(at) ?? word]),
  ]);
  return [command.program, ...args];
}

type Insert = (at: number, ...words: string[]) => void;

function resumeInput(
  input: FfmpegFile,
  restart: Restart,
  insert: Insert,
  drop: (option: FfmpegOption) => void,
): void {
  if (!existsSync(input.url.replace(/^file:/, '')) || lastOption(input.options, 'f')?.value === 'lavfi')
    return;
  const start = lastOption(input.options, 'ss');
  if (start !== undefined) drop(start);
  insert(input.at, '-ss', (seconds(start?.value) + restart.mediaSeconds).toFixed(3));
  const length = lastOption(input.options, 't');
  if (length === undefined) return;
  drop(length);
  insert(input.at, '-t', remaining(length.value, restart.mediaSeconds));
}

function resumeLimits(output: FfmpegFile, restart: Restart, replaced: Map<number, string>): void {
  for (const option of output.options) {
    if (option.name === 't' || option.name === 'to')
      replaced.set(option.at + 1, remaining(option.value, restart.mediaSeconds));
    const countsVideo =
      (option.name === 'frames' && !isOtherMedia(option.specifier)) || option.name === 'vframes';
    if (countsVideo) replaced.set(option.at + 1, String(Math.max(1, Number(option.value) - restart.frames)));
  }
}

function resumeOutput(
  command: FfmpegCommand,
  output: FfmpegFile,
  restart: Restart,
  insert: Insert,
  replaced: Map<number, string>,
): void {
  const format = lastOption(output.options, 'f')?.value ?? '';
  if (format === 'hls' || (format === '' && /\.m3u8$/.test(output.url))) {
    const flags = lastOption(output.options, 'hls_flags');
    if (flags === undefined) insert(output.at, '-hls_flags', 'append_list');
    else if (!/append_list/.test(flags.value ?? '')) replaced.set(flags.at + 1, `${flags.value}+append_list`);
    return;
  }
  if (!isPlainFile(output.url, format)) return;
  const urlAt = command.args[output.at] === '--' ? output.at + 1 : output.at;
  replaced.set(urlAt, partName(output.url, restart.part));
}

/** What a restart can't continue in place: shown to the operator before the first one. */
export function partName(url: string, part: number): string {
  const dot = url.lastIndexOf('.');
  const [stem, extension] = dot > url.lastIndexOf('/') + 1 ? [url.slice(0, dot), url.slice(dot)] : [url, ''];
  return `${stem}.part${part}${extension}`;
}

function isPlainFile(url: string, format: string): boolean {
  if (format === 'null' || format === 'tee' || url === '-' || url.startsWith('/dev/')) return false;
  return !/^[a-z][a-z0-9+.-]*:/i.test(url) || url.startsWith('file:');
}

function remaining(limit: string | undefined, done: number): string {
  return Math.max(0.001, seconds(limit) - done).toFixed(3);
}

/** Specifiers that can't mean a video stream. */
function isOtherMedia(specifier: string): boolean {
  return /^[asdt](?::|$)/.test(specifier);
}

const RATE = ['b', 'vb', 'crf', 'qp', 'q', 'qscale'];
const CODEC = ['c', 'codec', 'vcodec'];
const FILTER = ['vf', 'filter'];
const SPEED = ['cpu-used', 'speed'];
/** Options that say the same thing: one of a rung replaces all of the command's. */
const SAME: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  [RATE, CODEC, FILTER, SPEED].flatMap((group) => group.map((name) => [name, group])),
);
