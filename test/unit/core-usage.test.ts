import { expect, test } from 'vitest';
import { coreUsage } from '../../src/feedback/core-usage.js';

test('core usage: never above 1, busiest first, and in sum what the process used', () => {
  expect(
    coreUsage(
      1,
      new Map([
        [0, 0.7],
        [1, 0.3],
      ]),
      [0, 1],
    ),
  ).toEqual([0.7, 0.3]);
  expect(coreUsage(1.6, new Map([[0, 1.6]]), [0, 1])[0]).toBe(1);
  expect(coreUsage(1.6, new Map([[0, 1.6]]), [0, 1])[1]).toBeCloseTo(0.6, 10);
  expect(coreUsage(1, new Map([[9, 1]]), [0, 1])).toEqual([0.5, 0.5]);
  const scaled = coreUsage(
    1,
    new Map([
      [0, 1],
      [1, 1],
    ]),
    [0, 1],
  );
  expect(scaled).toEqual([0.5, 0.5]);
  expect(coreUsage(5, new Map(), [0, 1, 2])).toEqual([1, 1, 1]);
  expect(coreUsage(1, new Map(), [])).toEqual([]);
});
