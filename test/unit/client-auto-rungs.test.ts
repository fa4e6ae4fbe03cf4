import { expect, it } from 'vitest';
import { deriveRungs } from '../../src/client/auto-rungs.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { atRung } from '../../src/client/rungs.js';

const HD = { width: 1920, height: 1080, fps: 25, bitDepth: 8 as const };

function ladder(line: string) {
  const command = parseFfmpegCommand(`ffmpeg -i in ${line}`.split(' '));
  const rungs = deriveRungs(command, plannedOutputs(command, [HD]));
  return {
    texts: rungs.map(({ text }) => text),
    last: rungs.length === 0 ? '' : atRung(command, rungs.at(-1)!).join(' '),
  };
}

it('of one x264 output: faster presets, then a lower rate with its peak and buffer', () => {
  const { texts, last } = ladder('-c:v libx264 -preset medium -b:v 4M -maxrate 6M -bufsize 8M out.ts');
  expect(texts.length).toBeGreaterThanOrEqual(3);
  expect(texts.at(-2)).toBe('-preset ultrafast');
  expect(texts.at(-1)).toBe('-preset ultrafast -b:v 2400k -maxrate:v 3600k -bufsize:v 4800k');
  expect(last).toBe(
    'ffmpeg -i in -c:v libx264 -preset ultrafast -b:v 2400k -maxrate:v 3600k -bufsize:v 4800k out.ts',
  );
});

it.each([
  ['-c:v libx264 -preset ultrafast -crf 23 out.ts', ['-crf 29']],
  ['-c:v libx265 -preset ultrafast out.ts', ['-crf 34']],
  ['-c:v copy out.ts', []],
  ['-c:v mpeg2video -b:v 5M out.ts', ['-b:v 3000k']],
])('of %s: %j', (line, texts) => {
  expect(ladder(line).texts).toEqual(texts);
});

it.each([
  ['-c:v libsvtav1 -preset 6 -crf 35 out.mkv', /^-preset (?:[7-9]|1[0-2])$/],
  ['-c:v libvpx-vp9 -b:v 2M out.webm', /^-cpu-used \d$/],
  ['-c:v libaom-av1 -cpu-used 2 -crf 30 out.mkv', /^-cpu-used \d$/],
])('of %s begins in its own words', (line, first) => {
  const { texts } = ladder(line);
  expect(texts[0]).toMatch(first);
  expect(texts.join()).not.toContain('-preset 13');
});

it('of several renditions ends without the largest', () => {
  const { texts, last } = ladder(
    '-map 0:v -s 1280x720 -c:v libx264 -preset veryfast -b:v 3M a.m3u8 -map 0:v -s 640x360 -c:v libx264 -preset veryfast -b:v 1M b.m3u8',
  );
  expect(texts.at(-1)).toMatch(/without output 0$/);
  expect(last).toMatch(
    /^ffmpeg -i in -map 0:v -c:v wrapped_avframe .* -f null - -map 0:v .* -b:v 600k b\.m3u8$/,
  );
});
