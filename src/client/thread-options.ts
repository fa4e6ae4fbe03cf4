import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { encoderOf, isVpx } from './encoder-names.js';
import { type FfmpegCommand, type FfmpegOption, lastOption, streamOption } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';

/**
 * Encoders size themselves by the affinity mask, by all online CPUs, or not at all, each in its own way; so every one is
 * told how many CPUs are reserved. An option that the user gave is never overruled, and nothing else is touched.
 */
export interface ThreadOptions {
  /** The command's arguments with the additions in place. */
  readonly args: readonly string[];
  /** The additions as they were made, for the operator: "-threads 2 (input 0)". */
  readonly added: readonly string[];
}

export interface ThreadOptionsRequest {
  readonly cpuCount: number;
  /** Major version of the SVT-AV1 library: `lp` counts processors up to 2, and is a level from 3. */
  readonly svtAv1Major: number;
}

export function withThreadOptions(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  request: ThreadOptionsRequest,
): ThreadOptions {
  const edits = new Edits(command.args);
  const n = String(request.cpuCount);
  for (const name of ['filter_threads', 'filter_complex_threads']) {
    if (lastOption(command.globals, name) !== undefined) continue;
    if (
      name === 'filter_complex_threads' &&
      lastOption(command.globals, 'filter_complex', 'lavfi') === undefined
    )
      continue;
    edits.insert(0, [`-${name}`, n], '');
  }
  for (const [i, input] of command.inputs.entries()) {
    if (lastOption(input.options, 'threads') === undefined)
      edits.insert(input.at, ['-threads', n], ` (input ${i})`);
  }
  for (const output of planned) addEncoderOptions(edits, command, output, request);
  return edits.apply();
}

function addEncoderOptions(
  edits: Edits,
  command: FfmpegCommand,
  { file, stream, streamsInFile }: PlannedOutput,
  { cpuCount, svtAv1Major }: ThreadOptionsRequest,
): void {
  const encoder = encoderOf(file, stream);
  const where = ` (output ${command.outputs.indexOf(file)}, ${encoder})`;
  // One video stream needs no number; with several, each gets its own options.
  const specifier = streamsInFile === 1 ? 'v' : `v:${stream.video}`;
  const given = (name: string) => streamOption(file.options, stream, [name]);
  const add = (name: string, value: string) => edits.insert(file.at, [`-${name}:${specifier}`, value], where);

  if (encoder === 'libx265') {
    const params = given('x265-params') ?? '';
    const additions: string[] = [];
    if (!hasParameter(params, 'pools', 'numa-pools'))
      additions.push(`pools=${cpuCount === 1 ? 'none' : cpuCount}`);
    // FFmpeg hands -threads to x265 as its number of frame threads.
    if (!hasParameter(params, 'frame-threads', 'F') && given('threads') === undefined) {
      additions.push(`frame-threads=${x265FrameThreads(cpuCount)}`);
    }
    addParameters(edits, file.options, stream, 'x265-params', additions, add, where);
  } else if (encoder === 'libsvtav1') {
    const params = given('svtav1-params') ?? '';
    if (!hasParameter(params, 'lp')) {
      addParameters(
        edits,
        file.options,
        stream,
        'svtav1-params',
        [`lp=${svtAv1Lp(cpuCount, svtAv1Major)}`],
        add,
        where,
      );
    }
  } else if (THREADED_ENCODERS.has(encoder)) {
    if (
      given('threads') === undefined &&
      !hasParameter(given('x264-params') ?? given('x264opts') ?? '', 'threads')
    ) {
      add('threads', String(cpuCount));
    }
    if (isVpx(encoder) && encoder !== 'libvpx' && given('row-mt') === undefined) add('row-mt', '1');
  }
}

/** x265's own rule for its frame threads by the number of CPUs, which it takes from the host rather than the mask. */
export function x265FrameThreads(cpuCount: number): number {
  if (cpuCount >= 32) return 6;
  if (cpuCount >= 16) return 5;
  if (cpuCount >= 8) return 3;
  return cpuCount >= 4 ? 2 : 1;
}

/** SVT-AV1's `lp`: processors in 1.x and 2.x; from 3.0 the level that the library picks for that many processors. */
export function svtAv1Lp(cpuCount: number, major: number): number {
  if (major < 3) return cpuCount;
  const level = [1, 2, 5, 11, 23].findIndex((most) => cpuCount <= most);
  return level < 0 ? 6 : level + 1;
}

function addParameters(
  edits: Edits,
  options: readonly FfmpegOption[],
  stream: PlannedOutput['stream'],
  name: string,
  additions: readonly string[],
  add: (name: string, value: string) => void,
  where: string,
): void {
  if (additions.length === 0) return;
  const mine = options
    .filter((o) => o.name === name && streamOption([o], stream, [name]) !== undefined)
    .at(-1);
  if (mine?.value === undefined) add(name, additions.join(':'));
  else edits.append(mine.at + 1, additions, `:${name}`, where);
}

function hasParameter(params: string, ...names: string[]): boolean {
  return params.split(':').some((part) => names.includes(part.split('=')[0]!.trim()));
}

/** Insertions and appended parameters, by their place in the original arguments. */
class Edits {
  readonly #args: string[];
  readonly #inserted = new Map<number, string[]>();
  readonly #added: string[] = [];

  constructor(args: readonly string[]) {
    this.#args = [...args];
  }

  insert(at: number, words: readonly string[], where: string): void {
    this.#inserted.set(at, [...(this.#inserted.get(at) ?? []), ...words]);
    this.#added.push(words.join(' ') + where);
  }

  append(at: number, additions: readonly string[], what: string, where: string): void {
    const present = this.#args[at]!.split(':');
    const missing = additions.filter((addition) => !present.includes(addition));
    if (missing.length === 0) return;
    this.#args[at] = [...present.filter((part) => part !== ''), ...missing].join(':');
    this.#added.push(`${what.slice(1)} += ${missing.join(':')}${where}`);
  }

  apply(): ThreadOptions {
    const args = this.#args.flatMap((word, at) => [...(this.#inserted.get(at) ?? []), word]);
    return { args, added: this.#added };
  }
}

/** Encoders that take their number of threads from -threads. */
const THREADED_ENCODERS = new Set([
  'libx264',
  'libvpx',
  'libvpx-vp9',
  'libaom-av1',
  'mpeg2video',
  'mpeg4',
  'mpeg1video',
]);

/**
 * The CPUs that an encoder is to size itself for: those that it got, or, of a channel that shares many, as many as it was
 * forecast with. A thread for each CPU of a shared pool would cost it memory and CPU time.
 */
export function encoderCpus(
  reservation: Pick<Reservation__Output, 'channelClass' | 'exclusive'>,
  decision: Pick<Decision__Output, 'forecast'> | null,
  held: number,
): number {
  const forecast = decision?.forecast?.cpuCount ?? 0;
  const shares = reservation.channelClass === 'CHANNEL_CLASS_LIVE' && !reservation.exclusive;
  return shares && forecast > 0 ? Math.min(held, forecast) : held;
}
