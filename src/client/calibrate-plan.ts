import { createHash } from 'node:crypto';
import { type ClipSpec, clipSource } from './calibrate-clips.js';

/**
 * What calibration measures: a seeded random sample of the grid encoders x presets x sizes x ladders x rates x frame
 * rates x CPU counts x pictures. A grid walked in order would have to be finished to be of use; a sample is balanced
 * whenever it is stopped, and the same seed gives the same sample, so that a stopped calibration can go on.
 */
export interface PlanEntry {
  /** Hash of everything else in here: a run of the same id measures the same thing. */
  readonly id: string;
  readonly clip: ClipSpec;
  readonly encoder: string;
  /** FFmpeg options of every output, in order, the rate aside ("-preset", "veryfast", ...). */
  readonly encoderOptions: readonly string[];
  readonly outputs: readonly PlanOutput[];
  readonly cpuCount: number;
  /** A rough guess of the demand in cores, from which the length of the run is chosen. */
  readonly roughCores: number;
}

export interface PlanOutput {
  readonly width: number;
  readonly height: number;
  /** 0 keeps the clip's. */
  readonly fps: number;
  /** FFmpeg options ("-crf", "23" or "-b:v", "800k"). */
  readonly rate: readonly string[];
}

export interface PlanRequest {
  readonly runs: number;
  readonly seed: number;
  /** Encoders that this FFmpeg has. */
  readonly encoders: readonly string[];
  readonly clips: readonly ClipSpec[];
  /** CPUs that may be used. */
  readonly cpus: number;
}

/** CPU seconds that one run may be guessed to take per CPU it has: slower settings are not worth their time. */
const MAX_RUN_S = 3;
/** A run needs this much media for lookahead and B-frames to reach their steady state. */
export const MIN_MEDIA_S = 1.2;

export function calibrationPlan(request: PlanRequest): PlanEntry[] {
  const random = seededRandom(request.seed);
  const encoders = ENCODERS.filter((encoder) => request.encoders.includes(encoder.name));
  if (encoders.length === 0 || request.clips.length === 0) return [];
  const counts = powersOfTwo(request.cpus);
  const entries = new Map<string, PlanEntry>();
  // Most draws are kept; the bound is for grids smaller than the number of runs asked for.
  for (let draw = 0; draw < request.runs * 20 && entries.size < request.runs; draw++) {
    const entry = drawEntry(random, encoders, request.clips, counts);
    if (entry !== undefined) entries.set(entry.id, entry);
  }
  return [...entries.values()];
}

function drawEntry(
  random: Random,
  encoders: readonly EncoderGrid[],
  clips: readonly ClipSpec[],
  counts: readonly number[],
): PlanEntry | undefined {
  const encoder = weighted(random, encoders);
  const preset = pick(random, Object.keys(encoder.presets));
  const clip = pick(random, clips);
  const cpuCount = pick(random, counts);
  const outputs = drawOutputs(random, encoder, clip);
  const { options, costFactor } = encoder.options(random, preset);
  const pixels = outputs.reduce((sum, o) => sum + o.width * o.height * (o.fps || clip.fps), 0);
  const roughCores =
    0.02 + (pixels / 1e6) * encoder.presets[preset]! * costFactor + clipMegapixels(clip) * DECODE_COST;
  if ((roughCores * MIN_MEDIA_S) / cpuCount > MAX_RUN_S) return undefined;
  const content = { clip, encoder: encoder.name, encoderOptions: options, outputs, cpuCount };
  return { id: entryId(content), ...content, roughCores };
}

function drawOutputs(random: Random, encoder: EncoderGrid, clip: ClipSpec): PlanOutput[] {
  const below = SIZES.filter((size) => size.height <= clip.height);
  const at = below.length > 0 ? SIZES.indexOf(below[0]!) : SIZES.length - 1;
  const rungs = random() < 0.25 ? 2 + Math.floor(random() * 3) : 1;
  const kind = random();
  // The clip's own size, a smaller one, or (rarely) one size up.
  let first: { width: number; height: number } = clip;
  if (rungs === 1 && kind < 0.45) first = pick(random, SIZES.slice(at));
  else if (rungs === 1 && kind > 0.92) first = SIZES[Math.max(0, at - 1)]!;
  const smaller = SIZES.filter((size) => size.height < first.height).slice(0, rungs - 1);
  const slower = FRAME_RATES.filter((rate) => rate < clip.fps);
  const drawn = random() < 0.2 && slower.length > 0 ? pick(random, slower) : undefined;
  // MPEG-2 has a list of frame rates of its own.
  const standard = encoder.name !== 'mpeg2video' || MPEG2_FRAME_RATES.includes(drawn ?? clip.fps);
  const fps = standard ? drawn : 25;
  return [first, ...smaller].map(({ width, height }) => ({
    width,
    height,
    fps: fps ?? 0,
    rate: encoder.rate(random, width * height * (fps ?? clip.fps)),
  }));
}

/** Counts up when the same entry comes to mean another measurement. */
const MEASURE = 5;

/** The measured word order is part of the identity: another FFmpeg line is another measurement. */
function entryId(content: Omit<PlanEntry, 'id' | 'roughCores'>): string {
  const { clip, ...rest } = content;
  const named = {
    measure: MEASURE,
    source: clipSource(clip),
    codec: clip.codec,
    size: [clip.width, clip.height],
    fps: clip.fps,
    ...(clip.fromSeconds === undefined ? {} : { from: clip.fromSeconds }),
    ...rest,
  };
  return `cal-${createHash('sha256').update(JSON.stringify(named)).digest('hex').slice(0, 16)}`;
}

export type Random = () => number;

/** mulberry32: small, seedable, good enough to choose settings. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!;
}

function weighted(random: Random, from: readonly EncoderGrid[]): EncoderGrid {
  let left = random() * from.reduce((sum, e) => sum + e.weight, 0);
  for (const encoder of from) {
    left -= encoder.weight;
    if (left <= 0) return encoder;
  }
  return from[0]!;
}

function powersOfTwo(cpus: number): number[] {
  const counts: number[] = [];
  for (let n = 1; n <= cpus; n *= 2) counts.push(n);
  if (counts.at(-1) !== cpus) counts.push(cpus);
  return counts;
}

function clipMegapixels(clip: ClipSpec): number {
  return (clip.width * clip.height * clip.fps) / 1e6;
}

export const SIZES = [
  { width: 1920, height: 1080 },
  { width: 1280, height: 720 },
  { width: 1024, height: 576 },
  { width: 854, height: 480 },
  { width: 640, height: 360 },
  { width: 426, height: 240 },
  { width: 256, height: 144 },
] as const;

const FRAME_RATES = [10, 12.5, 15, 24, 25, 30, 50];
const MPEG2_FRAME_RATES = [24, 25, 30, 50, 60];

/** CPU seconds per megapixel of decoding; only run lengths are chosen by it. */
const DECODE_COST = 0.006;

interface EncoderGrid {
  readonly name: string;
  readonly weight: number;
  /** Preset, and roughly the CPU seconds per megapixel that it costs. */
  readonly presets: Readonly<Record<string, number>>;
  options(random: Random, preset: string): { options: string[]; costFactor: number };
  rate(random: Random, pixelsPerSecond: number): string[];
}

const plain = (preset: string) => ({ options: ['-preset', preset], costFactor: 1 });

function bitrate(random: Random, pixelsPerSecond: number): string[] {
  // 0.02 to 0.25 bits a pixel, evenly on a log scale.
  const bits = pixelsPerSecond * 0.02 * (0.25 / 0.02) ** random();
  return ['-b:v', `${Math.max(40, Math.round(bits / 1000))}k`];
}

function crfOrBitrate(low: number, high: number) {
  return (random: Random, pixelsPerSecond: number): string[] =>
    random() < 0.5
      ? ['-crf', String(low + Math.floor(random() * (high - low + 1)))]
      : bitrate(random, pixelsPerSecond);
}

/** A third of the x264 runs change single options: channels in the field seldom run a bare preset. */
function x264Options(random: Random, preset: string): { options: string[]; costFactor: number } {
  const options = ['-preset', preset];
  if (random() < 0.15)
    options.push('-tune', pick(random, ['zerolatency', 'film', 'animation', 'fastdecode']));
  if (random() > 0.35) return { options, costFactor: 1 };
  let costFactor = 1;
  const params: string[] = [];
  const some = (name: string, values: readonly (string | number)[]) => {
    if (random() < 0.4) params.push(`${name}=${pick(random, values)}`);
  };
  some('ref', [1, 2, 3, 5, 8]);
  some('subme', [0, 1, 2, 4, 6, 7, 9]);
  some('trellis', [0, 1, 2]);
  some('bframes', [0, 2, 3, 8]);
  some('rc-lookahead', [0, 10, 20, 40, 60]);
  some('me', ['dia', 'hex', 'umh']);
  if (params.some((p) => /subme=[79]|ref=8|trellis=2|me=umh/.test(p))) costFactor = 2;
  if (params.length > 0) options.push('-x264-params', params.join(':'));
  if (random() < 0.3) options.push('-g', pick(random, ['25', '50', '100']));
  return { options, costFactor };
}

const ENCODERS: readonly EncoderGrid[] = [
  {
    name: 'libx264',
    weight: 50,
    presets: {
      ultrafast: 0.012,
      superfast: 0.02,
      veryfast: 0.03,
      faster: 0.045,
      fast: 0.06,
      medium: 0.08,
      slow: 0.15,
      slower: 0.35,
    },
    options: x264Options,
    rate: crfOrBitrate(17, 35),
  },
  {
    name: 'libx265',
    weight: 18,
    presets: {
      ultrafast: 0.06,
      superfast: 0.08,
      veryfast: 0.12,
      faster: 0.13,
      fast: 0.17,
      medium: 0.28,
      slow: 0.9,
    },
    options: (random, preset) => ({
      options: [...plain(preset).options, ...(random() < 0.2 ? ['-tune', 'zerolatency'] : [])],
      costFactor: 1,
    }),
    rate: crfOrBitrate(20, 36),
  },
  {
    name: 'libsvtav1',
    weight: 13,
    presets: { 5: 0.6, 6: 0.4, 7: 0.28, 8: 0.2, 9: 0.15, 10: 0.12, 11: 0.1, 12: 0.08 },
    options: (_, preset) => plain(preset),
    rate: crfOrBitrate(25, 50),
  },
  {
    name: 'libvpx-vp9',
    weight: 7,
    presets: { 4: 0.15, 5: 0.1, 6: 0.07, 7: 0.05, 8: 0.04 },
    options: (_, preset) => ({ options: ['-deadline', 'realtime', '-cpu-used', preset], costFactor: 1 }),
    rate: bitrate,
  },
  {
    name: 'libvpx',
    weight: 3,
    presets: { 4: 0.08, 8: 0.05, 12: 0.03 },
    options: (_, preset) => ({ options: ['-deadline', 'realtime', '-cpu-used', preset], costFactor: 1 }),
    rate: bitrate,
  },
  {
    name: 'mpeg2video',
    weight: 5,
    presets: { '': 0.015 },
    options: (random) => ({ options: random() < 0.5 ? ['-bf', '2'] : [], costFactor: 1 }),
    rate: bitrate,
  },
  {
    name: 'mpeg4',
    weight: 4,
    presets: { '': 0.02 },
    options: (random) => ({ options: random() < 0.5 ? ['-bf', '2'] : [], costFactor: 1 }),
    rate: bitrate,
  },
];
