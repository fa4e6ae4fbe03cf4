import { expect, it } from 'vitest';
import { newWatch, see, seeAnew } from '../../src/adjuster/watch.js';
import type { Reservation } from '../../src/reservation/reservation.js';

const reservation = { cpus: [{ cpu: 0, shareMilli: 300 }] } as unknown as Reservation;
const TICK_MS = 250;

it('a channel is not seen while its FFmpeg loads, nor as long as the mean of its use knows of that', () => {
  const watch = newWatch(reservation, 10_000);
  const run = (fromMs: number, toMs: number, milli: number) => {
    for (let now = fromMs; now < toMs; now += TICK_MS) see(watch, milli, now);
  };
  run(10_000, 16_500, 2_000);
  expect(watch.seen.seconds).toBe(0);
  run(16_500, 16_750, 100);
  // The mean of five seconds counts as so many.
  expect(watch.seen).toMatchObject({ meanMilli: 100, seconds: 5 });
  run(16_750, 21_750, 200);
  expect(watch.seen.meanMilli).toBeCloseTo(150, 0);
  expect(watch.seen.seconds).toBeCloseTo(10, 6);
  seeAnew(watch, 21_750);
  run(21_750, 28_250, 5_000);
  expect(watch.seen.seconds).toBe(0);
  run(28_250, 40_000, 50);
  expect(watch.seen.meanMilli).toBeCloseTo(50, 6);
});
