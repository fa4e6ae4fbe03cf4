import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { setOwnAffinity } from '../../src/pinning/own-affinity.js';
import { end, endChildren, nextLine, start, startIdleNode, startNode } from '../support/children.js';

const host = hostAddon();
const pinning = createPinning({ addon: host });
const cpus = host.getThreadAffinity(0);
const first = cpus[0]!;
const last = cpus[cpus.length - 1]!;
const refOf = (pid: number) => ({ pid, startTicks: host.startTicks(pid) });

describe('pinning real processes', () => {
  afterEach(endChildren);

  it('pins every thread, moves it to other CPUs and reads all back', async () => {
    const ref = refOf((await startIdleNode()).pid!);
    for (const wanted of [[first], [last], cpus]) {
      const { threads } = pinning.pin(ref, wanted);
      expect(threads.length).toBeGreaterThan(4);
      for (const thread of threads) expect(thread).toMatchObject({ cpus: wanted, verified: true });
      expect(pinning.masks(ref).map((mask) => mask.cpus)).toEqual(threads.map(() => wanted));
    }
  });

  it('brings back a thread that left', async (ctx) => {
    if (cpus.length < 2) ctx.skip('one CPU: nowhere to go');
    const ref = refOf((await startIdleNode()).pid!);
    const { threads } = pinning.pin(ref, [first]);
    host.setThreadAffinity(threads[2]!.tid, cpus);
    host.setThreadAffinity(threads[3]!.tid, [last]);
    const verified = pinning.verify(ref, [first]);
    expect(verified.repaired).toBe(2);
    expect(verified.threads.every((thread) => thread.verified)).toBe(true);
    // Younger ones could have chosen for themselves at their start.
    await sleep(250);
    host.setThreadAffinity(threads[3]!.tid, [last]);
    pinning.repair(ref, [first]);
    host.setThreadAffinity(threads[3]!.tid, [last]);
    expect(pinning.repair(ref, [first])).toMatchObject({
      threads: threads.length,
      repaired: 1,
      drift: {
        cause: 'threads',
        threads: 1,
        text: expect.stringContaining(`(${threads[3]!.tid}) on ${last}`),
      },
    });
    expect(pinning.verify(ref, [first]).repaired).toBe(0);
  });

  it('holds processes whose threads come and go', async () => {
    const child = startNode(`
      const { Worker } = require('node:worker_threads');
      const next = () => new Worker('', { eval: true }).on('exit', next);
      next(); next(); setInterval(() => {}, 1e6); console.log('up')`);
    await nextLine(child);
    const ref = refOf(child.pid!);
    for (let round = 0; round < 20; round++) {
      const wanted = [round % 2 === 0 ? first : last];
      const { threads } = pinning.pin(ref, wanted);
      for (const thread of threads) expect(thread).toMatchObject({ cpus: wanted, verified: true });
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(pinning.verify(ref, wanted).repaired).toBe(0);
    }
  });

  it('says PROCESS_GONE once the process has ended', async () => {
    const child = await startIdleNode();
    const ref = refOf(child.pid!);
    await end(child);
    for (const call of [pinning.pin, pinning.verify, pinning.repair, pinning.masks]) {
      expect(() => call(ref, [first])).toThrow(expect.objectContaining({ code: 'PROCESS_GONE' }));
    }
  });

  it('says KERNEL and EINVAL when no CPU of the list exists', async () => {
    const ref = refOf((await startIdleNode()).pid!);
    expect(() => pinning.pin(ref, [60_000])).toThrow(
      expect.objectContaining({ code: 'KERNEL', details: expect.objectContaining({ errno: 'EINVAL' }) }),
    );
    expect(pinning.masks(ref)[0]!.cpus).toEqual(cpus);
  });

  it('pins this process itself, so that children inherit the CPUs', () => {
    setOwnAffinity([last]);
    try {
      for (const thread of host.getProcessAffinity(process.pid)) expect(thread.cpus).toEqual([last]);
      const child = start('sleep', ['60']);
      expect(host.getThreadAffinity(child.pid!)).toEqual([last]);
      expect(() => setOwnAffinity([60_000])).toThrow(expect.objectContaining({ code: 'KERNEL' }));
    } finally {
      setOwnAffinity(cpus);
    }
  });
});
