/**
 * The encoders that corecast knows, their presets and the options that change their cost, in the libraries' own words.
 * What an option does to the cost stands in effects.ts (settings) and models/cost-table.json (seconds).
 */
export type EncoderFamily = 'x264' | 'x265' | 'svtav1' | 'vpx' | 'aom' | 'mpeg' | 'intra' | 'copy';

export const ENCODER_FAMILIES: readonly EncoderFamily[] = [
  'x264',
  'x265',
  'svtav1',
  'vpx',
  'aom',
  'mpeg',
  'intra',
  'copy',
];

export interface EncoderSpec {
  readonly name: string;
  readonly family: EncoderFamily;
  /** What `preset` may say, fastest first; empty where the encoder has none. */
  readonly presets: readonly string[];
  readonly defaultPreset: string;
  /** Steps of the cost table's speed axis, fastest first. */
  readonly levels: readonly string[];
  /** Checks on options by canonical name; options not named here are accepted and change no forecast. */
  readonly options: Readonly<Record<string, OptionRange>>;
  /** Largest CRF (or quantiser scale) on the encoder's own scale; 0 is the least. */
  readonly maxCrf: number;
}

export type OptionRange =
  | { readonly from: number; readonly to: number }
  | { readonly words: readonly string[] };

export const X26X_PRESETS = [
  'ultrafast',
  'superfast',
  'veryfast',
  'faster',
  'fast',
  'medium',
  'slow',
  'slower',
  'veryslow',
  'placebo',
] as const;

export const X264_MOTION = ['dia', 'hex', 'umh', 'esa', 'tesa'] as const;
export const X265_MOTION = ['dia', 'hex', 'umh', 'star', 'sea', 'full'] as const;

const DEADLINES = ['realtime', 'good', 'best'] as const;
const USAGES = ['realtime', 'good', 'allintra'] as const;

const X264_TUNES = [
  'film',
  'animation',
  'grain',
  'stillimage',
  'psnr',
  'ssim',
  'fastdecode',
  'zerolatency',
  'touhou',
];
const X265_TUNES = [
  'psnr',
  'ssim',
  'grain',
  'zerolatency',
  'zero-latency',
  'fastdecode',
  'fast-decode',
  'animation',
];

const x264: Omit<EncoderSpec, 'name'> = {
  family: 'x264',
  presets: X26X_PRESETS,
  defaultPreset: 'medium',
  levels: X26X_PRESETS,
  options: {
    ref: { from: 0, to: 16 },
    subme: { from: 0, to: 11 },
    me: { words: X264_MOTION },
    trellis: { from: 0, to: 2 },
    bframes: { from: 0, to: 16 },
    'rc-lookahead': { from: 0, to: 250 },
    mbtree: { from: 0, to: 1 },
    tune: { words: X264_TUNES },
  },
  maxCrf: 63,
};

const SPECS: readonly EncoderSpec[] = [
  { name: 'libx264', ...x264 },
  { name: 'libx264rgb', ...x264 },
  {
    name: 'libx265',
    family: 'x265',
    presets: X26X_PRESETS,
    defaultPreset: 'medium',
    levels: X26X_PRESETS,
    options: {
      ref: { from: 1, to: 16 },
      subme: { from: 0, to: 7 },
      me: { words: X265_MOTION },
      rd: { from: 0, to: 6 },
      bframes: { from: 0, to: 16 },
      'rc-lookahead': { from: 0, to: 250 },
      'rdoq-level': { from: 0, to: 2 },
      rect: { from: 0, to: 1 },
      ctu: { words: ['16', '32', '64'] },
      'max-merge': { from: 1, to: 5 },
      tune: { words: X265_TUNES },
    },
    maxCrf: 51,
  },
  {
    name: 'libsvtav1',
    family: 'svtav1',
    presets: numbers(13, -1),
    defaultPreset: '10',
    levels: numbers(13, 0),
    options: {},
    maxCrf: 63,
  },
  {
    name: 'libvpx',
    family: 'vpx',
    presets: [...DEADLINES, ...numbers(16, -16)],
    defaultPreset: 'good',
    levels: speeds('realtime', 16, 1).concat(speeds('good', 5, 0)),
    options: { 'cpu-used': { from: -16, to: 16 } },
    maxCrf: 63,
  },
  {
    name: 'libvpx-vp9',
    family: 'vpx',
    presets: [...DEADLINES, ...numbers(9, -9)],
    defaultPreset: 'good',
    levels: speeds('realtime', 8, 5).concat(speeds('good', 5, 0)),
    options: { 'cpu-used': { from: -9, to: 9 } },
    maxCrf: 63,
  },
  {
    name: 'libaom-av1',
    family: 'aom',
    presets: [...USAGES, ...numbers(11, 0)],
    defaultPreset: 'good',
    levels: speeds('realtime', 8, 5).concat(speeds('good', 8, 0)),
    options: { 'cpu-used': { from: 0, to: 11 } },
    maxCrf: 63,
  },
  ...['mpeg2video', 'mpeg4', 'mpeg1video', 'libxvid', 'flv', 'h263p', 'msmpeg4', 'wmv2', 'libtheora'].map(
    (name) => plain(name, 'mpeg'),
  ),
  ...['mjpeg', 'prores_ks', 'prores', 'prores_aw', 'dnxhd', 'ffv1', 'gif', 'rawvideo', 'wrapped_avframe'].map(
    (name) => plain(name, 'intra'),
  ),
  plain('copy', 'copy'),
];

const BY_NAME: ReadonlyMap<string, EncoderSpec> = new Map(SPECS.map((spec) => [spec.name, spec]));

export const ENCODER_NAMES: readonly string[] = SPECS.map(({ name }) => name);

export function encoderSpec(name: string): EncoderSpec | undefined {
  return BY_NAME.get(name);
}

/** Encoders with one speed. */
function plain(name: string, family: EncoderFamily): EncoderSpec {
  return { name, family, presets: [], defaultPreset: '', levels: ['default'], options: {}, maxCrf: 63 };
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: from - to + 1 }, (_, i) => String(from - i));
}

function speeds(deadline: string, from: number, to: number): string[] {
  return numbers(from, to).map((n) => `${deadline}:${n}`);
}
