import { type FfmpegOption, type StreamPosition, streamOption } from './ffmpeg-args.js';

/** Options that change what an output costs, under the encoder's own names; parameter lists win, as they do in FFmpeg. */
export function encoderOptions(
  encoder: string,
  all: readonly FfmpegOption[],
  stream: StreamPosition,
): Record<string, string> {
  const options: Record<string, string> = {};
  for (const option of all) {
    const name = OPTION_NAMES[option.name];
    if (name === undefined || option.value === undefined) continue;
    const value = streamOption([option], stream, [option.name]);
    if (value !== undefined) options[name] = value;
  }
  const params = streamOption(all, stream, PARAMETER_LISTS[encoder] ?? []) ?? '';
  for (const part of params.split(':')) {
    const [name, value] = part.split('=', 2);
    if (name !== undefined && name !== '') options[name] = value ?? '1';
  }
  for (const name of NOT_COST) delete options[name];
  return Object.fromEntries(Object.entries(options).slice(0, 64));
}

/** FFmpeg's option names, as the encoders themselves call them. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  tune: 'tune',
  profile: 'profile',
  refs: 'ref',
  subq: 'subme',
  trellis: 'trellis',
  bf: 'bframes',
  'rc-lookahead': 'rc-lookahead',
  'lag-in-frames': 'lag-in-frames',
  me_method: 'me',
  'motion-est': 'me',
  motion_est: 'me',
  me_range: 'merange',
  g: 'keyint',
  b_strategy: 'b-adapt',
  sc_threshold: 'scenecut',
  'aq-mode': 'aq-mode',
  weightp: 'weightp',
  weightb: 'weightb',
  '8x8dct': '8x8dct',
  partitions: 'partitions',
  'mixed-refs': 'mixed-refs',
  mbtree: 'mbtree',
  coder: 'coder',
  deadline: 'deadline',
  quality: 'deadline',
  usage: 'usage',
  'auto-alt-ref': 'auto-alt-ref',
  'tile-columns': 'tile-columns',
  qp: 'qp',
};

const PARAMETER_LISTS: Readonly<Record<string, readonly string[]>> = {
  libx264: ['x264-params', 'x264opts'],
  libx265: ['x265-params'],
  libsvtav1: ['svtav1-params'],
  'libaom-av1': ['aom-params'],
};

/** Thread options change where the work runs, not how much there is. */
const NOT_COST = [
  'threads',
  'pools',
  'numa-pools',
  'frame-threads',
  'lp',
  'pin',
  'ss',
  'log-level',
  'log',
  'stats',
];
