import { afterEach, describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import type { HostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { setOwnAffinity } from '../../src/pinning/own-affinity.js';
import { type FakeProcess, fakeKernel } from '../support/fake-kernel.js';

const ref = { pid: 42, startTicks: 777 };

function caught(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('expected the call to throw');
}

describe('pinning', () => {
  let process: FakeProcess;
  let addon: HostAddon;
  const begin = (threads: Record<number, number[]>, online = [0, 1, 2, 3, 4, 5, 6, 7]) => {
    process = {
      ...ref,
      threads: new Map(Object.entries(threads).map(([tid, cpus]) => [Number(tid), cpus])),
      calls: [],
    };
    addon = fakeKernel(process, online);
    return createPinning({ addon });
  };
  afterEach(() => {
    // Whatever was done, the identity was checked before the first change and after the last.
    const named = process.calls.map(([name]) => name);
    if (named.length > 0) expect(named[0]).toBe('startTicks');
  });

  it('widens to old and new CPUs before it narrows to the new ones', () => {
    const pinning = begin({ 42: [0, 1], 43: [0, 1] });
    const result = pinning.pin(ref, [4, 5]);
    expect(process.calls.filter(([name]) => name === 'setProcessAffinity').map(([, cpus]) => cpus)).toEqual([
      [0, 1, 4, 5],
      [4, 5],
    ]);
    expect(result.repaired).toBe(2);
    expect(result.threads.map(({ tid, cpus, verified }) => ({ tid, cpus, verified }))).toEqual([
      { tid: 42, cpus: [4, 5], verified: true },
      { tid: 43, cpus: [4, 5], verified: true },
    ]);
    expect(process.calls[process.calls.length - 1]![0]).toBe('startTicks');
  });

  it('needs no widening to grow, nor to do what is done already', () => {
    const pinning = begin({ 42: [0], 43: [0] });
    expect(pinning.pin(ref, [0, 1]).repaired).toBe(2);
    expect(pinning.pin(ref, [0, 1]).repaired).toBe(0);
    const set = process.calls.filter(([name]) => name === 'setProcessAffinity').map(([, cpus]) => cpus);
    expect(set).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });

  it('brings back threads that left, leaves alone those that narrowed themselves', () => {
    const pinning = begin({ 42: [0, 1], 43: [0, 1, 2, 3, 4, 5, 6, 7], 44: [1] });
    const result = pinning.verify(ref, [0, 1]);
    expect(result.repaired).toBe(1);
    expect(result.threads.map(({ cpus }) => cpus)).toEqual([[0, 1], [0, 1], [1]]);
    expect(result.threads.every(({ verified }) => verified)).toBe(true);
    expect(pinning.repair(ref, [0, 1])).toEqual({ threads: 3, repaired: 0 });
  });

  it('does not look at names in the check of every tick', () => {
    const pinning = begin({ 42: [0, 1], 43: [7] });
    expect(pinning.repair(ref, [0, 1])).toMatchObject({ threads: 2, repaired: 1 });
    expect(process.calls.map(([name]) => name)).toEqual(['startTicks', 'confine']);
  });

  it('says so when a thread leaves again and again, instead of trying for ever', () => {
    const pinning = begin({ 42: [0], 43: [6] });
    process.escapes = new Map([[43, [6]]]);
    const result = pinning.verify(ref, [0]);
    expect(result.threads.map(({ verified }) => verified)).toEqual([true, false]);
    expect(process.calls.filter(([name]) => name === 'confineProcess')).toHaveLength(3);
  });

  it('takes what the kernel leaves of a list with offline CPUs for pinned', () => {
    const pinning = begin({ 42: [0, 1] }, [0, 1, 2]);
    const result = pinning.pin(ref, [2, 3]);
    expect(result.threads).toMatchObject([{ cpus: [2], verified: true }]);
  });

  it('changes nothing when it only reads', () => {
    const pinning = begin({ 42: [0, 1], 43: [7] });
    expect(pinning.masks(ref).map(({ cpus }) => cpus)).toEqual([[0, 1], [7]]);
    expect(process.calls.map(([name]) => name)).toEqual(['startTicks', 'getProcessAffinity', 'startTicks']);
  });

  it('refuses a pid that names another process now, before any change', () => {
    const pinning = begin({ 42: [0] });
    process.startTicks = 778;
    for (const call of [pinning.pin, pinning.verify, pinning.repair, pinning.masks]) {
      const error = caught(() => call(ref, [1]));
      expect(isCorecastError(error, 'PROCESS_GONE')).toBe(true);
      if (call !== pinning.repair) expect(String(error)).toContain('777');
    }
    expect(process.threads.get(42)).toEqual([0]);
  });

  it('notices when the pid changes hands while it works', () => {
    const pinning = begin({ 42: [0] });
    process.onCall = (name) => {
      if (name === 'getProcessAffinity') process.startTicks = 9999;
    };
    expect(
      isCorecastError(
        caught(() => pinning.pin(ref, [0])),
        'PROCESS_GONE',
      ),
    ).toBe(true);
  });

  it('maps what the kernel says to KERNEL with its errno, and a lost process to PROCESS_GONE', () => {
    const pinning = begin({ 42: [0] });
    process.refuse = 'EPERM';
    const error = caught(() => pinning.pin(ref, [1]));
    expect(error).toMatchObject({ code: 'KERNEL', details: { errno: 'EPERM' } });
    expect(String(error)).toContain('CAP_SYS_NICE');
    process.refuse = 'EINVAL';
    expect(String(caught(() => pinning.verify(ref, [1])))).toContain('CPUs 1');
    process.refuse = 'ESRCH';
    expect(caught(() => pinning.repair(ref, [1]))).toMatchObject({ code: 'PROCESS_GONE' });
  });

  it('does not blame the kernel for defects', () => {
    const pinning = begin({ 42: [0] });
    process.onCall = (name) => {
      if (name === 'getProcessAffinity') throw new TypeError('a defect');
    };
    expect(caught(() => pinning.masks(ref))).toBeInstanceOf(TypeError);
  });

  it('refuses an empty list', () => {
    const pinning = begin({ 42: [0] });
    expect(caught(() => pinning.pin(ref, []))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(caught(() => setOwnAffinity([], addon))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(process.calls).toEqual([]);
  });
});
