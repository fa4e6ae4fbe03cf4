import { expect, test } from 'vitest';
// @ts-expect-error: benchmarks are plain JavaScript
import { Stretched } from '../../bench/history/stretched.mjs';

const START = 1_760_000_400_000;
/** Three ticks a second apart with some jitter; b is missing in the second. */
const TICKS = [
  [
    ['a', 5_000, 1],
    ['b', 5_000, 10],
  ],
  [['a', 6_010, 2]],
  [
    ['a', 6_990, 3],
    ['b', 6_990, 30],
  ],
];

test('a recording is repeated to its length, jitter and gaps kept, times ascending', () => {
  const data = new Stretched(TICKS, { seconds: 7, startMs: START });
  expect([...data.of('a')]).toEqual(
    [
      [0, 1],
      [1_010, 2],
      [1_990, 3],
      [3_000, 1],
      [4_010, 2],
      [4_990, 3],
      [6_000, 1],
    ].map(([atMs, value]) => [START + atMs!, value]),
  );
  expect([...data.of('b')].map(([, value]) => value)).toEqual([10, 30, 10, 30, 10]);
  expect(data.samples).toBe(12);
});

test('copies are other hosts whose rounds begin elsewhere; ticks and series give the same samples', () => {
  const data = new Stretched(TICKS, { seconds: 6, copies: 3, startMs: START });
  expect(data.names).toEqual(['h0.a', 'h0.b', 'h1.a', 'h1.b', 'h2.a', 'h2.b']);
  const firstValues = ['h0.a', 'h1.a', 'h2.a'].map((name) => [...data.of(name)][0]?.[1]);
  expect(firstValues).toEqual([1, 2, 3]);
  const byTick = [...data.ticks()].flat();
  expect(byTick).toHaveLength(data.samples);
  for (const name of data.names)
    expect(byTick.filter(({ series }) => series === name).map(({ atMs, value }) => [atMs, value])).toEqual([
      ...data.of(name),
    ]);
});
