import { describe, expect, it } from 'vitest';
import { alsoSentToChild } from '../../src/client/signals.js';
import { ProgressReader } from '../../src/lib/ffmpeg-progress.js';
import type { Progress } from '../../src/rpc/control.js';

function reader() {
  const blocks: { progress: Progress; last: boolean }[] = [];
  const clock = { now: 0, nowMs: () => 0, monotonicMs: () => clock.now };
  const read = new ProgressReader(clock, (progress, last) => blocks.push({ progress, last }));
  return { blocks, clock, read };
}

/** As FFmpeg 5.1 writes it. */
const block = (frame: number, outTimeUs: number | 'N/A', end = 'continue') =>
  `frame=${frame}\nfps=25.00\nstream_0_0_q=28.0\nbitrate= 843.2kbits/s\ntotal_size=N/A\nout_time_us=${outTimeUs}\n` +
  `out_time_ms=${outTimeUs}\nout_time=00:00:01.000000\ndup_frames=1\ndrop_frames=2\nspeed=1.01x    \nprogress=${end}\n`;

describe('ProgressReader', () => {
  it('reads a block whole, however it is cut', () => {
    const { blocks, read } = reader();
    const text = block(25, 1_000_000);
    for (let i = 0; i < text.length; i += 7) read.feed(text.slice(i, i + 7));
    expect(blocks).toEqual([
      {
        last: false,
        progress: {
          outTimeUs: 1_000_000,
          frame: 25,
          fps: 25,
          speed: 1.01,
          droppedFrames: 2,
          duplicatedFrames: 1,
          bitrateBps: 843_200,
          lagSeconds: 0,
        },
      },
    ]);
  });

  it('counts lag from the first frame', () => {
    const { blocks, clock, read } = reader();
    clock.now = 5_000;
    read.feed(block(10, 400_000));
    clock.now = 8_000;
    read.feed(block(60, 2_400_000));
    expect(blocks.map((b) => b.progress.lagSeconds)).toEqual([0, 1]);
  });

  it('takes N/A and nonsense for nothing yet, and knows the last block', () => {
    const { blocks, read } = reader();
    read.feed(block(0, 'N/A'));
    read.feed(`garbage\n${'x'.repeat(100_000)}\n`);
    read.feed(block(1, 40_000, 'end'));
    expect(blocks.map((b) => [b.progress.outTimeUs, b.last])).toEqual([
      [0, false],
      [40_000, true],
    ]);
  });
});

it.each([
  ['SIGINT', { foreground: true, systemdService: false }, true],
  ['SIGTERM', { foreground: true, systemdService: false }, false],
  ['SIGTERM', { foreground: false, systemdService: true }, true],
  ['SIGINT', { foreground: false, systemdService: true }, false],
  ['SIGTERM', { foreground: false, systemdService: false }, false],
] as const)('%s with %o reached FFmpeg by itself: %s', (signal, environment, expected) => {
  expect(alsoSentToChild(signal, environment)).toBe(expected);
});
