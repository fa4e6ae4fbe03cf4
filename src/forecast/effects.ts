import { type EncoderSpec, encoderSpec, X26X_PRESETS, X264_MOTION, X265_MOTION } from './encoders.js';
import type { VideoOutput } from './signature.js';

/**
 * What an output's preset, tune and options come to, by effect. A preset word means nothing to a forecast of another
 * encoder, and `-preset slow -x264-params ref=1` is no longer "slow": the settings that the encoder ends up with are
 * what costs. Preset tables: x264 common/base.c (param_apply_preset), x265 source/common/param.cpp and
 * doc/reST/presets.rst.
 */
export interface Effects {
  /** Step on the encoder's speed axis (EncoderSpec.levels). */
  readonly level: string;
  /** Settings that tune and options name, by the encoder's own names. */
  readonly explicit: Settings;
  /** All settings: the preset's, then `explicit`. Empty for encoders whose presets are only a number. */
  readonly settings: Settings;
}

export type Settings = Readonly<Record<string, number | string>>;

export function effectsOf(output: VideoOutput): Effects {
  const spec = encoderSpec(output.encoder);
  if (spec === undefined) return { level: 'default', explicit: {}, settings: {} };
  const options = canonicalOptions(output.encoder, output.options);
  const level = levelOf(spec, output.preset, options);
  const ofPreset = presetSettings(spec, level);
  if (ofPreset === undefined) return { level, explicit: {}, settings: {} };
  const explicit: Record<string, number | string> = { ...tuneSettings(options['tune'] ?? '') };
  for (const [name, value] of Object.entries(options)) {
    if (!(name in ofPreset)) continue;
    const number = Number(value);
    explicit[name] = typeof ofPreset[name] === 'string' || !Number.isFinite(number) ? value : number;
  }
  return { level, explicit, settings: { ...ofPreset, ...explicit } };
}

/** The settings of one preset word, or undefined for encoders whose presets are only a number. */
export function presetSettings(spec: EncoderSpec, level: string): Settings | undefined {
  if (spec.family === 'x264') return X264_SETTINGS.get(level);
  if (spec.family === 'x265') return X265_SETTINGS.get(level);
  return undefined;
}

/** FFmpeg's names and `-x264-params`-like lists turned into the library's own option names. */
export function canonicalOptions(
  encoder: string,
  options: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const family = encoderSpec(encoder)?.family;
  const result: Record<string, string> = {};
  const put = (name: string, value: string) => {
    // x264 and x265 turn a switch off by "no-NAME".
    const off = name.startsWith('no-');
    const bare = off ? name.slice(3) : name;
    const canonical = ALIASES[bare] ?? bare;
    result[canonical] = off ? '0' : canonicalValue(family, canonical, value);
  };
  const entries = Object.entries(options);
  for (const [name, value] of entries) if (!PARAMETER_LISTS.has(name)) put(name, value);
  // Parameter lists are applied last by FFmpeg's wrappers, so they win.
  for (const item of entries.flatMap(([name, value]) =>
    PARAMETER_LISTS.has(name) ? value.split(':') : [],
  )) {
    const at = item.indexOf('=');
    if (item !== '') put(at < 0 ? item : item.slice(0, at), at < 0 ? '1' : item.slice(at + 1));
  }
  return result;
}

const PARAMETER_LISTS: ReadonlySet<string> = new Set([
  'x264-params',
  'x264opts',
  'x265-params',
  'svtav1-params',
  'aom-params',
]);

const ALIASES: Readonly<Record<string, string>> = {
  refs: 'ref',
  bf: 'bframes',
  subq: 'subme',
  me_method: 'me',
  'motion-est': 'me',
  rc_lookahead: 'rc-lookahead',
  speed: 'cpu-used',
  quality: 'deadline',
  rd_level: 'rd',
};

function canonicalValue(family: string | undefined, name: string, value: string): string {
  if (name === 'me' && /^\d$/.test(value)) {
    const words: readonly string[] = family === 'x265' ? X265_MOTION : X264_MOTION;
    return words[Number(value)] ?? value;
  }
  if (name === 'deadline') return DEADLINE_NUMBERS[value] ?? value;
  if (name === 'usage') return USAGE_NUMBERS[value] ?? value;
  return value;
}

const DEADLINE_NUMBERS: Readonly<Record<string, string>> = {
  '0': 'best',
  '1': 'realtime',
  '1000000': 'good',
};
const USAGE_NUMBERS: Readonly<Record<string, string>> = { '0': 'good', '1': 'realtime', '2': 'allintra' };

function levelOf(spec: EncoderSpec, preset: string, options: Readonly<Record<string, string>>): string {
  if (spec.family === 'vpx' || spec.family === 'aom') return speedLevel(spec, preset, options);
  // SVT-AV1 takes it from svtav1-params as well; -1 asks for its default.
  const named = spec.family === 'svtav1' ? (options['preset'] ?? preset) : preset;
  return spec.levels.includes(named)
    ? named
    : spec.levels.includes(spec.defaultPreset)
      ? spec.defaultPreset
      : 'default';
}

/** libvpx and libaom: a deadline (or usage) and a cpu-used; the nearest step of their axis. */
function speedLevel(spec: EncoderSpec, preset: string, options: Readonly<Record<string, string>>): string {
  const isNumber = /^-?\d+$/.test(preset);
  const deadline = options['deadline'] ?? options['usage'] ?? (isNumber || preset === '' ? 'good' : preset);
  const named = Math.abs(Number(options['cpu-used'] ?? (isNumber ? preset : '1')));
  // libvpx' "best" is its slowest setting whatever cpu-used says.
  const cpuUsed = deadline === 'best' || !Number.isFinite(named) ? 0 : Math.round(named);
  const wanted = deadline === 'realtime' ? 'realtime' : 'good';
  let best = spec.levels.at(-1) ?? 'default';
  let distance = Number.POSITIVE_INFINITY;
  for (const level of spec.levels) {
    const [word, number] = level.split(':');
    const off = Math.abs(Number(number) - cpuUsed);
    if (word === wanted && off < distance) [best, distance] = [level, off];
  }
  return best;
}

/** What the tunes change of the settings below; comma and plus both join several. */
function tuneSettings(tune: string): Settings {
  const words = tune.split(/[,+]/);
  return words.includes('zerolatency') || words.includes('zero-latency')
    ? { bframes: 0, 'rc-lookahead': 0, mbtree: 0 }
    : {};
}

/** One column a preset, ultrafast to placebo. */
type PresetTable = Readonly<Record<string, readonly (number | string)[]>>;

const X264_TABLE: PresetTable = {
  ref: [1, 1, 1, 2, 2, 3, 5, 8, 16, 16],
  subme: [0, 1, 2, 4, 6, 7, 8, 9, 10, 11],
  me: ['dia', 'dia', 'hex', 'hex', 'hex', 'hex', 'hex', 'umh', 'umh', 'tesa'],
  trellis: [0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
  bframes: [0, 3, 3, 3, 3, 3, 3, 3, 8, 16],
  'rc-lookahead': [0, 0, 10, 20, 30, 40, 50, 60, 60, 60],
  mbtree: [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
};

const X265_TABLE: PresetTable = {
  ref: [1, 1, 2, 2, 3, 3, 4, 5, 5, 5],
  subme: [0, 1, 1, 2, 2, 2, 3, 4, 4, 5],
  me: ['dia', 'hex', 'hex', 'hex', 'hex', 'hex', 'star', 'star', 'star', 'star'],
  rd: [2, 2, 2, 2, 2, 3, 4, 6, 6, 6],
  bframes: [3, 3, 4, 4, 4, 4, 4, 8, 8, 8],
  'rc-lookahead': [5, 10, 15, 15, 15, 20, 25, 40, 40, 60],
  'rdoq-level': [0, 0, 0, 0, 0, 0, 2, 2, 2, 2],
  rect: [0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
  ctu: ['32', '32', '64', '64', '64', '64', '64', '64', '64', '64'],
  'max-merge': [2, 2, 2, 2, 2, 3, 3, 4, 5, 5],
};

const X264_SETTINGS = byPreset(X264_TABLE);
const X265_SETTINGS = byPreset(X265_TABLE);

function byPreset(table: PresetTable): ReadonlyMap<string, Settings> {
  const settingsAt = (index: number) =>
    Object.entries(table).map(([name, row]) => [name, row[index] ?? 0] as const);
  return new Map(X26X_PRESETS.map((preset, index) => [preset, Object.fromEntries(settingsAt(index))]));
}
