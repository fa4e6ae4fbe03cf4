import { describe, expect, it } from 'vitest';
import { absentInputs, dropInputs, droppableInputs } from '../../src/feedback/input-dropout.js';
import { lstmLayout } from '../../src/feedback/lstm-layout.js';
import { seededRandom } from '../../src/feedback/random.js';
import { carriedOver } from '../../src/feedback/start-weights.js';
import { fixedFor, vocabularyOf } from '../../src/feedback/words.js';
import {
  encodeStatic,
  encodeStatics,
  STATIC_FEATURE_NAMES,
  staticFeatureNames,
} from '../../src/forecast/features.js';
import { type ModelCard, networkShape } from '../../src/forecast/network.js';
import { encodeWords, LONGEST_WORD, optionSetOf, wordsOf } from '../../src/forecast/vocabulary.js';
import { signatureOf } from '../support/forecast-signatures.js';

const SIGNATURE = { ...signatureOf(), content: 'sports' };
const [OUTPUT] = SIGNATURE.outputs;
const SET = optionSetOf(OUTPUT!);

describe('an option set', () => {
  it('is named by what the encoder ends up with, whatever the order and spelling', () => {
    const one = optionSetOf({ ...OUTPUT!, options: { refs: '2', subq: '6' } });
    const other = optionSetOf({ ...OUTPUT!, options: { 'x264-params': 'subme=6:ref=2' } });
    expect(one).toBe(other);
    expect(one).not.toBe(SET);
  });

  it('keeps its name short and its own', () => {
    const long = (last: string) =>
      optionSetOf({
        ...OUTPUT!,
        options: { 'x264-params': `${'a=1:'.repeat(60)}b=${'x'.repeat(200)}${last}` },
      });
    expect(long('1').length).toBeLessThanOrEqual(LONGEST_WORD);
    expect(long('1')).not.toBe(long('2'));
  });
});

describe('words', () => {
  it('of a ladder are told by their share of the pixels', () => {
    const half = { ...OUTPUT!, preset: 'ultrafast' };
    const words = wordsOf({ ...SIGNATURE, outputs: [OUTPUT!, half, half] });
    const vocabulary = { optionSets: [SET, optionSetOf(half), 'never seen'], contents: ['news', 'sports'] };
    const [first, second, ...rest] = encodeWords(words, vocabulary);
    expect(first).toBeCloseTo(1 / 3);
    expect(second).toBeCloseTo(2 / 3);
    expect(rest).toEqual([0, 0, 1]);
  });

  it('enter the vocabulary when five sources use them, those of most sources first', () => {
    const rows = (word: string, sources: number) =>
      Array.from({ length: sources }, (_, i) => ({
        source: `s${i}`,
        words: wordsOf({ ...SIGNATURE, content: word }),
      }));
    const vocabulary = vocabularyOf([
      ...rows('news', 5),
      ...rows('rare', 4),
      ...rows('sports', 7),
      ...rows('', 9),
    ]);
    expect(vocabulary).toEqual({ optionSets: [SET], contents: ['sports', 'news'] });
  });

  it('stand behind the other features, and leave them as they are', () => {
    const vocabulary = { optionSets: [SET], contents: ['sports'] };
    const [row] = encodeStatics(SIGNATURE, [2], 4, { vocabulary });
    expect(row!.length).toBe(staticFeatureNames(vocabulary).length);
    expect([...row!.subarray(0, STATIC_FEATURE_NAMES.length)]).toEqual([...encodeStatic(SIGNATURE, 2, 4)]);
    const bare = { fixed: row!, words: wordsOf(SIGNATURE) };
    expect([...fixedFor(bare, { optionSets: [], contents: ['news', 'sports'] }).slice(-2)]).toEqual([0, 1]);
  });
});

describe('a trial', () => {
  it('on a host twice as slow says the same of the channel', () => {
    const trial = (seconds: number, speedFactor: number) => [
      ...encodeStatics(withTrial(seconds), [1], 4, { speedFactor })[0]!,
    ];
    expect(trial(0.02, 2)).toEqual(trial(0.01, 1));
    expect(trial(0.02, 1)).not.toEqual(trial(0.01, 1));
  });
});

describe('an input that is taken away', () => {
  it('looks as if it had never been measured', () => {
    const { length } = STATIC_FEATURE_NAMES;
    const scaling = { mean: new Array(length).fill(0.5), scale: new Array(length).fill(2) };
    const absent = absentInputs(scaling);
    const normalised = (signature: typeof SIGNATURE) =>
      encodeStatic(signature, 1, 4).map((x, i) =>
        Math.min(10, Math.max(-10, (x - scaling.mean[i]!) / scaling.scale[i]!)),
      );
    const groups = droppableInputs({ optionSets: [], contents: [] }).map((group) => ({ ...group, share: 1 }));
    const full = normalised({
      ...SIGNATURE,
      complexity: {
        bitsPerPixel: 0.1,
        packetSizeVariation: 1,
        keyframeRatio: 5,
        spatial: 40,
        temporal: 9,
      },
    });
    dropInputs(full, 0, groups, absent, seededRandom(1));
    expect([...full]).toEqual([...normalised({ ...SIGNATURE, complexity: {} })]);
  });

  it('is taken from about the share of rows that is asked for', () => {
    const random = seededRandom(3);
    let taken = 0;
    for (let i = 0; i < 2_000; i++) {
      const row = Float32Array.of(1);
      dropInputs(row, 0, [{ columns: [0], share: 0.3 }], Float32Array.of(0), random);
      taken += Number(row[0] === 0);
    }
    expect(taken / 2_000).toBeGreaterThan(0.26);
    expect(taken / 2_000).toBeLessThan(0.34);
  });
});

describe('a warm start', () => {
  it('with another vocabulary keeps what is known of each word, by its name', () => {
    const before = { optionSets: ['a', 'b'], contents: [] };
    const after = { optionSets: ['b', 'c'], contents: ['news'] };
    const names = staticFeatureNames(before);
    const shape = networkShape(names.length);
    const layout = lstmLayout(shape);
    const weights = Float32Array.from({ length: layout.size }, (_, i) => Math.sin(i));
    const ones = (length: number, x: number) => new Array<number>(length).fill(x);
    const card = {
      shape,
      staticFeatureNames: names,
      ...{ staticMean: ones(names.length, 0), staticScale: ones(names.length, 1) },
      ...{ sequenceMean: ones(shape.sequenceFeatures, 0), sequenceScale: ones(shape.sequenceFeatures, 1) },
    } as unknown as ModelCard;
    const now = staticFeatureNames(after);
    const scaling = (length: number) => ({ mean: ones(length, 0), scale: ones(length, 1), constant: [] });
    const moved = carriedOver(weights, card, now, {
      sequence: scaling(shape.sequenceFeatures),
      fixed: scaling(now.length),
    });
    const to = lstmLayout(networkShape(now.length));
    const column = (of: Float32Array, { embed1 }: typeof to, at: number) => [
      ...of.subarray(embed1.offset + at * embed1.rows, embed1.offset + (at + 1) * embed1.rows),
    ];
    expect(moved.length).toBe(to.size);
    expect(column(moved, to, now.indexOf('options: b'))).toEqual(
      column(weights, layout, names.indexOf('options: b')),
    );
    expect(column(moved, to, now.indexOf('options: c')).every((x) => x === 0)).toBe(true);
    expect(column(moved, to, 3)).toEqual(column(weights, layout, 3));
    expect([...moved.subarray(to.out.offset)]).toEqual([...weights.subarray(layout.out.offset)]);
  });
});

function withTrial(probeCpuSecondsPerFrame: number) {
  return { ...SIGNATURE, complexity: { probeCpuSecondsPerFrame } };
}
