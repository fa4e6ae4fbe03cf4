import type { VideoOutput } from '../forecast/signature.js';
import { audioOnly, encoderOf, isVpx } from './encoder-names.js';
import { encoderOptions } from './encoder-options.js';
import {
  type FfmpegCommand,
  type FfmpegFile,
  lastOption,
  parseRate,
  parseSiNumber,
  parseSize,
  type StreamPosition,
  streamOption,
} from './ffmpeg-args.js';
import {
  applyFilters,
  type FilterChain,
  type Picture,
  parseFilterGraph,
  pictureAt,
  pixelFormatDepth,
} from './filtergraph.js';

/** One video stream that FFmpeg will write: what it is, and where in the command line it stands. */
export interface PlannedOutput {
  readonly file: FfmpegFile;
  readonly stream: StreamPosition;
  /** Number of video streams that this file gets. */
  readonly streamsInFile: number;
  readonly video: VideoOutput;
}

/** The video streams a command line will encode or copy. `pictures`: each input's picture; undefined where it has none. */
export function plannedOutputs(
  command: FfmpegCommand,
  pictures: readonly (Picture | undefined)[],
): PlannedOutput[] {
  const graph = complexGraph(command);
  const main = pictures.find((p) => p !== undefined);
  const source = (label: string) => inputPicture(label, pictures) ?? main;
  const planned: PlannedOutput[] = [];
  for (const [index, file] of command.outputs.entries()) {
    const streams = videoStreams(file, pictures, graph, index === 0);
    for (const [video, stream] of streams.entries()) {
      const position = { video, absolute: stream.absolute };
      const from = stream.label === undefined ? source(stream.input) : pictureAt(graph, stream.label, source);
      if (from === undefined) continue;
      planned.push({
        file,
        stream: position,
        streamsInFile: streams.length,
        video: videoOutput(file, position, from),
      });
    }
  }
  return planned;
}

interface StreamSource {
  /** "0:v:0" style, when it comes straight from an input. */
  readonly input: string;
  /** A label of the complex filter graph. */
  readonly label?: string;
  readonly absolute: number;
}

function videoStreams(
  file: FfmpegFile,
  pictures: readonly (Picture | undefined)[],
  graph: readonly FilterChain[],
  firstFile: boolean,
): StreamSource[] {
  if (lastOption(file.options, 'vn') !== undefined) return [];
  const maps = file.options.filter((option) => option.name === 'map');
  if (maps.length === 0) {
    if (audioOnly(file)) return [];
    // Unlabelled ends of a complex graph go to the first output file.
    const open = firstFile ? graph.filter((c) => isOpenEnd(c.to[0]) && !isAudioChain(c)) : [];
    if (open.length > 0) return open.map((chain, i) => ({ input: '', label: chain.to[0]!, absolute: i }));
    const input = largest(pictures);
    return input < 0 ? [] : [{ input: `${input}:v`, absolute: 0 }];
  }
  const streams: StreamSource[] = [];
  for (const [absolute, map] of maps.entries()) {
    const value = (map.value ?? '').replace(/\?$/, '');
    const label = /^\[(.+)\]$/.exec(value)?.[1];
    if (label !== undefined) {
      const chain = graph.find((c) => c.to.includes(label));
      if (chain === undefined || !isAudioChain(chain)) streams.push({ input: '', label, absolute });
      continue;
    }
    const input = /^(\d+)(?::(.*))?$/.exec(value);
    if (input === null || pictures[Number(input[1])] === undefined) continue;
    if (/^(?:$|[vV](?:$|:)|0$|p:)/.test(input[2] ?? '')) streams.push({ input: value, absolute });
  }
  return streams;
}

function videoOutput(file: FfmpegFile, stream: StreamPosition, from: Picture): VideoOutput {
  const get = (...names: string[]) => streamOption(file.options, stream, names);
  const encoder = encoderOf(file, stream);
  if (encoder === 'copy') {
    return { encoder, preset: '', ...from, rate: { bitrateBps: 0 }, options: {} };
  }
  const simple = get('vf', 'filter');
  let picture =
    simple === undefined ? from : parseFilterGraph(simple).reduce((p, c) => applyFilters(p, c.filters), from);
  picture = { ...picture, ...parseSize(get('s')) };
  const fps = parseRate(get('r')) ?? picture.fps;
  const bitDepth = pixelFormatDepth(get('pix_fmt')) ?? picture.bitDepth;
  const options = encoderOptions(encoder, file.options, stream);
  const preset = isVpx(encoder) ? (get('cpu-used', 'speed') ?? '') : (get('preset') ?? '');
  return {
    encoder,
    preset,
    width: picture.width,
    height: picture.height,
    fps,
    rate: rateOf(encoder, get, options),
    bitDepth: EIGHT_BIT_ENCODERS.has(encoder) ? 8 : bitDepth,
    options,
  };
}

type Get = (...names: string[]) => string | undefined;

function rateOf(encoder: string, get: Get, options: Record<string, string>): VideoOutput['rate'] {
  const crf = Number(get('crf') ?? options['crf'] ?? Number.NaN);
  if (Number.isFinite(crf) && crf >= 0) return { crf };
  const fixed = Number(get('qp', 'qscale', 'q') ?? options['qp'] ?? Number.NaN);
  if (Number.isFinite(fixed) && fixed >= 0) return { crf: Math.min(63, fixed) };
  const kilobits = Number(options['bitrate'] ?? Number.NaN);
  const bitrateBps = parseSiNumber(get('b', 'vb')) ?? (Number.isFinite(kilobits) ? kilobits * 1000 : 0);
  return bitrateBps > 0 ? { bitrateBps } : (DEFAULT_RATES[encoder] ?? { bitrateBps: 200_000 });
}

/** Chains without an output label get one, so that every stream has a name to be found by. */
function complexGraph(command: FfmpegCommand): FilterChain[] {
  return command.globals
    .filter((option) => option.name === 'filter_complex' || option.name === 'lavfi')
    .flatMap((option) => parseFilterGraph(option.value ?? ''))
    .map((chain, i) => (chain.to.length > 0 ? chain : { ...chain, to: [`${OPEN_END}${i}`] }));
}

/** No label that FFmpeg accepts begins like this. */
const OPEN_END = ' open end ';

function isOpenEnd(label: string | undefined): boolean {
  return label?.startsWith(OPEN_END) === true;
}

function isAudioChain(chain: FilterChain): boolean {
  const last = chain.filters.at(-1)?.name ?? '';
  return /^(a(?!vgblur)|amix|volume|pan$|loudnorm|dynaudnorm|highpass|lowpass|equalizer|join$|channel)/.test(
    last,
  );
}

function inputPicture(label: string, pictures: readonly (Picture | undefined)[]): Picture | undefined {
  const file = /^(\d+)(?::|$)/.exec(label)?.[1];
  return file === undefined ? undefined : pictures[Number(file)];
}

/** FFmpeg takes the video stream with the most pixels when nothing is mapped. */
function largest(pictures: readonly (Picture | undefined)[]): number {
  let best = -1;
  for (const [i, picture] of pictures.entries()) {
    if (picture === undefined) continue;
    const other = best < 0 ? undefined : pictures[best];
    if (other === undefined || picture.width * picture.height > other.width * other.height) best = i;
  }
  return best;
}

const EIGHT_BIT_ENCODERS = new Set(['mpeg2video', 'mpeg4', 'libvpx', 'mpeg1video', 'flv']);

/** What the encoders do when no rate is given (FFmpeg 5.1). */
const DEFAULT_RATES: Readonly<Record<string, VideoOutput['rate']>> = {
  libx264: { crf: 23 },
  libx265: { crf: 28 },
  libsvtav1: { crf: 35 },
  'libvpx-vp9': { crf: 32 },
  'libaom-av1': { crf: 32 },
  libvpx: { bitrateBps: 256_000 },
};
