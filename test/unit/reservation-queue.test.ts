import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { goesBefore, PATIENCE_MS, type Waiter, WaitingQueue } from '../../src/reservation/queue.js';

const waiter = (
  id: string,
  sinceMs: number,
  priority = 50,
  channelClass: 'live' | 'vod' = 'live',
): Waiter => ({ id, sinceMs, request: { priority, channelClass } });

function order(...waiters: Waiter[]): string[] {
  const queue = new WaitingQueue<Waiter>();
  for (const one of waiters) queue.add(one);
  return [...queue].map(({ id }) => id);
}

const waiters = fc.record({
  id: fc.uuid(),
  sinceMs: fc.integer({ min: 0, max: 3_600_000 }),
  request: fc.record({
    priority: fc.integer({ min: 0, max: 100 }),
    channelClass: fc.constantFrom('live' as const, 'vod' as const),
  }),
});

describe('the order of those who wait', () => {
  it('puts live before vod, whatever the priority and age', () => {
    expect(order(waiter('vod', 0, 100, 'vod'), waiter('live', 9_000_000, 0))).toEqual(['live', 'vod']);
  });

  it('puts the higher priority first, and of equals the older', () => {
    expect(order(waiter('a', 20), waiter('b', 10), waiter('high', 30, 60))).toEqual(['high', 'b', 'a']);
  });

  it('lets nobody starve: a point of priority is worth six seconds of waiting and no more', () => {
    expect(order(waiter('urgent', 600_000, 100), waiter('old', 1, 0))).toEqual(['urgent', 'old']);
    expect(order(waiter('urgent', 600_002, 100), waiter('old', 1, 0))).toEqual(['old', 'urgent']);
  });

  it('is a total order', () => {
    fc.assert(
      fc.property(fc.uniqueArray(waiters, { maxLength: 20, selector: ({ id }) => id }), (all) => {
        const queue = new WaitingQueue<Waiter>();
        for (const one of all) queue.add(one);
        const ordered = [...queue];
        for (let i = 0; i < ordered.length; i++) {
          for (let j = i + 1; j < ordered.length; j++) {
            expect(goesBefore(ordered[i]!, ordered[j]!)).toBe(true);
            expect(goesBefore(ordered[j]!, ordered[i]!)).toBe(false);
          }
        }
      }),
    );
  });
});

describe('the place in front of others', () => {
  it('is held only by those whose patience is over', () => {
    const queue = new WaitingQueue<Waiter>();
    queue.add(waiter('large', 0));
    const small = waiter('small', 1_000);
    queue.add(small);
    expect(queue.ahead(small, PATIENCE_MS - 1)).toBe(0);
    expect(queue.ahead(small, PATIENCE_MS)).toBe(1);
    expect(queue.ahead(waiter('new', PATIENCE_MS), PATIENCE_MS)).toBe(1);
    expect(queue.ahead(waiter('new', PATIENCE_MS), 3 * PATIENCE_MS)).toBe(2);
  });

  it('never holds up live for vod', () => {
    const queue = new WaitingQueue<Waiter>();
    queue.add(waiter('vod', 0, 100, 'vod'));
    expect(queue.ahead(waiter('live', 9_000_000, 0), 9_000_000)).toBe(0);
  });

  it('ends when the one in front leaves', () => {
    const queue = new WaitingQueue<Waiter>();
    const large = waiter('large', 0);
    queue.add(large);
    expect(queue.remove(large)).toBe(true);
    expect(queue.remove(large)).toBe(false);
    expect(queue.ahead(waiter('small', PATIENCE_MS), PATIENCE_MS)).toBe(0);
  });
});
