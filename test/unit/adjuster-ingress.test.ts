import { expect, test } from 'vitest';
import { IngressChange } from '../../src/adjuster/ingress-change.js';

const steps = (...mbps: number[]) => mbps.map((rate) => ({ cores: 1, speed: 1, ingressBps: rate * 1e6 }));

test('a stream that doubles for two steps has changed, once', () => {
  const change = new IngressChange(4e6);
  expect(change.seen(steps(4, 4.5))).toBeUndefined();
  expect(change.seen(steps(4, 8))).toBeUndefined();
  expect(change.seen(steps(4, 8, 9))).toBe(8.5e6);
  expect(change.seen(steps(4, 8, 9))).toBeUndefined();
  expect(change.seen(steps(8, 9, 8))).toBeUndefined();
  expect(change.seen(steps(9, 4, 4))).toBe(4e6);
});

test('one burst, the waver of a VBR input and a stream that stands still are no change', () => {
  const change = new IngressChange(4e6);
  for (const window of [steps(9, 4), steps(6.8, 7), steps(2.5, 2.4), steps(0, 0), steps(9)])
    expect(change.seen(window)).toBeUndefined();
});

test('where the signature knows no bit rate the first steps tell it', () => {
  const change = new IngressChange(0);
  expect(change.seen(steps(0, 0))).toBeUndefined();
  expect(change.seen(steps(3, 5))).toBeUndefined();
  expect(change.seen(steps(8, 8))).toBe(8e6);
});
