import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { endChildren, nextLine, start } from '../support/children.js';

const host = hostAddon();
const cpus = host.getThreadAffinity(0);
const first = cpus[0]!;
const one = 'one CPU: nowhere to go';

describe('processes that do not want to be pinned', { timeout: 60_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-unruly-'));
  const program = join(dir, 'unruly');
  beforeAll(() => {
    const source = resolve(import.meta.dirname, '../support/unruly.cc');
    execFileSync('c++', ['-std=c++17', '-O1', '-pthread', source, '-o', program]);
  }, 60_000);
  afterEach(endChildren);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const begun = async (...args: string[]) => {
    const child = start(program, args);
    await nextLine(child);
    return { pid: child.pid!, startTicks: host.startTicks(child.pid!) };
  };
  const outside = (pid: number) =>
    host.getProcessAffinity(pid).filter((thread) => thread.cpus.some((cpu) => cpu !== first)).length;

  it('are brought back at each look while their threads leave in a loop, and stay once they give up', async (ctx) => {
    if (cpus.length < 2) return ctx.skip(one);
    const pinning = createPinning({ addon: host });
    const ref = await begun('leaving', '16');
    pinning.pin(ref, [first]);
    let repaired = 0;
    let longestMs = 0;
    for (let look = 0; look < 40; look++) {
      await sleep(10);
      const beganMs = performance.now();
      const outcome = pinning.repair(ref, [first]);
      longestMs = Math.max(longestMs, performance.now() - beganMs);
      repaired += outcome.repaired;
      if (outcome.repaired > 0) expect(outcome.drift?.text).toContain('thread');
    }
    expect(repaired).toBeGreaterThan(40);
    // It gives up after some passes instead of fighting for ever: the daemon has others to serve.
    expect(longestMs).toBeLessThan(1_000);
    process.kill(ref.pid, 'SIGUSR1');
    await sleep(50);
    pinning.repair(ref, [first]);
    expect(outside(ref.pid)).toBe(0);
    await sleep(50);
    expect(pinning.repair(ref, [first])).toEqual({ threads: 17, repaired: 0 });
  });

  it('are held while thousands of threads a second are born and die, and leave no descriptor open', async (ctx) => {
    if (cpus.length < 2) return ctx.skip(one);
    const pinning = createPinning({ addon: host });
    const ref = await begun('bomb', '16');
    pinning.pin(ref, cpus);
    pinning.repair(ref, cpus);
    const files = () => readdirSync('/proc/self/fd').length;
    const before = files();
    const born = new Set<number>();
    for (let round = 0; round < 80; round++) {
      const wanted = round % 2 === 0 ? [first] : [cpus.at(-1)!];
      for (const { tid, verified } of pinning.pin(ref, wanted).threads) {
        born.add(tid);
        expect(verified).toBe(true);
      }
      // Whoever was born since inherits what its parent has.
      expect(pinning.repair(ref, wanted).repaired).toBe(0);
    }
    expect(born.size).toBeGreaterThan(100);
    expect(files()).toBe(before);
  });
});
