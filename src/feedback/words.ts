import { STATIC_FEATURE_NAMES } from '../forecast/features.js';
import {
  encodeWords,
  MOST_CONTENTS,
  MOST_OPTION_SETS,
  NO_WORDS,
  type Vocabulary,
} from '../forecast/vocabulary.js';
import type { Dataset, PartOfDataset } from './dataset.js';
import type { Row } from './rows.js';

/** A word that fewer sources use says more of those sources than of itself. */
const LEAST_SOURCES = 5;

/** The words that the training part uses often enough, those of most sources first. */
export function vocabularyOf(training: Iterable<Pick<Row, 'words' | 'source'>>): Vocabulary {
  const optionSets = new Map<string, Set<string>>();
  const contents = new Map<string, Set<string>>();
  for (const { words, source } of training) {
    for (const name of words.optionSets.keys()) usersOf(optionSets, name).add(source);
    if (words.content !== '') usersOf(contents, words.content).add(source);
  }
  return {
    optionSets: mostUsed(optionSets, MOST_OPTION_SETS),
    contents: mostUsed(contents, MOST_CONTENTS),
  };
}

/** Every row with the vocabulary's inputs after its own. */
export function withVocabulary(dataset: Dataset, vocabulary: Vocabulary): Dataset {
  const part = (of: PartOfDataset): PartOfDataset => ({
    ...of,
    rows: of.rows.map((row) => ({ ...row, fixed: fixedFor(row, vocabulary) })),
  });
  return {
    ...dataset,
    training: part(dataset.training),
    validation: part(dataset.validation),
    test: part(dataset.test),
  };
}

/** What a model of this vocabulary sees of a row, whatever vocabulary the row has now. */
export function fixedFor(
  { fixed, words }: Pick<Row, 'fixed' | 'words'>,
  vocabulary = NO_WORDS,
): Float32Array {
  return Float32Array.of(
    ...fixed.subarray(0, STATIC_FEATURE_NAMES.length),
    ...encodeWords(words, vocabulary),
  );
}

function usersOf(users: Map<string, Set<string>>, word: string): Set<string> {
  const known = users.get(word) ?? new Set();
  users.set(word, known);
  return known;
}

/** Ties in the order of the alphabet: the same rows give the same vocabulary. */
function mostUsed(users: ReadonlyMap<string, ReadonlySet<string>>, most: number): string[] {
  return [...users]
    .filter(([, sources]) => sources.size >= LEAST_SOURCES)
    .sort(([a, x], [b, y]) => y.size - x.size || (a < b ? -1 : 1))
    .slice(0, most)
    .map(([word]) => word);
}
