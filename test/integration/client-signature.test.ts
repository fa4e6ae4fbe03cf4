import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { commandSignature } from '../../src/client/signature.js';
import { haveFfmpeg } from '../support/client-against-server.js';

let dir: string;
let clip: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-signature-'));
  clip = join(dir, 'clip.ts');
  if (!haveFfmpeg) return;
  const source = ['-f', 'lavfi', '-i', 'testsrc2=s=424x240:r=30', '-t', '4'];
  execFileSync('ffmpeg', [
    '-v',
    'error',
    ...source,
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-g',
    '30',
    clip,
  ]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const read = (words: readonly string[], options: Partial<Parameters<typeof commandSignature>[1]> = {}) =>
  commandSignature(parseFfmpegCommand(['ffmpeg', ...words]), { probe: true, timeoutMs: 60_000, ...options });

describe.skipIf(!haveFfmpeg)('commandSignature', { timeout: 120_000 }, () => {
  it('reads a file: stream, bitrate though the container says none, packet complexity', async () => {
    const { signature, notes } = await read([
      '-re',
      '-i',
      clip,
      '-c:v',
      'libx264',
      '-s',
      '212x120',
      'out.mp4',
    ]);
    expect(notes).toEqual([]);
    expect(signature!.input).toMatchObject({ codec: 'h264', width: 424, height: 240, fps: 30, bitDepth: 8 });
    expect(signature!.input.bitrateBps).toBeGreaterThan(50_000);
    expect(signature!.outputs).toMatchObject([{ encoder: 'libx264', width: 212, height: 120, fps: 30 }]);
    const { bitsPerPixel, keyframeRatio, packetSizeVariation } = signature!.complexity;
    expect(bitsPerPixel).toBeCloseTo(signature!.input.bitrateBps / (424 * 240 * 30), 1);
    expect(keyframeRatio).toBeGreaterThan(1);
    expect(packetSizeVariation).toBeGreaterThan(0);
  });

  it('reads packets from where the command begins', async () => {
    const { signature } = await read(['-ss', '2', '-i', clip, '-c:v', 'libx264', 'out.mp4']);
    expect(signature!.complexity.bitsPerPixel).toBeGreaterThan(0);
  });

  it('reads a lavfi source without taking its raw frames for packets', async () => {
    const { signature } = await read([
      '-f',
      'lavfi',
      '-i',
      'testsrc2=s=320x180:r=50',
      '-c:v',
      'libx264',
      'o.mp4',
    ]);
    expect(signature!.input).toMatchObject({ width: 320, height: 180, fps: 50, bitrateBps: 0 });
    expect(signature!.complexity).toEqual({});
  });

  it.each([
    [
      'standard input',
      ['-f', 'rawvideo', '-video_size', '640x360', '-framerate', '50', '-i', 'pipe:0'],
      { width: 640, height: 360, fps: 50 },
    ],
    ['a listener', ['-i', 'srt://0.0.0.0:9000?mode=listener'], { width: 1920, height: 1080, fps: 25 }],
  ])('leaves %s alone, and says what it assumed', async (_, input, expected) => {
    const { signature, notes } = await read([...input, '-c:v', 'libx264', 'out.mp4']);
    expect(signature!.input).toMatchObject(expected);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/as declared or assumed/);
  });

  it('leaves a fifo unread', async () => {
    const fifo = join(dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const writer = spawn('sh', ['-c', `cat ${clip} > ${fifo}`]);
    const { notes } = await read(['-i', fifo, '-c:v', 'libx264', 'out.mp4']);
    expect(notes[0]).toMatch(/can be read only once/);
    expect(execFileSync('cat', [fifo], { maxBuffer: 1 << 26 }).length).toBeGreaterThan(10_000);
    writer.kill();
  });

  it('takes declared facts before probed ones', async () => {
    const declared = { width: 1280, height: 720 };
    const { signature } = await read(['-i', clip, '-c:v', 'libx264', 'out.mp4'], { declared });
    expect(signature!.input).toMatchObject({ codec: 'h264', width: 1280, height: 720, fps: 30 });
    expect(signature!.outputs[0]).toMatchObject({ width: 1280, height: 720 });
  });

  it('gives up on an input that does not answer, in time', async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/live.ts`;
    try {
      const { signature, notes } = await read(['-i', url, '-c:v', 'libx264', 'out.mp4'], { timeoutMs: 500 });
      expect(notes[0]).toMatch(/gave no answer .* within 500 ms/);
      expect(signature!.input).toMatchObject({ width: 1920, height: 1080 });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('names an input that is not there', async () => {
    await expect(read(['-i', join(dir, 'none.mp4'), 'o.mp4'])).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `${join(dir, 'none.mp4')}: No such file or directory`,
    });
  });

  it('finds nothing to reserve for in audio', async () => {
    const { signature } = await read(['-f', 'lavfi', '-i', 'sine=d=1', '-c:a', 'aac', 'o.m4a']);
    expect(signature).toBeUndefined();
  });
});
