import { describe, expect, it } from 'vitest';
import { Deadlines } from '../../src/reservation/deadlines.js';
import { Locks } from '../../src/reservation/locks.js';
import { ManualTime } from '../support/manual-time.js';

describe('deadlines', () => {
  it('fire once, when monotonic time has come, wherever the wall clock jumped', async () => {
    const time = new ManualTime();
    const deadlines = new Deadlines(time, time);
    let fired = 0;
    deadlines.set('a', 10_000, () => fired++);
    time.jumpWallClock(86_400_000);
    await time.pass(9_999);
    expect(fired).toBe(0);
    time.jumpWallClock(-2 * 86_400_000);
    await time.pass(1);
    expect(fired).toBe(1);
    await time.pass(50_000);
    expect(fired).toBe(1);
    expect(deadlines.remainingMs('a')).toBeUndefined();
  });

  it('can be moved away and nearer', async () => {
    const time = new ManualTime();
    const deadlines = new Deadlines(time, time);
    const fired: string[] = [];
    deadlines.set('a', 100, () => fired.push('first'));
    deadlines.set('a', 200, () => fired.push('later'));
    await time.pass(150);
    expect(fired).toEqual([]);
    expect(deadlines.remainingMs('a')).toBe(50);
    deadlines.set('a', 10, () => fired.push('sooner'));
    await time.pass(10);
    await time.pass(100);
    expect(fired).toEqual(['sooner']);
  });

  it('say which of several comes first', async () => {
    const time = new ManualTime();
    const deadlines = new Deadlines(time, time);
    deadlines.set('a', 300, () => {});
    deadlines.set('b', 200, () => {});
    await time.pass(50);
    expect(deadlines.soonestMs(['a', 'b', 'none'])).toBe(150);
    expect(deadlines.soonestMs(['a'])).toBe(250);
    expect(deadlines.soonestMs(['none'])).toBeUndefined();
  });

  it('do not fire when taken back', async () => {
    const time = new ManualTime();
    const deadlines = new Deadlines(time, time);
    let fired = 0;
    for (const name of ['a', 'b', 'c']) deadlines.set(name, 100, () => fired++);
    deadlines.clear('b');
    await time.pass(100);
    expect(fired).toBe(2);
    deadlines.set('a', 100, () => fired++);
    deadlines.clearAll();
    await time.pass(1_000);
    expect(fired).toBe(2);
  });
});

describe('locks', () => {
  it('run one task a name at a time, in order, the first at once, after failures too', async () => {
    const locks = new Locks();
    const seen: string[] = [];
    const slow =
      (name: string, fails = false) =>
      async () => {
        seen.push(`${name} starts`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        seen.push(`${name} ends`);
        if (fails) throw new Error(name);
      };
    const first = locks.run('x', slow('first', true));
    const second = locks.run('x', slow('second'));
    const other = locks.run('y', slow('other'));
    expect(seen).toEqual(['first starts', 'other starts']);
    await expect(first).rejects.toThrow('first');
    await Promise.all([second, other]);
    expect(seen.indexOf('second starts')).toBeGreaterThan(seen.indexOf('first ends'));
    await locks.idle();
  });
});
