import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Ticker } from '../../src/monitor/ticker.js';

const START = 1_000_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  vi.setSystemTime(START);
});
afterEach(() => {
  vi.useRealTimers();
});

const clock = { nowMs: () => Date.now(), monotonicMs: () => Date.now() };

test('ticks fall on start + n * interval, however long each takes', () => {
  const at: number[] = [];
  const ticker = new Ticker(1000, clock, () => {
    at.push(Date.now() - START);
    vi.setSystemTime(Date.now() + 137); // the tick's own work
  });
  ticker.start();
  vi.advanceTimersByTime(5_000);
  expect(at.slice(0, 4)).toEqual([1000, 2000, 3000, 4000]);
  expect(ticker.missed).toBe(0);
  ticker.stop();
});

test('ticks that fall due while one is late are counted, not made up for, and the beat stays', () => {
  const at: number[] = [];
  const ticker = new Ticker(1000, clock, () => {
    at.push(Date.now() - START);
    if (at.length === 2) vi.setSystemTime(Date.now() + 3_500); // the process was stopped for a while
  });
  ticker.start();
  for (let i = 0; i < 10; i++) vi.advanceTimersByTime(1_000);
  // The tick of 3000 comes late, at once; those of 4000 and 5000 do not come.
  expect(at.slice(0, 2)).toEqual([1000, 2000]);
  expect(at[2]).toBeGreaterThanOrEqual(5500);
  expect(at[2]).toBeLessThan(5510);
  expect(at.slice(3, 5)).toEqual([6000, 7000]);
  expect(ticker.missed).toBe(2);
  expect(ticker.ticks).toBe(at.length);
  ticker.stop();
});

test('a timer that fires early does not tick early', () => {
  let early = 0;
  const at: number[] = [];
  const ticker = new Ticker(1000, { nowMs: clock.nowMs, monotonicMs: () => Date.now() - early }, () =>
    at.push(Date.now() - early - START),
  );
  ticker.start();
  early = 0.6;
  vi.advanceTimersByTime(3_000);
  expect(at.every((ms) => ms >= 1000)).toBe(true);
  expect(at.length).toBeGreaterThanOrEqual(2);
  ticker.stop();
});

test('after stop nothing ticks, also when it is the tick that stops', () => {
  let ticks = 0;
  const ticker = new Ticker(100, clock, () => {
    if (++ticks === 3) ticker.stop();
  });
  ticker.start();
  vi.advanceTimersByTime(5_000);
  expect(ticks).toBe(3);
});

test('a change of the interval goes on from the last tick: none is lost, doubled or counted as missed', () => {
  const at: number[] = [];
  const ticker = new Ticker(1000, clock, () => {
    at.push(Date.now() - START);
    if (at.length === 2) ticker.setInterval(250); // from within a tick
  });
  ticker.start();
  vi.advanceTimersByTime(2_900);
  expect(at).toEqual([1000, 2000, 2250, 2500, 2750]);
  ticker.setInterval(1000);
  vi.advanceTimersByTime(2_000);
  expect(at.slice(5)).toEqual([3750, 4750]);
  // 600 ms after a tick: of the beats of 250 ms the two that are past come as one, at once.
  vi.advanceTimersByTime(450);
  ticker.setInterval(250);
  vi.advanceTimersByTime(600);
  expect(at[7]).toBeGreaterThanOrEqual(5350);
  expect(at[7]).toBeLessThan(5360);
  expect(at.slice(8)).toEqual([5500, 5750]);
  expect(ticker.missed).toBe(0);
  expect(ticker.ticks).toBe(at.length);
  ticker.stop();
  ticker.setInterval(100);
  vi.advanceTimersByTime(1_000);
  expect(ticker.ticks).toBe(at.length);
});
