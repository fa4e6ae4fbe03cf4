import {
  type FfmpegCommand,
  type FfmpegFile,
  type FfmpegOption,
  lastOption,
  parseFfmpegCommand,
} from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { seconds } from './signature.js';
import { withThreadOptions } from './thread-options.js';

/** A part of an input. */
export interface Sample {
  /** Seconds after where the command itself would begin; above 0 the key frame before that. */
  readonly fromSeconds: number;
  readonly mediaSeconds: number;
}

/**
 * The arguments of a short trial of a channel's own command: the same decoders, filters, encoders and options on a part
 * of its inputs, written to nowhere. Pace, loops, seeks in the output, and whatever else writes a file are left out. One
 * thread each, whatever will be reserved: at admission that is not known yet, and a trial is only comparable with
 * another one if both were run alike.
 */
export function trialArgs(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  sample: Sample,
  svtAv1Major: number,
): string[] {
  const { args } = withThreadOptions(command, planned, { cpuCount: 1, svtAv1Major });
  const { globals, inputs, outputs } = parseFfmpegCommand([command.program, ...args]);
  return [
    ...['-nostdin', '-y', '-hide_banner', '-benchmark', '-nostats', '-progress', 'pipe:1'],
    ...globals.filter(({ name }) => GLOBALS.has(name)).flatMap(words),
    ...inputs.flatMap((input) => inputWords(input, sample)),
    ...outputs.flatMap(({ options }) => [
      ...options.filter(({ name }) => !NOT_OF_OUTPUTS.has(name) && !WRITES.test(name)).flatMap(words),
      ...NOWHERE,
    ]),
  ];
}

/** An input as the command opens it, but only a part of it and as fast as it will go. */
export function inputWords({ url, options }: FfmpegFile, { fromSeconds, mediaSeconds }: Sample): string[] {
  const own = seconds(lastOption(options, 'ss')?.value);
  // To a key frame: frames that are decoded only to be dropped are no part of the channel's work. They come before the
  // place that was asked for; without the offset their times would be negative, and FFmpeg would drop them even so.
  const offset = seconds(lastOption(options, 'itsoffset')?.value) + MOST_KEY_FRAME_DISTANCE_S;
  const seek =
    fromSeconds > 0
      ? ['-noaccurate_seek', '-itsoffset', String(offset), '-ss', String(own + fromSeconds)]
      : [];
  return [
    ...options.filter(({ name }) => !NOT_OF_INPUTS.has(name)).flatMap(words),
    ...seek,
    ...['-t', String(mediaSeconds), '-i', url],
  ];
}

const MOST_KEY_FRAME_DISTANCE_S = 60;

/**
 * A container that takes every codec, written to nothing. FFmpeg's null muxer would not do: with it `-r` neither drops nor
 * repeats frames (5.1), and the encoder would be given another number of them than in the channel.
 */
export const NOWHERE: readonly string[] = ['-f', 'matroska', '/dev/null'];

/** Why a command cannot be tried without writing a file of its own; undefined when it can. */
export function whyNotTried(command: FfmpegCommand): string | undefined {
  const options = [...command.globals, ...command.outputs.flatMap((output) => output.options)];
  const writing = options.find(({ name, value }) => FILTERS.test(name) && WRITING_FILTER.test(value ?? ''));
  if (writing === undefined) return undefined;
  return `-${writing.name} ${writing.value?.slice(0, 80)} may write a file`;
}

function words({ name, specifier, value }: FfmpegOption): string[] {
  return [`-${name}${specifier === '' ? '' : `:${specifier}`}`, ...(value === undefined ? [] : [value])];
}

/** Global options that change what is computed. */
const GLOBALS = new Set(
  (
    'filter_complex lavfi filter_complex_script filter_threads filter_complex_threads ignore_unknown copy_unknown ' +
    'vsync async copyts start_at_zero copytb auto_conversion_filters noauto_conversion_filters init_hw_device ' +
    'filter_hw_device cpuflags vaapi_device qsv_device'
  ).split(' '),
);
const NOT_OF_INPUTS = new Set(
  're readrate readrate_initial_burst stream_loop t to dump_attachment'.split(' '),
);
const NOT_OF_OUTPUTS = new Set('f ss t to fs pass passlogfile'.split(' '));
const WRITES = /^(vstats|enc_stats|mux_stats|sdp_file)/;
const FILTERS = /^(vf|af|filter|filter_complex|filter_complex_script|filter_script|lavfi)$/;
const WRITING_FILTER = /vidstabdetect|(^|[:=,;])(stats_file|file|filename|log_path|result|f)=/;
