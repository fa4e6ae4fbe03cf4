import { encodeCores } from '../forecast/cost-table.js';
import { encoderSpec } from '../forecast/encoders.js';
import type { VideoOutput } from '../forecast/signature.js';
import { isVpx } from './encoder-names.js';
import { type FfmpegCommand, lastOption, parseSiNumber, streamOption } from './ffmpeg-args.js';
import type { PlannedOutput } from './outputs.js';
import type { Rung } from './rungs.js';

/** A faster preset must save so much of the encoding, by the static cost table, to be a rung: each costs a restart. */
const LEAST_SAVING = 0.2;
/** Of a lower rate. */
const RATE_SHARE = 0.6;
const CRF_STEP = 6;
const MOST_RUNGS = 8;

/**
 * The ladder of `--degrade auto`, from full quality down: faster presets, each a rung that saves a fifth of the encoding;
 * then, with the fastest, a lower rate; then, of a command that makes several renditions, without the largest. Encoders
 * that have no presets, and copies, keep what they are. Empty when nothing of it applies.
 */
export function deriveRungs(command: FfmpegCommand, planned: readonly PlannedOutput[]): Rung[] {
  const encoded = planned.filter(({ video }) => video.encoder !== 'copy');
  const rungs: Rung[] = [];
  let steps = new Map<number, Step>();
  for (;;) {
    const next = fasterStep(command, encoded, steps);
    if (next === undefined || rungs.length >= MOST_RUNGS - 2) break;
    steps = next;
    rungs.push(rungOf(steps, []));
  }
  const lower = withLowerRates(command, encoded, steps);
  if (lower !== undefined) rungs.push(rungOf(lower, []));
  const largest = largestOutput(command, planned);
  if (largest !== undefined) rungs.push(rungOf(lower ?? steps, [largest]));
  return rungs;
}

/** What one output file is encoded with at a rung. */
interface Step {
  readonly preset?: string;
  readonly words: readonly string[];
}

function rungOf(steps: ReadonlyMap<number, Step>, dropped: readonly number[]): Rung {
  const options = new Map([...steps].map(([output, { words }]) => [output, words]));
  const shared = new Set([...options.values()].map((words) => words.join(' ')));
  const text = [...shared, ...dropped.map((output) => `without output ${output}`)].join(', ');
  return { text, options, dropped };
}

/** Each output one worthwhile preset faster; undefined when none has one. */
function fasterStep(
  command: FfmpegCommand,
  encoded: readonly PlannedOutput[],
  before: ReadonlyMap<number, Step>,
): Map<number, Step> | undefined {
  const after = new Map(before);
  let found = false;
  for (const [output, streams] of byOutput(command, encoded)) {
    // The streams of one file share its options here; the dearest decides.
    const { video } = streams.reduce((a, b) => (encodeCores(b.video) > encodeCores(a.video) ? b : a));
    const preset = fasterPreset(video, before.get(output)?.preset);
    if (preset === undefined) continue;
    found = true;
    after.set(output, { preset, words: [isVpx(video.encoder) ? '-cpu-used' : '-preset', preset] });
  }
  return found ? after : undefined;
}

function fasterPreset(video: VideoOutput, from: string | undefined): string | undefined {
  const spec = encoderSpec(video.encoder);
  if (spec === undefined) return undefined;
  const numbered = isVpx(video.encoder);
  // -cpu-used takes numbers only; SVT-AV1 calls its fastest preset one for debugging.
  const presets = spec.presets.filter((preset) =>
    numbered ? /^\d+$/.test(preset) : !(spec.family === 'svtav1' && preset === '13'),
  );
  const now = from ?? (presets.includes(video.preset) ? video.preset : numbered ? '1' : spec.defaultPreset);
  const cost = (preset: string) => encodeCores({ ...video, preset });
  // Fastest first: the nearest that is cheap enough.
  return presets
    .slice(0, Math.max(0, presets.indexOf(now)))
    .findLast((preset) => cost(preset) <= cost(now) * (1 - LEAST_SAVING));
}

function withLowerRates(
  command: FfmpegCommand,
  encoded: readonly PlannedOutput[],
  steps: ReadonlyMap<number, Step>,
): Map<number, Step> | undefined {
  const after = new Map(steps);
  let found = false;
  for (const [output, [first]] of byOutput(command, encoded)) {
    // Several streams in one file have rates of their own; one word for all of them would make them alike.
    if (first === undefined || first.streamsInFile > 1) continue;
    const words = lowerRate(first);
    if (words.length === 0) continue;
    found = true;
    after.set(output, { words: [...(steps.get(output)?.words ?? []), ...words] });
  }
  return found ? after : undefined;
}

function lowerRate({ file, stream, video }: PlannedOutput): string[] {
  const spec = encoderSpec(video.encoder);
  if ('crf' in video.rate) {
    if (lastOption(file.options, 'crf') === undefined && spec?.family !== 'x264' && spec?.family !== 'x265')
      return [];
    return ['-crf', String(Math.min(spec?.maxCrf ?? 51, video.rate.crf + CRF_STEP))];
  }
  // The decoder's buffer and the peak go with the mean.
  return ['b', 'maxrate', 'bufsize'].flatMap((name) => {
    const names = name === 'b' ? ['b', 'vb'] : [name];
    const bps = parseSiNumber(streamOption(file.options, stream, names));
    return bps === undefined ? [] : [`-${name}:v`, `${Math.round((bps * RATE_SHARE) / 1000)}k`];
  });
}

/** The number of the output file with the most pixels, where there are others with fewer. */
function largestOutput(command: FfmpegCommand, planned: readonly PlannedOutput[]): number | undefined {
  const files = [...byOutput(command, planned)].map(([output, streams]) => ({
    output,
    pixels: Math.max(...streams.map(({ video }) => video.width * video.height)),
  }));
  const [first, second] = files.sort((a, b) => b.pixels - a.pixels);
  return first !== undefined && second !== undefined && first.pixels > second.pixels
    ? first.output
    : undefined;
}

function byOutput(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
): ReadonlyMap<number, PlannedOutput[]> {
  const groups = new Map<number, PlannedOutput[]>();
  for (const one of planned) {
    const output = command.outputs.indexOf(one.file);
    groups.set(output, [...(groups.get(output) ?? []), one]);
  }
  return groups;
}
