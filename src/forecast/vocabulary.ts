import { createHash } from 'node:crypto';
import { canonicalOptions, effectsOf } from './effects.js';
import type { Signature, VideoOutput } from './signature.js';

/**
 * Words that a model has met often enough to have an opinion of their own about: encoder settings that recur (a farm runs
 * a few dozen, however many are possible) and the operator's words for a channel's content. Each is one input of the
 * network beside the features by effect; what is not in the vocabulary is told by its effects alone, as it was before the
 * word became known.
 */
export interface Vocabulary {
  /** As `optionSetOf` names them. */
  readonly optionSets: readonly string[];
  readonly contents: readonly string[];
}

export const NO_WORDS: Vocabulary = { optionSets: [], contents: [] };
export const MOST_OPTION_SETS = 256;
export const MOST_CONTENTS = 32;
export const LONGEST_WORD = 100;

/** What a signature says in words. */
export interface Words {
  /** Option sets of the outputs, each with its share of the output pixel rate. */
  readonly optionSets: ReadonlyMap<string, number>;
  /** Empty when the operator gave none. */
  readonly content: string;
}

export function wordsOf({ outputs, content }: Signature): Words {
  const optionSets = new Map<string, number>();
  const rates = outputs.map(({ width, height, fps }) => width * height * fps);
  const total = rates.reduce((a, b) => a + b, 0);
  outputs.forEach((output, i) => {
    const name = optionSetOf(output);
    optionSets.set(name, (optionSets.get(name) ?? 0) + rates[i]! / total);
  });
  return { optionSets, content: content ?? '' };
}

/** Encoder, step on its speed axis, and every option given, by the encoder's own names: "libx264 veryfast ref=2". */
export function optionSetOf(output: VideoOutput): string {
  const options = Object.entries(canonicalOptions(output.encoder, output.options))
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  const name = [output.encoder, effectsOf(output).level, ...options].join(' ');
  if (name.length <= LONGEST_WORD) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `${name.slice(0, LONGEST_WORD - 13)} ${digest}`;
}

/** One input a word: its share of the output pixels, or whether it is the channel's content. */
export function encodeWords({ optionSets, content }: Words, vocabulary: Vocabulary): number[] {
  return [
    ...vocabulary.optionSets.map((name) => optionSets.get(name) ?? 0),
    ...vocabulary.contents.map((word) => Number(word === content)),
  ];
}

/** The names of those inputs on a model's card. */
export function wordFeatureNames({ optionSets, contents }: Vocabulary): string[] {
  return [...optionSets.map((name) => `options: ${name}`), ...contents.map((word) => `content: ${word}`)];
}
