import { existsSync } from 'node:fs';
import { CorecastError } from '../lib/errors.js';
import { continued } from './continuity.js';
import {
  type FfmpegCommand,
  type FfmpegFile,
  type FfmpegOption,
  lastOption,
  parseFfmpegCommand,
} from './ffmpeg-args.js';
import { type FilterSwitch, parseSwitches } from './filter-switches.js';
import { seconds } from './signature.js';

/**
 * A rung of the degrade ladder is a set of output options that replace the command's own on every video output, and filters
 * that are switched (filter-switches.ts). Those FFmpeg takes while it runs; options it cannot change, so a change of them is a
 * restart:
 *  - an input that is a file is entered again where the outputs had got to (-ss); a live input or a pipe goes on where it is;
 *  - limits on length (-t, -to, -frames) are lowered by what is done already;
 *  - outputs go on as continuity.ts says.
 */
export interface Rung {
  /** As the operator sees it. */
  readonly text: string;
  /** Output options, for every video output, or by the number of the output where they differ. */
  readonly options: readonly string[] | ReadonlyMap<number, readonly string[]>;
  /** Numbers of outputs that are not made at this rung. */
  readonly dropped: readonly number[];
  readonly switches?: readonly FilterSwitch[];
}

export const FULL_QUALITY: Rung = { text: 'full quality', options: [], dropped: [] };

export interface Restart {
  /** Media seconds that the outputs hold already, over all runs so far. */
  readonly mediaSeconds: number;
  readonly frames: number;
  /** 2 for the first restart. */
  readonly part: number;
}

/** The options of one rung, checked: options with values, no inputs, no outputs. */
export function parseRung(words: readonly string[], text: string): Rung {
  const { switches, options } = parseSwitches(words, text);
  if (switches.length > 0 && options.length === 0) return { text, options: [], dropped: [], switches };
  const rung = parseOptions(options, text);
  return switches.length === 0 ? rung : { ...rung, switches };
}

function parseOptions(words: readonly string[], text: string): Rung {
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
  return { text, options: words, dropped: [] };
}

/** The command line at a rung, before thread options. */
export function atRung(command: FfmpegCommand, rung: Rung, restart?: Restart): string[] {
  const edit = new Edit(command);
  for (const [i, output] of command.outputs.entries()) {
    const dropped = rung.dropped.includes(i);
    if (dropped) dropOutput(edit, output);
    else replaceOptions(edit, output, optionsFor(rung, i));
    if (restart === undefined) continue;
    resumeLimits(edit, output, restart);
    if (!dropped) resumeOutput(edit, output, restart);
  }
  if (restart !== undefined) for (const input of command.inputs) resumeInput(edit, input, restart);
  return edit.words();
}

function optionsFor({ options }: Rung, output: number): readonly string[] {
  return options instanceof Map ? (options.get(output) ?? []) : (options as readonly string[]);
}

/** Insertions, replacements and omissions among the words of a command. */
class Edit {
  readonly command: FfmpegCommand;
  readonly #dropped = new Set<number>();
  readonly #inserted = new Map<number, string[]>();
  readonly #replaced = new Map<number, string>();

  constructor(command: FfmpegCommand) {
    this.command = command;
  }

  insert(at: number, ...words: readonly string[]): void {
    this.#inserted.set(at, [...(this.#inserted.get(at) ?? []), ...words]);
  }

  replace(at: number, word: string): void {
    this.#replaced.set(at, word);
  }

  drop(option: FfmpegOption): void {
    this.#dropped.add(option.at);
    if (option.value !== undefined) this.#dropped.add(option.at + 1);
  }

  /** Where the URL of an output stands. */
  urlAt({ at }: FfmpegFile): number {
    return this.command.args[at] === '--' ? at + 1 : at;
  }

  words(): string[] {
    const args = this.command.args.flatMap((word, at) => [
      ...(this.#inserted.get(at) ?? []),
      ...(this.#dropped.has(at) ? [] : [this.#replaced.get(at) ?? word]),
    ]);
    return [this.command.program, ...args];
  }
}

function replaceOptions(edit: Edit, output: FfmpegFile, words: readonly string[]): void {
  if (words.length === 0 || lastOption(output.options, 'vn') !== undefined) return;
  const mine = parseFfmpegCommand(['ffmpeg', ...words, 'out']).outputs[0]!.options;
  const names = new Set(mine.flatMap((option) => SAME[option.name] ?? [option.name]));
  for (const option of output.options)
    if (names.has(option.name) && !isOtherMedia(option.specifier)) edit.drop(option);
  edit.insert(output.at, ...words);
}

const STREAMS_AND_LENGTH = new Set(['map', 'an', 'vn', 'sn', 'dn', 't', 'to', 'frames', 'vframes']);

/** A filter graph must keep its ends, so the output stays, but nothing is encoded or written. */
function dropOutput(edit: Edit, output: FfmpegFile): void {
  for (const option of output.options) if (!STREAMS_AND_LENGTH.has(option.name)) edit.drop(option);
  edit.insert(output.at, '-c:v', 'wrapped_avframe', '-c:a', 'pcm_s16le', '-f', 'null');
  edit.replace(edit.urlAt(output), '-');
}

function resumeInput(edit: Edit, input: FfmpegFile, restart: Restart): void {
  if (!existsSync(input.url.replace(/^file:/, '')) || lastOption(input.options, 'f')?.value === 'lavfi')
    return;
  // Of an endless loop nobody knows the place, and seeking past its end would find nothing.
  if (Number(lastOption(input.options, 'stream_loop')?.value ?? 0) !== 0) return;
  const start = lastOption(input.options, 'ss');
  if (start !== undefined) edit.drop(start);
  edit.insert(input.at, '-ss', (seconds(start?.value) + restart.mediaSeconds).toFixed(3));
  const length = lastOption(input.options, 't');
  if (length === undefined) return;
  edit.drop(length);
  edit.insert(input.at, '-t', remaining(length.value, restart.mediaSeconds));
}

function resumeLimits(edit: Edit, output: FfmpegFile, restart: Restart): void {
  for (const option of output.options) {
    if (option.name === 't' || option.name === 'to')
      edit.replace(option.at + 1, remaining(option.value, restart.mediaSeconds));
    const countsVideo =
      (option.name === 'frames' && !isOtherMedia(option.specifier)) || option.name === 'vframes';
    if (countsVideo) edit.replace(option.at + 1, String(Math.max(1, Number(option.value) - restart.frames)));
  }
}

function resumeOutput(edit: Edit, output: FfmpegFile, restart: Restart): void {
  const { options, url } = continued(output, restart.part);
  for (const [name, value] of options) {
    const given = lastOption(output.options, name);
    if (given === undefined) edit.insert(output.at, `-${name}`, value);
    else edit.replace(given.at + 1, value);
  }
  if (url !== output.url) edit.replace(edit.urlAt(output), url);
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
