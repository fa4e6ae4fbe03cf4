import { execFileSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { end, endChildren, has, start, until } from '../support/children.js';

const host = hostAddon();
const pinning = createPinning({ addon: host });
const allowed = host.getThreadAffinity(0);

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A live-like libx265 run that inherits one CPU, as the wrapper starts FFmpeg. */
function startX265(cpu: number) {
  host.setThreadAffinity(0, [cpu]);
  try {
    return start('ffmpeg', [
      ...['-hide_banner', '-loglevel', 'quiet', '-re', '-f', 'lavfi', '-i', 'testsrc=size=640x360:rate=25'],
      ...[
        '-t',
        '30',
        '-pix_fmt',
        'yuv420p',
        '-c:v',
        'libx265',
        '-preset',
        'ultrafast',
        '-x265-params',
        'log-level=none',
        '-f',
        'null',
        '-',
      ],
    ]);
  } finally {
    host.setThreadAffinity(0, allowed);
  }
}

function hasX265(): boolean {
  return (
    has('ffmpeg', '-version') &&
    execFileSync('ffmpeg', ['-hide_banner', '-encoders'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).includes('libx265')
  );
}

describe('libx265 under an inherited mask', () => {
  afterEach(endChildren);

  it('has pool threads outside its CPUs until verify() brings them in', async (ctx) => {
    if (!hasX265()) ctx.skip('FFmpeg with libx265 is not installed');
    if (allowed.length < 2) ctx.skip('one CPU: no thread can be outside');
    const cpu = allowed[0]!;
    const child = startX265(cpu);
    const ref = { pid: child.pid!, startTicks: host.startTicks(child.pid!) };
    const outside = () => pinning.masks(ref).filter(({ cpus }) => cpus.some((other) => other !== cpu));
    expect(host.getThreadAffinity(ref.pid)).toEqual([cpu]);

    // The encoder is up when its pool is: more threads than the main one and the few of FFmpeg itself.
    await until(() => pinning.masks(ref).length >= 4, 'the encoder threads have started');
    for (let wait = 0; wait < 30 && outside().length === 0; wait++) await pause(100);
    await pause(300);
    if (outside().length === 0) {
      // Where x265 is built without libnuma its threads stay; then a thread is led astray by hand.
      const threads = pinning.masks(ref);
      execFileSync('taskset', ['-cp', allowed.join(','), String(threads[threads.length - 1]!.tid)]);
    }
    const strays = outside();
    expect(strays.length).toBeGreaterThan(0);

    const verified = pinning.verify(ref, [cpu]);
    expect(verified.repaired).toBe(strays.length);
    expect(verified.threads.length).toBeGreaterThanOrEqual(4);
    for (const thread of verified.threads) expect(thread).toMatchObject({ cpus: [cpu], verified: true });

    // They do not leave again: the pool asks for its node once, at its start.
    await pause(500);
    expect(pinning.verify(ref, [cpu]).repaired).toBe(0);
    expect(outside()).toEqual([]);
    await end(child);
  });
});
