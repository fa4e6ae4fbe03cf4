import { createRequire } from 'node:module';
import { z } from 'zod';
import { sum } from '../lib/sum.js';
import { decodeEntry } from './codecs.js';
import { type Effects, effectsOf, presetSettings, type Settings } from './effects.js';
import { ENCODER_NAMES, type EncoderSpec, encoderSpec } from './encoders.js';
import type { Signature, VideoInput, VideoOutput } from './signature.js';

/**
 * The static cost table: CPU seconds per megapixel by encoder and speed level, decoder and scaler, measured by
 * scripts/measure-cost-table.mjs on one thread of one machine (models/cost-table.json says which and when). It is the
 * last step of the fallback chain, and the unit that the network speaks in: its demand is a ratio to this estimate, so
 * a model holds for the table whose id its card names and for no other.
 *
 * An output costs
 *   level(pixels) x pixel rate x options x rate control x bit depth
 * where options is the product over single options of (measured cost at the value / at the preset's value), and rate
 * control is exp(slope x CRF steps), a halving of the bits per pixel counting as 6 steps. Doubling the pixels never
 * lowers the estimate and no preset is cheaper than a faster one with the same options (tests hold both).
 */
export interface CostBreakdown {
  /** Cores, on a host of speed factor 1. */
  readonly decode: number;
  readonly scale: number;
  readonly encode: number;
}

/** Cores on a host of speed factor 1; above 0. */
export function costTableDemand(signature: Signature): number {
  return totalCores(costTableBreakdown(signature));
}

export function totalCores({ decode, scale, encode }: CostBreakdown): number {
  return Math.max(LEAST_CORES, decode + scale + encode);
}

/** One request asks for it several times: for the features, what is expected, the class that corrects it. */
export function costTableBreakdown(signature: Signature): CostBreakdown {
  let breakdown = breakdowns.get(signature);
  if (breakdown === undefined) {
    breakdown = breakDown(signature);
    breakdowns.set(signature, breakdown);
  }
  return breakdown;
}

const breakdowns = new WeakMap<Signature, CostBreakdown>();

function breakDown(signature: Signature): CostBreakdown {
  const encoded = signature.outputs.filter((output) => output.encoder !== 'copy');
  const copied = signature.outputs.length - encoded.length;
  const { bitrateBps } = signature.input;
  return {
    decode: encoded.length === 0 ? 0 : decodeCores(signature),
    scale: sum(encoded.map((output) => scaleCores(signature.input, output))),
    encode:
      sum(encoded.map((output) => encodeCores(output))) +
      (copied * TABLE.copySecondsPerMegabit * bitrateBps) / 1e6,
  };
}

/** Cores that encoding one output takes. */
export function encodeCores(output: VideoOutput, effects: Effects = effectsOf(output)): number {
  const spec = encoderSpec(output.encoder);
  if (spec === undefined || spec.family === 'copy') return 0;
  const pixels = output.width * output.height;
  const megapixelsPerSecond = (pixels * output.fps) / 1e6;
  const { entry, steps } = AXES.get(spec.name)!;
  const size = (pixels / TABLE.referencePixels) ** entry.sizeExponent;
  const depth = output.bitDepth > 8 ? entry.depth10 : 1;
  const effort = effortSeconds(entry, steps.slice(0, levelIndex(spec, effects) + 1), effects);
  return effort * megapixelsPerSecond * size * rateFactor(entry, output) * depth;
}

/** One level of an encoder's speed axis. */
interface Step {
  readonly seconds: number;
  readonly settings: Settings;
}

function levelIndex(spec: EncoderSpec, { level }: Effects): number {
  return Math.max(0, spec.levels.indexOf(level));
}

/**
 * Seconds per megapixel of a level with its options: the most over this level and all faster ones, because the single
 * factors divide out imperfectly ("veryslow" with ref=1) and a slower preset must not come out cheaper.
 */
function effortSeconds(entry: EncoderEntry, upTo: readonly Step[], { explicit }: Effects): number {
  const names = Object.keys(explicit);
  if (names.length === 0) return upTo.at(-1)!.seconds;
  return Math.max(...upTo.map(({ seconds, settings }) => seconds * optionFactor(entry, settings, explicit)));
}

/** Seconds by level. Between measured levels: linear in the logarithm; beyond the ends: the nearest pair's slope. */
function axisOf(spec: EncoderSpec): { entry: EncoderEntry; steps: readonly Step[] } {
  const entry = TABLE.encoders[spec.name] ?? TABLE.encoders[NEAREST_ENCODER[spec.name] ?? 'rawvideo']!;
  const measured = spec.levels.flatMap((level, at) => {
    const seconds = entry.levels[level];
    return seconds === undefined ? [] : [{ at, log: Math.log(seconds) }];
  });
  const secondsAt = (index: number) => {
    if (measured.length < 2) return Math.exp(measured[0]?.log ?? Math.log(0.01));
    const next = measured.findIndex(({ at }) => at >= index);
    const right = next < 0 ? measured.length - 1 : Math.max(1, next);
    const [a, b] = [measured[right - 1]!, measured[right]!];
    return Math.exp(a.log + ((b.log - a.log) * (index - a.at)) / (b.at - a.at));
  };
  const steps = spec.levels.map((level, index) => ({
    seconds: secondsAt(index),
    settings: presetSettings(spec, level) ?? {},
  }));
  return { entry, steps };
}

function optionFactor(entry: EncoderEntry, from: Settings, to: Settings): number {
  let factor = 1;
  for (const [name, costs] of Object.entries(entry.options)) {
    const [before, after] = [from[name], to[name]];
    if (before === undefined || after === undefined || before === after) continue;
    factor *= costAt(costs, after) / costAt(costs, before);
  }
  return Math.min(10, Math.max(0.1, factor));
}

/** Words by name (the last for one that was not measured), numbers by linear interpolation. */
function costAt(costs: Readonly<Record<string, number>>, value: number | string): number {
  const exact = costs[String(value)];
  if (exact !== undefined) return exact;
  const points = Object.entries(costs).map(([key, cost]) => [Number(key), cost] as const);
  const x = Number(value);
  if (!Number.isFinite(x) || points.some(([key]) => !Number.isFinite(key))) return points.at(-1)![1];
  points.sort(([a], [b]) => a - b);
  const right = points.findIndex(([key]) => key >= x);
  if (right === 0) return points[0]![1];
  if (right < 0) return points.at(-1)![1];
  const [[x0, y0], [x1, y1]] = [points[right - 1]!, points[right]!];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}

function rateFactor(entry: EncoderEntry, output: VideoOutput): number {
  const steps =
    'crf' in output.rate
      ? (entry.crf ?? output.rate.crf) - output.rate.crf
      : 6 * Math.log2(output.rate.bitrateBps / (output.width * output.height * output.fps) / BITS_PER_PIXEL);
  return Math.exp(Math.min(0.05, entry.crfSlope) * Math.min(24, Math.max(-24, steps)));
}

function decodeCores({ input, complexity }: Signature): number {
  const entry = TABLE.decoders[decodeEntry(input.codec)] ?? RAW_DECODE;
  const megapixels = (input.width * input.height * input.fps) / 1e6;
  const bitsPerPixel = complexity.bitsPerPixel ?? entry.bitsPerPixel;
  const megabits = input.bitrateBps > 0 ? input.bitrateBps / 1e6 : bitsPerPixel * megapixels;
  return entry.perMegapixel * megapixels * (input.bitDepth > 8 ? 1.4 : 1) + entry.perMegabit * megabits;
}

/** swscale runs where sizes or depths differ. */
function scaleCores(input: VideoInput, output: VideoOutput): number {
  const same = input.width === output.width && input.height === output.height;
  if (same && input.bitDepth === output.bitDepth) return 0;
  const { perInputMegapixel, perOutputMegapixel } = TABLE.scale;
  const perFrame =
    input.width * input.height * perInputMegapixel + output.width * output.height * perOutputMegapixel;
  return (perFrame * input.fps) / 1e6;
}

/** An FFmpeg process that only copies still reads, writes and wakes. */
const LEAST_CORES = 0.001;
/** What the table's pictures took at its CRFs. */
const BITS_PER_PIXEL = 0.1;
/** Decoders that only hand the picture on. */
const RAW_DECODE = { perMegapixel: 0.0003, perMegabit: 0, bitsPerPixel: 12 };
/** Encoders that were not measured themselves. */
const NEAREST_ENCODER: Readonly<Record<string, string>> = {
  libx264rgb: 'libx264',
  prores: 'prores_ks',
  prores_aw: 'prores_ks',
  gif: 'mjpeg',
  flv: 'mpeg4',
  h263p: 'mpeg4',
  msmpeg4: 'mpeg4',
  wmv2: 'mpeg4',
  libtheora: 'libxvid',
  wrapped_avframe: 'rawvideo',
};

const seconds = z.number().positive().max(1000);
const tableSchema = z.object({
  format: z.literal(1),
  id: z.string().min(1).max(64),
  referencePixels: z.number().positive(),
  encoders: z.record(
    z.string(),
    z.object({
      levels: z.record(z.string(), seconds),
      sizeExponent: z.number().min(-0.3).max(0.2),
      crf: z.number().optional(),
      crfSlope: z.number().min(0).max(1).default(0),
      depth10: z.number().min(1).max(10).default(1.4),
      options: z.record(z.string(), z.record(z.string(), z.number().positive())).default({}),
    }),
  ),
  decoders: z.record(
    z.string(),
    z.object({
      perMegapixel: z.number().min(0),
      perMegabit: z.number().min(0),
      bitsPerPixel: z.number().min(0),
    }),
  ),
  scale: z.object({ perInputMegapixel: z.number().min(0), perOutputMegapixel: z.number().min(0) }),
  copySecondsPerMegabit: z.number().min(0),
});

type EncoderEntry = z.infer<typeof tableSchema>['encoders'][string];

/** Shipped like code and as necessary: no daemon starts without it. */
const TABLE = tableSchema.parse(createRequire(import.meta.url)('../../models/cost-table.json'));

/** Names the table that ratios refer to. */
export const COST_TABLE_ID: string = TABLE.id;

const AXES = new Map(ENCODER_NAMES.map((name) => [name, axisOf(encoderSpec(name)!)] as const));
