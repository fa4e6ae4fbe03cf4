import { CorecastError } from '../lib/errors.js';

/**
 * An FFmpeg command line as FFmpeg itself splits it (fftools/cmdutils.c, split_commandline): options before an `-i URL`
 * belong to that input, options before any other bare word belong to that output, global options may stand anywhere.
 * Nearly every option takes an argument; those that take none are listed below.
 */
export interface FfmpegCommand {
  readonly program: string;
  /** Everything after the program, as given. */
  readonly args: readonly string[];
  readonly inputs: readonly FfmpegFile[];
  readonly outputs: readonly FfmpegFile[];
  /** Options of the whole program, wherever they stood, and options after the last file (FFmpeg ignores those). */
  readonly globals: readonly FfmpegOption[];
}

export interface FfmpegFile {
  readonly url: string;
  readonly options: readonly FfmpegOption[];
  /** Index in `args` of the `-i` of an input or of the URL of an output: new options of this file go in front of it. */
  readonly at: number;
}

export interface FfmpegOption {
  /** Without the dash and the stream specifier; `noFOO` stays `noFOO`. */
  readonly name: string;
  /** What follows the first colon ("v", "v:1", "a", ""). */
  readonly specifier: string;
  /** Undefined for options that take no argument. */
  readonly value: string | undefined;
  /** Index of the option's word in `args`. */
  readonly at: number;
}

/** Longest command line that is looked at; FFmpeg's own limit is the kernel's ARG_MAX. */
const MAX_ARGS = 10_000;

export function parseFfmpegCommand(words: readonly string[]): FfmpegCommand {
  const [program, ...args] = words;
  if (program === undefined) {
    throw new CorecastError(
      'INVALID_ARGUMENT',
      'no command given; write: corecast run [options] -- ffmpeg ...',
    );
  }
  if (args.length > MAX_ARGS) {
    throw new CorecastError('INVALID_ARGUMENT', `the command has ${args.length} words; at most ${MAX_ARGS}`);
  }
  const inputs: FfmpegFile[] = [];
  const outputs: FfmpegFile[] = [];
  const globals: FfmpegOption[] = [];
  let pending: FfmpegOption[] = [];
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!;
    if (word === '--' && at + 1 < args.length) {
      outputs.push({ url: args[at + 1]!, options: pending, at });
      pending = [];
      at++;
      continue;
    }
    if (!word.startsWith('-') || word === '-') {
      outputs.push({ url: word, options: pending, at });
      pending = [];
      continue;
    }
    const colon = word.indexOf(':');
    const name = colon < 0 ? word.slice(1) : word.slice(1, colon);
    const specifier = colon < 0 ? '' : word.slice(colon + 1);
    if (name === 'i') {
      const url = args[at + 1];
      if (url === undefined) {
        throw new CorecastError('INVALID_ARGUMENT', '-i stands last; it needs an input after it');
      }
      inputs.push({ url, options: pending, at });
      pending = [];
      at++;
      continue;
    }
    const option = { name, specifier, value: takesArgument(name) ? args[at + 1] : undefined, at };
    if (option.value !== undefined) at++;
    (GLOBAL_OPTIONS.has(name.replace(/^no/, '')) || GLOBAL_OPTIONS.has(name) ? globals : pending).push(
      option,
    );
  }
  globals.push(...pending);
  return { program, args, inputs, outputs, globals };
}

function takesArgument(name: string): boolean {
  return !FLAGS.has(name) && !(name.startsWith('no') && FLAGS.has(name.slice(2)));
}

/** The last of the options with one of these names: FFmpeg lets the last one win. */
export function lastOption(options: readonly FfmpegOption[], ...names: string[]): FfmpegOption | undefined {
  for (let i = options.length - 1; i >= 0; i--) if (names.includes(options[i]!.name)) return options[i];
  return undefined;
}

/** The last value of an option for one stream of an output, or undefined. `names` are tried together: the last wins. */
export function streamOption(
  options: readonly FfmpegOption[],
  stream: StreamPosition,
  names: readonly string[],
): string | undefined {
  let value: string | undefined;
  for (const option of options) {
    if (names.includes(option.name) && specifierMatches(option.specifier, stream)) value = option.value;
  }
  return value;
}

/** Where a video stream stands among the streams of its file. */
export interface StreamPosition {
  /** Among the video streams. */
  readonly video: number;
  /** Among all streams; -1 when not known. */
  readonly absolute: number;
}

/** FFmpeg's stream specifiers, as far as a video stream's number decides them: "", "v", "V", "v:1", "1". */
export function specifierMatches(specifier: string, stream: StreamPosition): boolean {
  if (specifier === '' || specifier === 'v' || specifier === 'V') return true;
  const numbered = /^[vV]:(\d+)$/.exec(specifier);
  if (numbered !== null) return Number(numbered[1]) === stream.video;
  return /^\d+$/.test(specifier) && Number(specifier) === stream.absolute;
}

/** A number with FFmpeg's SI suffixes: "800k", "1.5M", "2Mi", "1e6". Undefined when it is none. */
export function parseSiNumber(text: string | undefined): number | undefined {
  const match = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([kKMGT])?(i)?(B)?\s*$/.exec(text ?? '');
  if (match === null) return undefined;
  const power = { k: 1, K: 1, M: 2, G: 3, T: 4 }[match[2] ?? ''] ?? 0;
  return Number(match[1]) * (match[3] === 'i' ? 1024 : 1000) ** power * (match[4] === 'B' ? 8 : 1);
}

/** A frame rate: "25", "30000/1001", "ntsc". */
export function parseRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const named = NAMED_RATES[text];
  if (named !== undefined) return named;
  const match = /^\s*(\d+(?:\.\d+)?)(?:[/:](\d+(?:\.\d+)?))?\s*$/.exec(text);
  if (match === null) return undefined;
  const rate = Number(match[1]) / (match[2] === undefined ? 1 : Number(match[2]));
  return Number.isFinite(rate) && rate > 0 ? rate : undefined;
}

/** A picture size: "1280x720", "hd720". */
export function parseSize(text: string | undefined): { width: number; height: number } | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+)[xX](\d+)$/.exec(NAMED_SIZES[text] ?? text);
  return match === null ? undefined : { width: Number(match[1]), height: Number(match[2]) };
}

const NAMED_RATES: Readonly<Record<string, number>> = {
  ntsc: 30000 / 1001,
  'ntsc-film': 24000 / 1001,
  film: 24,
  pal: 25,
  qntsc: 30000 / 1001,
  qpal: 25,
  sntsc: 30000 / 1001,
  spal: 25,
};

const NAMED_SIZES: Readonly<Record<string, string>> = {
  sqcif: '128x96',
  qcif: '176x144',
  cif: '352x288',
  '4cif': '704x576',
  qqvga: '160x120',
  qvga: '320x240',
  vga: '640x480',
  svga: '800x600',
  xga: '1024x768',
  ntsc: '720x480',
  pal: '720x576',
  qntsc: '352x240',
  qpal: '352x288',
  nhd: '640x360',
  wvga: '852x480',
  hd480: '852x480',
  qhd: '960x540',
  hd720: '1280x720',
  hd1080: '1920x1080',
  '2k': '2048x1080',
  '2kflat': '1998x1080',
  '4k': '4096x2160',
  uhd2160: '3840x2160',
  uhd4320: '7680x4320',
};

/** Program options without an argument (fftools/ffmpeg_opt.c and cmdutils, 4.4 to 7.1), `noFOO` forms aside. */
const FLAGS = new Set(
  (
    'L version buildconf formats muxers demuxers devices codecs decoders encoders bsfs protocols filters pix_fmts ' +
    'layouts sample_fmts dispositions colors hwaccels report hide_banner y n ignore_unknown copy_unknown ' +
    'recast_media benchmark benchmark_all stdin dump hex copyts start_at_zero auto_conversion_filters stats ' +
    'debug_ts psnr vstats qphist re shortest bitexact copyinkf accurate_seek find_stream_info autorotate ' +
    'autoscale vn an sn dn force_fps fix_sub_duration fix_sub_duration_heartbeat display_hflip display_vflip ' +
    'isync_off xerror intra same_quant sameq deinterlace print_graphs override_ffserver h help ?'
  ).split(' '),
);

/** Options of the whole program; the rest belong to the next file. */
const GLOBAL_OPTIONS = new Set(
  (
    'loglevel v report max_alloc y n ignore_unknown copy_unknown recast_media filter_threads stats stats_period ' +
    'filter_complex lavfi filter_complex_script filter_complex_threads hide_banner progress stdin benchmark ' +
    'benchmark_all timelimit dump hex vsync async frame_drop_threshold copyts start_at_zero copytb ' +
    'dts_delta_threshold dts_error_threshold abort_on max_error_rate xerror auto_conversion_filters debug_ts ' +
    'psnr vstats vstats_file vstats_version qphist sdp_file init_hw_device filter_hw_device cpuflags cpucount ' +
    'print_graphs print_graphs_file print_graphs_format vaapi_device qsv_device'
  ).split(' '),
);
