import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { type ComplexityLevel, withComplexity } from '../../src/client/measure-complexity.js';
import { commandSignature } from '../../src/client/signature.js';
import { tryChannel, tryCommand } from '../../src/client/trial.js';
import { haveFfmpeg } from '../support/client-against-server.js';

let dir: string;
let clip: string;
/** One key frame, at its beginning. */
let sparse: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-complexity-'));
  clip = join(dir, 'clip.ts');
  if (!haveFfmpeg) return;
  const source = ['-f', 'lavfi', '-i', 'testsrc2=s=424x240:r=25', '-t', '8'];
  const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '25'];
  execFileSync('ffmpeg', ['-v', 'error', ...source, ...encode, clip]);
  sparse = join(dir, 'sparse.mkv');
  execFileSync('ffmpeg', ['-v', 'error', ...source, ...encode, '-g', '1000', sparse]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function complexity(level: ComplexityLevel, ...words: string[]) {
  const command = parseFfmpegCommand(['ffmpeg', ...words]);
  const read = await commandSignature(command, { probe: true, timeoutMs: 60_000 });
  return { before: read, ...(await withComplexity(command, read, level)) };
}

describe.skipIf(!haveFfmpeg)('withComplexity', { timeout: 120_000 }, () => {
  it('adds SI and TI by decoding, and says what that cost', async () => {
    const { read, cost } = await complexity('siti', '-re', '-i', clip, 'o.mp4');
    const { spatial, temporal, bitsPerPixel } = read.signature!.complexity;
    if (cost!.failure === undefined) expect(Math.min(spatial!, temporal!)).toBeGreaterThan(0);
    else expect(cost!.failure).toMatchObject({ code: 'NOT_FOUND' });
    expect(bitsPerPixel).toBeGreaterThan(0);
    expect(cost).toMatchObject({ level: 'siti' });
    expect(cost!.wallMs).toBeGreaterThan(0);
    expect(cost!.cpuSeconds).toBeGreaterThan(0);
  });

  it('adds what the command itself takes, and leaves its outputs alone', async () => {
    const names = readdirSync(dir);
    const slow = ['-c:v', 'libx264', '-preset', 'slower', join(dir, 'slow.mp4')];
    const fast = ['-c:v', 'libx264', '-preset', 'ultrafast', join(dir, 'fast.mp4')];
    const probe = async (...words: string[]) => {
      const { read, cost } = await complexity('probe', '-re', '-i', clip, ...words);
      expect(cost!.failure).toBeUndefined();
      return read.signature!.complexity.probeCpuSecondsPerFrame!;
    };
    const cheap = await probe(...fast);
    const dear = await probe(...slow);
    expect(dear).toBeGreaterThan(2 * cheap);
    // Of all outputs, not of the first.
    expect(await probe(...fast, ...slow)).toBeGreaterThan(2 * cheap);
    expect(readdirSync(dir)).toEqual(names);
  });

  it.each(['siti', 'probe'] as const)('does not read a pipe for %s', async (level) => {
    const { before, read, cost } = await complexity(level, '-f', 'mpegts', '-i', 'pipe:0', 'o.mp4');
    expect(read).toBe(before);
    expect(cost!.failure).toMatchObject({ code: 'WRONG_STATE' });
    expect(cost!.failure!.message).toMatch(/^pipe:0 is not a file/);
  });

  it('adds nothing for packets, nor where no video is encoded', async () => {
    expect((await complexity('packets', '-i', clip, 'o.mp4')).cost).toBeUndefined();
    const audio = await complexity('probe', '-f', 'lavfi', '-i', 'sine=d=1', '-c:a', 'aac', 'o.m4a');
    expect(audio.cost).toBeUndefined();
  });

  it('enters a file anywhere, however far apart its key frames are', async () => {
    const command = parseFfmpegCommand(['ffmpeg', '-i', sparse, '-r', '10', '-c:v', 'mpeg4', 'o.mp4']);
    const { planned } = await commandSignature(command, { probe: true, timeoutMs: 60_000 });
    const sample = { fromSeconds: 5.5, mediaSeconds: 1.5 };
    const request = { inputFps: 25, limitMs: 30_000, svtAv1Major: 1 };
    expect((await tryCommand(command, planned, sample, request)).mediaSeconds).toBe(1.5);
  });

  it('tries a cheap channel on all of its clip, a dear one on two seconds', async () => {
    const tried = async (...words: string[]) => {
      const command = parseFfmpegCommand(['ffmpeg', '-i', clip, ...words, 'o.mp4']);
      const { planned, mainInput } = await commandSignature(command, { probe: true, timeoutMs: 60_000 });
      const inputSeconds = mainInput!.facts.seconds!;
      const request = { inputSeconds, inputFps: 25, limitMs: 30_000, svtAv1Major: 1 };
      return { inputSeconds, ...(await tryChannel(command, planned, request)) };
    };
    const cheap = await tried('-s', '64x36', '-c:v', 'mpeg4');
    expect(cheap.mediaSeconds).toBe(cheap.inputSeconds);
    expect((await tried('-s', '848x480', '-c:v', 'libx264', '-preset', 'veryslow')).mediaSeconds).toBe(2);
  });

  it('is bounded in time: what is done by then counts', async () => {
    const words = ['-f', 'lavfi', '-i', 'testsrc2=s=1920x1080:r=60', '-c:v', 'libx264', '-preset', 'placebo'];
    const command = parseFfmpegCommand(['ffmpeg', ...words, 'o.mp4']);
    const { planned } = await commandSignature(command, { probe: true, timeoutMs: 60_000 });
    const begun = performance.now();
    const sample = { fromSeconds: 0, mediaSeconds: 2 };
    const request = { inputFps: 60, limitMs: 1_500, svtAv1Major: 1 };
    const trial = await tryCommand(command, planned, sample, request).catch((error: Error) => error);
    expect(performance.now() - begun).toBeLessThan(8_000);
    if (trial instanceof Error) expect(trial).toMatchObject({ code: 'CANCELLED' });
    else expect(trial.mediaSeconds).toBeLessThan(2);
  });
});
