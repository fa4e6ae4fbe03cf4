import { STATIC_FEATURE_NAMES } from '../forecast/features.js';
import type { Vocabulary } from '../forecast/vocabulary.js';
import type { Scaling } from './normalisation.js';
import type { Random } from './random.js';

/**
 * Inputs that a channel may come without are taken away from some rows in training, anew in each epoch, so that one
 * network serves channels of which much is known and those of which little is. What is taken away looks as if it had never
 * been measured: zero, its presence flag too.
 */
export interface InputGroup {
  /** Places among the static features. */
  readonly columns: readonly number[];
  /** Share of the rows that lose it. */
  readonly share: number;
}

/** The levels of complexity, and the words. */
export function droppableInputs(vocabulary: Vocabulary): readonly InputGroup[] {
  return [...COMPLEXITY_LEVELS, ...wordInputs(vocabulary)];
}

/** A model that leaned on its words alone would know nothing of an encoder setting that is new. */
export function wordInputs({ optionSets, contents }: Vocabulary): readonly InputGroup[] {
  const first = STATIC_FEATURE_NAMES.length;
  const groups = [
    { columns: span(first, optionSets.length), share: 0.1 },
    { columns: span(first + optionSets.length, contents.length), share: 0.3 },
  ];
  return groups.filter(({ columns }) => columns.length > 0);
}

/** Takes groups away from a normalised row at `at`. */
export function dropInputs(
  fixed: Float32Array,
  at: number,
  groups: readonly InputGroup[],
  absent: Float32Array,
  random: Random,
): void {
  for (const { columns, share } of groups) {
    if (random() >= share) continue;
    for (const column of columns) fixed[at + column] = absent[column]!;
  }
}

/** Zeros, as the network sees them. */
export function absentInputs({ mean, scale }: Pick<Scaling, 'mean' | 'scale'>): Float32Array {
  return Float32Array.from(mean, (m, i) => Math.min(10, Math.max(-10, -m / scale[i]!)));
}

/** Packets are read of nearly every channel, SI/TI only on request. Trials are withheld in rows.ts. */
const COMPLEXITY_LEVELS: readonly InputGroup[] = [
  {
    columns: columnsOf(['bitsPerPixelLog', 'packetSizeVariationLog', 'keyframeRatioLog']),
    share: 0.1,
  },
  { columns: columnsOf(['spatialLog', 'temporalLog']), share: 0.5 },
];

/** Each with the presence flag that follows it. */
function columnsOf(names: readonly string[]): number[] {
  return names.flatMap((name) => {
    const at = STATIC_FEATURE_NAMES.indexOf(name);
    return [at, at + 1];
  });
}

function span(first: number, length: number): number[] {
  return Array.from({ length }, (_, i) => first + i);
}
