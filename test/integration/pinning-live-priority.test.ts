import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LivePriority } from '../../src/pinning/live-priority.js';
import { isSame } from '../../src/pinning/same-process.js';
import { end, endChildren, has, start, until } from '../support/children.js';

const host = hostAddon();
const refOf = (pid: number) => ({ pid, startTicks: host.startTicks(pid) });
const threads = (pid: number) => readdirSync(`/proc/${pid}/task`).map(Number);

function mayRaise(): boolean {
  return process.getuid?.() === 0;
}

describe('the priority of live channels', () => {
  afterEach(endChildren);
  const refusals: string[] = [];
  const priorityOf = (nice: number) =>
    new LivePriority({
      nice: () => nice,
      sameProcess: (ref) => isSame(host, ref),
      onRefused: (why) => refusals.push(why),
    });
  const encoder = () =>
    start('ffmpeg', [
      ...['-hide_banner', '-loglevel', 'quiet', '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=25'],
      ...['-t', '30', '-c:v', 'libx264', '-preset', 'ultrafast', '-threads', '2', '-f', 'null', '-'],
    ]);

  it('is that of every thread, also of those that are made later', async (ctx) => {
    if (!has('ffmpeg', '-version')) ctx.skip('FFmpeg is not installed');
    if (!mayRaise()) ctx.skip('not root: a priority cannot be raised');
    const priority = priorityOf(-5);
    const { pid } = encoder();
    // These tests may run at a nice of their own, which their children have.
    setPriority(pid!, 0);
    priority.attached(refOf(pid!));
    await until(() => threads(pid!).length > 3, 'its encoder has threads');
    priority.tick();
    expect(threads(pid!).map((tid) => getPriority(tid))).toEqual(threads(pid!).map(() => -5));
    expect(refusals).toEqual([]);
  });

  it('of a thread that has one of its own stays', async (ctx) => {
    if (!mayRaise()) ctx.skip('not root: a priority cannot be raised');
    const child = start('sleep', ['30']);
    setPriority(child.pid!, 3);
    priorityOf(-5).attached(refOf(child.pid!));
    expect(getPriority(child.pid!)).toBe(3);
  });

  it('stays as it is where it is 0, and where the process is another by now', async () => {
    const child = start('sleep', ['30']);
    const before = getPriority(child.pid!);
    priorityOf(0).attached(refOf(child.pid!));
    priorityOf(-5).attached({ ...refOf(child.pid!), startTicks: 1 });
    expect(getPriority(child.pid!)).toBe(before);
    const ref = refOf(child.pid!);
    await end(child);
    const priority = priorityOf(-5);
    priority.attached(ref);
    priority.tick();
    expect(refusals).toEqual([]);
  });
});
