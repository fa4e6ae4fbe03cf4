import { sum } from '../lib/sum.js';
import { type CostBreakdown, costTableBreakdown, encodeCores, totalCores } from './cost-table.js';
import { effectsOf, type Settings } from './effects.js';
import { ENCODER_FAMILIES, type EncoderSpec, encoderSpec, X264_MOTION, X265_MOTION } from './encoders.js';
import { type ChannelState, type HostState, WINDOW_STEPS } from './forecast.js';
import { SEQUENCE_FEATURES } from './network.js';
import type { Complexity, Signature, VideoOutput } from './signature.js';
import {
  encodeWords,
  NO_WORDS,
  type Vocabulary,
  type Words,
  wordFeatureNames,
  wordsOf,
} from './vocabulary.js';

/**
 * What the network sees, as raw numbers: normalisation ((x - mean) / scale) is the model card's business. Several
 * outputs (an ABR ladder) are told as their sums, their largest one, and means weighted by pixel rate. A model's card
 * lists STATIC_FEATURE_NAMES; to change them here is to retire every model made before.
 */
export const STATIC_FEATURE_NAMES: readonly string[] = [
  // The CPUs on offer, and what the cost table's estimate means for them.
  'cpuCountLog',
  'cpuShare',
  'schedulableLog',
  'costPerCpuLog',
  'costPerHostLog',
  'costLog',
  // Where the estimate comes from.
  'decodeShare',
  'scaleShare',
  'largestOutputShare',
  // Pixels.
  'inputPixelRateLog',
  'inputPixelsLog',
  'outputPixelRateLog',
  'largestPixelsLog',
  'smallestPixelsLog',
  'outputCountLog',
  'fpsLog',
  // Encoders, by share of the output pixel rate.
  ...ENCODER_FAMILIES.map((family) => `family_${family}`),
  // What presets and options come to.
  'secondsPerMegapixelLog',
  'speed',
  'lowDelay',
  'references',
  'motionSearch',
  'subpel',
  'bframesLog',
  'lookaheadLog',
  'trellis',
  'rateDistortion',
  'macroblockTree',
  'tenBitOutput',
  // Rate control.
  'outputBitsPerPixelLog',
  'bitratePresent',
  'crf',
  'crfPresent',
  // Input.
  'inputBitsPerPixelLog',
  'inputBitratePresent',
  'inputTenBit',
  'inputInterCodec',
  // Complexity; zero while its presence flag is 0.
  'bitsPerPixelLog',
  'bitsPerPixelPresent',
  'packetSizeVariationLog',
  'packetSizeVariationPresent',
  'keyframeRatioLog',
  'keyframeRatioPresent',
  'spatialLog',
  'spatialPresent',
  'temporalLog',
  'temporalPresent',
  'probeRatioLog',
  'probePresent',
];

/** Row-major WINDOW_STEPS x SEQUENCE_FEATURES: a short window is padded with its oldest step, an empty one is zeros. */
export function encodeSequence(
  host: readonly HostState[],
  channel: readonly ChannelState[] = [],
): Float32Array {
  const width = SEQUENCE_FEATURES.length;
  const rows = new Float32Array(WINDOW_STEPS * width);
  for (let step = 0; step < WINDOW_STEPS; step++) {
    rows.set([...hostRow(stepOf(host, step)), ...channelRow(stepOf(channel, step))], step * width);
  }
  return rows;
}

/** One value per STATIC_FEATURE_NAMES. `cpuCount` is the candidate number of CPUs. */
export function encodeStatic(signature: Signature, cpuCount: number, schedulableCpus: number): Float32Array {
  return encodeStatics(signature, [cpuCount], schedulableCpus)[0]!;
}

/** Of a model: those of STATIC_FEATURE_NAMES, then its vocabulary's. */
export function staticFeatureNames(vocabulary: Vocabulary): readonly string[] {
  return [...STATIC_FEATURE_NAMES, ...wordFeatureNames(vocabulary)];
}

/** What a model needs to see of a signature beyond STATIC_FEATURE_NAMES, and how. */
export interface ModelView {
  readonly vocabulary?: Vocabulary | undefined;
  /**
   * Of this host, where the model's answer will be multiplied by it: a trial ran on this host, and has to be told as it
   * would have been on the model's.
   */
  readonly speedFactor?: number;
}

/** encodeStatic for several candidates, and with a model's words: all but the CPU counts is computed once. */
export function encodeStatics(
  signature: Signature,
  cpuCounts: readonly number[],
  schedulableCpus: number,
  { vocabulary = NO_WORDS, speedFactor = 1 }: ModelView = {},
): readonly Float32Array[] {
  const { costLog, channel, words: said } = seen(signature, speedFactor);
  const hostCpus = Math.max(1, schedulableCpus);
  const words = vocabulary === NO_WORDS ? [] : encodeWords(said, vocabulary);
  return cpuCounts.map((cpuCount) =>
    Float32Array.from([
      Math.log(cpuCount),
      cpuCount / hostCpus,
      Math.log(hostCpus),
      costLog - Math.log(cpuCount),
      costLog - Math.log(hostCpus),
      costLog,
      ...channel,
      ...words,
    ]),
  );
}

/** What is the same for every count of CPUs. */
interface Seen {
  readonly costLog: number;
  readonly channel: readonly number[];
  readonly words: Words;
}

/**
 * Channels come back with the signature that they had: after each restart, and many of one ladder and kind of source. The
 * latest so many are remembered by their text.
 */
const MOST_SEEN = 256;
const remembered = new Map<string, Seen>();

function seen(signature: Signature, speedFactor: number): Seen {
  const text = `${speedFactor} ${JSON.stringify(signature)}`;
  const known = remembered.get(text);
  if (known !== undefined) return known;
  const breakdown = costTableBreakdown(signature);
  const made = {
    costLog: Math.log(totalCores(breakdown)),
    channel: channelFeatures(signature, breakdown, speedFactor),
    words: wordsOf(signature),
  };
  if (remembered.size >= MOST_SEEN) remembered.delete(remembered.keys().next().value!);
  remembered.set(text, made);
  return made;
}

function channelFeatures(
  { input, outputs, complexity }: Signature,
  breakdown: CostBreakdown,
  speedFactor: number,
): number[] {
  const described = outputs.map(describe);
  const pixels = outputs.map(({ width, height }) => width * height);
  const inputRate = input.width * input.height * input.fps;
  const cost = totalCores(breakdown);
  const mean = weightedMeans(described);
  return [
    breakdown.decode / cost,
    breakdown.scale / cost,
    Math.max(...described.map(({ cores }) => cores)) / cost,
    Math.log(inputRate / 1e6),
    Math.log((input.width * input.height) / 1e6),
    Math.log(sum(described.map(({ rate }) => rate)) / 1e6),
    Math.log(Math.max(...pixels) / 1e6),
    Math.log(Math.min(...pixels) / 1e6),
    Math.log(outputs.length),
    Math.log(Math.max(...outputs.map(({ fps }) => fps))),
    ...ENCODER_FAMILIES.map((family) => mean(({ spec }) => Number(spec?.family === family))),
    ...EFFECT_FEATURES.map((feature) => mean(feature)),
    ...rateFeatures(described, mean),
    input.bitrateBps > 0 ? Math.log(input.bitrateBps / inputRate) : 0,
    Number(input.bitrateBps > 0),
    Number(input.bitDepth > 8),
    Number(INTER_CODECS.has(input.codec)),
    ...complexityFeatures(complexity, (cost * speedFactor) / input.fps),
  ];
}

interface Described {
  readonly output: VideoOutput;
  readonly spec: EncoderSpec | undefined;
  readonly level: string;
  readonly settings: Settings;
  /** Pixels per second. */
  readonly rate: number;
  /** The cost table's estimate. */
  readonly cores: number;
}

function describe(output: VideoOutput): Described {
  const effects = effectsOf(output);
  const { level, settings } = effects;
  const rate = output.width * output.height * output.fps;
  return {
    output,
    spec: encoderSpec(output.encoder),
    level,
    settings,
    rate,
    cores: encodeCores(output, effects),
  };
}

type Mean = (value: (output: Described) => number) => number;

function weightedMeans(outputs: readonly Described[]): Mean {
  const total = sum(outputs.map(({ rate }) => rate));
  return (value) => sum(outputs.map((output) => (output.rate / total) * value(output)));
}

/** In the order of STATIC_FEATURE_NAMES, each 0-1 or a logarithm. */
const EFFECT_FEATURES: readonly ((output: Described) => number)[] = [
  ({ cores, rate }) => Math.log(Math.max(1e-4, cores / (rate / 1e6))),
  ({ spec, level }) =>
    spec === undefined
      ? 0
      : 1 - Math.max(0, spec.levels.indexOf(level)) / Math.max(1, spec.levels.length - 1),
  ({ level, settings }) => Number(level.startsWith('realtime') || settings['bframes'] === 0),
  ({ settings }) => numeric(settings, 'ref') / 16,
  motionSearch,
  ({ settings, spec }) => numeric(settings, 'subme') / (spec?.family === 'x265' ? 7 : 11),
  ({ settings }) => Math.log1p(numeric(settings, 'bframes')),
  ({ settings }) => Math.log1p(numeric(settings, 'rc-lookahead')),
  ({ settings }) => Math.max(numeric(settings, 'trellis'), numeric(settings, 'rdoq-level')) / 2,
  ({ settings }) => numeric(settings, 'rd') / 6,
  ({ settings }) => numeric(settings, 'mbtree'),
  ({ output }) => Number(output.bitDepth > 8),
];

function rateFeatures(outputs: readonly Described[], mean: Mean): number[] {
  const bitrate = ({ output }: Described) => ('bitrateBps' in output.rate ? output.rate.bitrateBps : 0);
  const rated = outputs.filter((output) => bitrate(output) > 0);
  const bitsPerPixel = sum(rated.map(bitrate)) / Math.max(1, sum(rated.map(({ rate }) => rate)));
  return [
    rated.length > 0 ? Math.log(bitsPerPixel) : 0,
    mean((output) => Number(bitrate(output) > 0)),
    mean(({ output, spec }) => ('crf' in output.rate ? output.rate.crf / (spec?.maxCrf ?? 63) : 0)),
    mean(({ output }) => Number('crf' in output.rate)),
  ];
}

/** `costPerFrame`: the estimate for this host, CPU seconds per input frame; a trial is told as what it is to that. */
function complexityFeatures(complexity: Complexity, costPerFrame: number): number[] {
  const log = Math.log;
  const pairs: (readonly [number | undefined, (x: number) => number])[] = [
    [complexity.bitsPerPixel, (x) => log(Math.max(1e-6, x))],
    [complexity.packetSizeVariation, (x) => log(0.1 + x)],
    [complexity.keyframeRatio, (x) => log(Math.max(1e-3, x))],
    [complexity.spatial, (x) => log(1 + x)],
    [complexity.temporal, (x) => log(1 + x)],
    [complexity.probeCpuSecondsPerFrame, (x) => log(Math.max(1e-6, x) / costPerFrame)],
  ];
  return pairs.flatMap(([value, scaled]) => (value === undefined ? [0, 0] : [scaled(value), 1]));
}

function hostRow(state: HostState | undefined): number[] {
  if (state === undefined) return new Array(SEQUENCE_FEATURES.length - 4).fill(0);
  return [
    state.busy,
    state.coreSpread,
    state.busiestCore,
    state.memoryUsed,
    state.diskBusy,
    Math.log1p(state.ingressBps / 1e6),
    Math.log1p(state.queueLength),
    state.cpuPressure,
    Math.log1p(state.channels),
    state.reserved,
  ].map(finite);
}

function channelRow(state: ChannelState | undefined): number[] {
  if (state === undefined) return [0, 0, 0, 0];
  return [state.cores, Math.log1p(state.ingressBps / 1e6), state.speed, 1].map(finite);
}

/** The newest steps stand last; missing ones repeat the oldest. */
function stepOf<T>(window: readonly T[], step: number): T | undefined {
  const at = window.length - WINDOW_STEPS + step;
  return window[Math.max(0, at)];
}

/** A reading that the host could not give (NaN) counts as zero. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

function numeric(settings: Settings, name: string): number {
  const value = Number(settings[name] ?? 0);
  return Number.isFinite(value) ? value : 0;
}

function motionSearch({ spec, settings }: Described): number {
  const words: readonly string[] = spec?.family === 'x265' ? X265_MOTION : X264_MOTION;
  return Math.max(0, words.indexOf(String(settings['me'] ?? ''))) / (words.length - 1);
}

const INTER_CODECS: ReadonlySet<string> = new Set([
  'h264',
  'hevc',
  'av1',
  'vp9',
  'vp8',
  'mpeg2video',
  'mpeg4',
  'vc1',
]);
