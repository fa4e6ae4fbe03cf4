import { expect, test } from 'vitest';
import { MediaClock } from '../../src/feedback/media-clock.js';

test('media time: interpolated between messages, carried over a new process, standing when nothing is said', () => {
  const media = new MediaClock();
  expect(media.speed(0, 5_000)).toBeUndefined();
  media.add(0, 0);
  media.add(1_000, 1);
  expect(media.speed(0, 5_000)).toBeUndefined();
  media.add(2_000, 2);
  media.add(4_000, 6);
  expect(media.speed(1_000, 4_000)).toBeCloseTo(5 / 3, 10);
  expect(media.speed(1_500, 3_000)).toBeCloseTo(2.5 / 1.5, 10);
  expect(media.speed(4_000, 5_000)).toBeCloseTo(2, 10);
  expect(media.speed(8_000, 12_000)).toBe(0);
  media.add(13_000, 1);
  media.add(14_000, 2);
  expect(media.totalS).toBe(8);
  expect(media.speed(13_000, 14_000)).toBeCloseTo(1, 10);
  media.add(14_500, Number.NaN);
  expect(media.totalS).toBe(8);
});

test('messages that arrive together, after a wait, are no burst of speed', () => {
  const clock = new MediaClock();
  for (let s = 1; s <= 10; s++) clock.add(s * 1_000, s);
  // Its wrapper had to wait for a CPU: three seconds' messages within 40 ms, of a channel at half its speed.
  for (const [ms, mediaS] of [
    [13_000, 10.5],
    [13_020, 11],
    [13_040, 11.5],
  ] as const)
    clock.add(ms, mediaS);
  expect(clock.speed(9_000, 14_000)).toBeLessThan(0.8);
});
