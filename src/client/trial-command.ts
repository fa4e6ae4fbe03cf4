import { type FfmpegCommand, type FfmpegOption, lastOption, parseFfmpegCommand } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import { seconds } from './signature.js';
import { withThreadOptions } from './thread-options.js';

export interface TrialRequest {
  readonly mediaSeconds: number;
  /** Where it begins, seconds after where the command itself would; the key frame before that, for files. */
  readonly fromSeconds?: number;
  readonly svtAv1Major: number;
}

/**
 * The arguments of a short trial of a channel's own command: the same decoders, filters, encoders and options on the
 * first seconds of its inputs, written to nowhere. Pace, loops, seeks in the output, and whatever else writes a file
 * are left out. One thread each, whatever will be reserved: at admission that is not known yet, and a trial is only
 * comparable with another one if both were run alike.
 */
export function trialArgs(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  { mediaSeconds, svtAv1Major, fromSeconds = 0 }: TrialRequest,
): string[] {
  const { args } = withThreadOptions(command, planned, { cpuCount: 1, svtAv1Major });
  const { globals, inputs, outputs } = parseFfmpegCommand([command.program, ...args]);
  return [
    ...['-nostdin', '-y', '-hide_banner', '-benchmark', '-nostats', '-progress', 'pipe:1'],
    ...globals.filter(({ name }) => GLOBALS.has(name)).flatMap(words),
    ...inputs.flatMap(({ url, options }) => [
      ...options.filter(({ name }) => !NOT_OF_INPUTS.has(name)).flatMap(words),
      ...(fromSeconds > 0 ? seekTo(options, fromSeconds) : []),
      ...['-t', String(mediaSeconds), '-i', url],
    ]),
    ...outputs.flatMap(({ options }) => [
      ...options.filter(({ name }) => !NOT_OF_OUTPUTS.has(name) && !WRITES.test(name)).flatMap(words),
      ...NOWHERE,
    ]),
  ];
}

/**
 * A container that takes every codec, written to nothing. FFmpeg's null muxer would not do: with it `-r` neither drops nor
 * repeats frames (5.1), and the encoder would be given another number of them than in the channel.
 */
export const NOWHERE: readonly string[] = ['-f', 'matroska', '/dev/null'];

/** To a key frame: frames that are decoded only to be dropped are no part of the channel's work. The last -ss wins. */
function seekTo(options: readonly FfmpegOption[], fromSeconds: number): string[] {
  const own = seconds(lastOption(options, 'ss')?.value);
  return ['-noaccurate_seek', '-ss', String(own + fromSeconds)];
}

/** Why a command cannot be tried without writing a file of its own; undefined when it can. */
export function whyNotTried(command: FfmpegCommand): string | undefined {
  const graphs = [...command.globals, ...command.outputs.flatMap(({ options }) => options)].filter(
    ({ name }) => /^(vf|af|filter|filter_complex|lavfi)$/.test(name),
  );
  const writing = graphs.find(({ value }) => WRITING_FILTER.test(value ?? ''));
  return writing === undefined ? undefined : `its filters write a file (${writing.value?.slice(0, 80)})`;
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
const WRITING_FILTER = /vidstabdetect|(^|[:=,;])(stats_file|file|filename|log_path|result|f)=/;
