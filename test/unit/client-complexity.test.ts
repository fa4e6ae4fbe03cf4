import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCost } from '../../src/client/complexity.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { whyNotReadTwice } from '../../src/client/measure-complexity.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { trialArgs, whyNotTried } from '../../src/client/trial-command.js';
import { longerSampleOf, sampleOf } from '../../src/client/trial-sample.js';

const PICTURE = { width: 1280, height: 720, fps: 25, bitDepth: 8 };
const tried = (words: string, fromSeconds = 0) => {
  const command = parseFfmpegCommand(['ffmpeg', ...words.split(' ')]);
  const planned = plannedOutputs(command, [PICTURE]);
  return trialArgs(command, planned, { fromSeconds, mediaSeconds: 1 }, 1).join(' ');
};

describe('the trial of a command', () => {
  it('keeps decoders, filters, encoders and rates, and writes none of the outputs', () => {
    const words =
      '-re -stream_loop -1 -c:v h264 -i in.mp4 -filter_complex [0:v]split=2[a][b];[b]scale=640:360[c] ' +
      '-map [a] -c:v libx264 -preset fast -b:v 3M -r 50 -f flv rtmp://cdn/one ' +
      '-map [c] -c:v libx265 -crf 28 -hls_time 4 -f hls /srv/two.m3u8';
    expect(tried(words)).toBe(
      '-nostdin -y -hide_banner -benchmark -nostats -progress pipe:1 -filter_threads 1 -filter_complex_threads 1 ' +
        '-filter_complex [0:v]split=2[a][b];[b]scale=640:360[c] -c:v h264 -threads 1 -t 1 -i in.mp4 ' +
        '-map [a] -c:v libx264 -preset fast -b:v 3M -r 50 -threads:v 1 -f matroska /dev/null ' +
        '-map [c] -c:v libx265 -crf 28 -hls_time 4 -x265-params:v pools=none:frame-threads=1 -f matroska /dev/null',
    );
  });

  it('enters a file at a key frame, counted from where the command would begin', () => {
    const args = tried('-ss 1:00 -i in.mp4 out.mp4', 12.5);
    expect(args).toContain('-ss 1:00 -threads 1 -noaccurate_seek -itsoffset 60 -ss 72.5 -t 1 -i in.mp4');
  });

  it.each([
    ['a length', '-t 30 -i in.mp4 out.mp4', '-t 30'],
    ['a seek and an end in the output', '-i in.mp4 -ss 5 -to 9 -fs 1M out.mp4', '-ss'],
    ['a log of two passes', '-i in.mp4 -pass 1 -passlogfile /tmp/log out.mp4', 'pass'],
    ['statistics files', '-vstats_file v.log -report -i in.mp4 -vstats out.mp4', 'stats_file'],
    ['an attachment to be dumped', '-dump_attachment:t:0 font.ttf -i in.mkv out.mp4', 'font.ttf'],
    ['progress to a file', '-progress /tmp/progress -i in.mp4 out.mp4', '/tmp/progress'],
    ['options that FFmpeg ignores because no file follows', '-i in.mp4 out.mp4 -an', '-an'],
  ])('leaves out %s', (_, words, gone) => {
    expect(` ${tried(words)} `).not.toContain(gone === '-ss' ? ' -ss ' : gone);
  });

  it.each([
    ['-i a.mp4 -vf vidstabdetect=result=t.trf o.mp4', /^-vf vidstabdetect=result=t\.trf may write a file$/],
    ['-i a.mp4 -filter_complex [0:v]metadata=print:file=x.txt o.mp4', /may write a file/],
    ['-i a.mp4 -vf scale=640:-2,format=yuv420p o.mp4', undefined],
    ['-i a.mp4 -c:v libx264 o.mp4', undefined],
  ])('is refused where a filter writes a file: %s', (words, why) => {
    const found = whyNotTried(parseFfmpegCommand(['ffmpeg', ...words.split(' ')]));
    if (why === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(why);
  });
});

it.each([
  ['unknown or live', 0, 0, 2],
  ['shorter than a sample', 1.2, 0, 1.2],
  ['too short to choose', 3.9, 0, 2],
  ['a clip: its middle', 6, 2, 2],
  ['a film: the middle of its first half minute', 7200, 14, 2],
])('sampleOf an input of length %s', (_, length, fromSeconds, mediaSeconds) => {
  expect(sampleOf(length)).toEqual({ fromSeconds, mediaSeconds });
});

it.each([
  ['a clip that is cheap: all of it', 6, 500, 3_000, { fromSeconds: 0, mediaSeconds: 6 }],
  ['a film that is cheap: its first half minute', 7200, 100, 3_000, { fromSeconds: 0, mediaSeconds: 30 }],
  ['a film: the middle', 7200, 1_000, 3_000, { fromSeconds: 12, mediaSeconds: 6 }],
  ['unknown: from its beginning', 0, 1_000, 3_000, { fromSeconds: 0, mediaSeconds: 6 }],
  ['a clip of two seconds', 2, 100, 3_000, undefined],
  ['a dear one: not much more would be seen', 7200, 2_500, 3_000, undefined],
  ['no time left', 7200, 4_500, -500, undefined],
])('longerSampleOf %s', (_, length, wallMs, leftMs, sample) => {
  expect(longerSampleOf(length, { mediaSeconds: 2, wallMs }, leftMs)).toEqual(sample);
});

describe('whyNotReadTwice', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'corecast-twice-'));
    writeFileSync(join(dir, 'in.ts'), '');
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const why = (...words: string[]) =>
    whyNotReadTwice(parseFfmpegCommand(['ffmpeg', ...words, 'out.mp4']).inputs[0]!);

  it('lets files, generated pictures and web servers be opened once more', () => {
    for (const words of [
      ['-i', join(dir, 'in.ts')],
      ['-i', `file:${join(dir, 'in.ts')}`],
      ['-f', 'lavfi', '-i', 'testsrc2'],
      ['-i', 'https://cdn/one.m3u8'],
    ])
      expect(why(...words), words.join(' ')).toBeUndefined();
  });

  it.each([
    'pipe:0',
    '-',
    'rtmp://ingest/one',
    'srt://0.0.0.0:9000?mode=listener',
    'udp://239.0.0.1:1234',
    '/dev/null',
    'none',
  ])('leaves %s to the channel', (url) => {
    expect(why('-i', url)).toBe(
      `${url} is not a file: a live input is left to the channel, and not read twice`,
    );
  });

  it('leaves an HTTP listener to its publisher', () => {
    expect(why('-listen', '1', '-i', 'http://0.0.0.0:8080/in')).toMatch(/is a listener/);
  });
});

it('describeCost says what a level took, and what it means that it failed', () => {
  const cost = { level: 'probe', wallMs: 412, cpuSeconds: 0.35 } as const;
  expect(describeCost(cost)).toBe('--complexity probe took 412 ms, 0.35 CPU seconds');
  const failure = { code: 'CANCELLED', message: 'no frame' } as const;
  expect(describeCost({ ...cost, failure })).toBe(
    '--complexity probe failed after 412 ms, 0.35 CPU seconds: no frame; the forecast rests on the packets',
  );
});
