import { expect, it } from 'vitest';
import { CpuSlots } from '../../src/client/cpu-slots.js';

const alone = (cpu: number) => [cpu];
const paired = (cpu: number) => [cpu % 2, (cpu % 2) + 2];

/** What a promise is now: its value, or 'waits'. */
async function now<T>(promise: Promise<T>): Promise<T | 'waits'> {
  return Promise.race([promise, new Promise<'waits'>((resolve) => setImmediate(() => resolve('waits')))]);
}

it('hands out different CPUs until there are none, and the next waits for one', async () => {
  const slots = new CpuSlots([4, 5, 6], alone);
  expect(await slots.take(2)).toEqual([4, 5]);
  expect(await slots.take(1)).toEqual([6]);
  const next = slots.take(1);
  expect(await now(next)).toBe('waits');
  slots.give([5]);
  expect(await now(next)).toEqual([5]);
});

it('keeps siblings apart, except for one that wants more CPUs than there are cores: it runs alone', async () => {
  const slots = new CpuSlots([0, 1, 2, 3], paired);
  expect(await slots.take(1)).toEqual([0]);
  expect(await slots.take(1)).toEqual([1]);
  const large = slots.take(3);
  slots.give([0]);
  expect(await now(large)).toBe('waits');
  slots.give([1]);
  expect(await now(large)).toEqual([0, 1, 2]);
  const small = slots.take(1);
  expect(await now(small)).toBe('waits');
  slots.give([0, 1, 2]);
  expect(await now(small)).toEqual([0]);
});

it('gives as many as there are to one that wants more', async () => {
  expect(await new CpuSlots([0, 1], alone).take(8)).toEqual([0, 1]);
});
