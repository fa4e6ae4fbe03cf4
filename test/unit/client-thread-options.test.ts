import { describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { svtAv1Lp, withThreadOptions, x265FrameThreads } from '../../src/client/thread-options.js';

const PICTURE = { width: 1280, height: 720, fps: 25, bitDepth: 8 };

function added(line: string, cpuCount: number, svtAv1Major = 1): string {
  const command = parseFfmpegCommand(line.split(' '));
  const planned = plannedOutputs(command, [PICTURE]);
  return withThreadOptions(command, planned, { cpuCount, svtAv1Major }).args.join(' ');
}

describe('withThreadOptions', () => {
  it.each([
    [
      'x264: decoder, filters and encoder',
      'ffmpeg -re -i in -c:v libx264 out.mp4',
      '-filter_threads 2 -re -threads 2 -i in -c:v libx264 -threads:v 2 out.mp4',
    ],
    [
      'x265: pools and frame threads, not -threads',
      'ffmpeg -i in -c:v libx265 out.mp4',
      '-filter_threads 2 -threads 2 -i in -c:v libx265 -x265-params:v pools=2:frame-threads=1 out.mp4',
    ],
    [
      'x265: joined to parameters that are there',
      'ffmpeg -i in -c:v libx265 -x265-params crf=20 out.mp4',
      '-filter_threads 2 -threads 2 -i in -c:v libx265 -x265-params crf=20:pools=2:frame-threads=1 out.mp4',
    ],
    [
      'x265: -threads of the user stands for frame threads',
      'ffmpeg -i in -c:v libx265 -threads 3 out.mp4',
      '-filter_threads 2 -threads 2 -i in -c:v libx265 -threads 3 -x265-params:v pools=2 out.mp4',
    ],
    [
      'SVT-AV1: lp',
      'ffmpeg -i in -c:v libsvtav1 -svtav1-params tune=0 out.mp4',
      '-filter_threads 2 -threads 2 -i in -c:v libsvtav1 -svtav1-params tune=0:lp=2 out.mp4',
    ],
    [
      'libvpx: row-mt as well',
      'ffmpeg -i in -c:v libvpx-vp9 out.webm',
      '-filter_threads 2 -threads 2 -i in -c:v libvpx-vp9 -threads:v 2 -row-mt:v 1 out.webm',
    ],
    [
      'copy: nothing but the decoder',
      'ffmpeg -i in -c copy o.mp4',
      '-filter_threads 2 -threads 2 -i in -c copy o.mp4',
    ],
    [
      'a complex graph: its threads too',
      'ffmpeg -filter_complex [0:v]scale=640:360[v] -i in -map [v] -c:v libx264 o.mp4',
      '-filter_threads 2 -filter_complex_threads 2 -filter_complex [0:v]scale=640:360[v] -threads 2 -i in ' +
        '-map [v] -c:v libx264 -threads:v 2 o.mp4',
    ],
    [
      'a ladder: each stream by its number',
      'ffmpeg -i in -map 0:v -map 0:v -c:v:0 libx264 -c:v:1 libx265 o.mkv',
      '-filter_threads 2 -threads 2 -i in -map 0:v -map 0:v -c:v:0 libx264 -c:v:1 libx265 -threads:v:0 2 ' +
        '-x265-params:v:1 pools=2:frame-threads=1 o.mkv',
    ],
    [
      'two files: each its own',
      'ffmpeg -i in -c:v libx264 a.mp4 -c:v mpeg4 b.mp4',
      '-filter_threads 2 -threads 2 -i in -c:v libx264 -threads:v 2 a.mp4 -c:v mpeg4 -threads:v 2 b.mp4',
    ],
    [
      'whatever the user set stays',
      'ffmpeg -filter_threads 1 -threads 1 -i in -c:v libx264 -threads 4 o.mp4',
      '-filter_threads 1 -threads 1 -i in -c:v libx264 -threads 4 o.mp4',
    ],
    [
      'threads inside x264-params count as set',
      'ffmpeg -threads 1 -i in -c:v libx264 -x264-params threads=3 o.mp4',
      '-filter_threads 2 -threads 1 -i in -c:v libx264 -x264-params threads=3 o.mp4',
    ],
  ])('%s', (_, line, expected) => {
    expect(added(line, 2)).toBe(expected);
  });

  it('tells one CPU to x265 as no pool at all', () => {
    expect(added('ffmpeg -i in -c:v libx265 o.mp4', 1)).toContain(
      '-x265-params:v pools=none:frame-threads=1',
    );
  });

  it('appends to shared parameters once, though two streams use them', () => {
    const args = added('ffmpeg -i in -map 0:v -map 0:v -c:v libx265 -x265-params crf=30 o.mkv', 4);
    expect(args.match(/pools=/g)).toHaveLength(1);
  });
});

it.each([
  [1, 1],
  [4, 2],
  [8, 3],
  [16, 5],
  [64, 6],
])('x265 gets for %i CPUs %i frame threads', (cpus, threads) => {
  expect(x265FrameThreads(cpus)).toBe(threads);
});

it.each([
  [6, 1, 6],
  [6, 2, 6],
  [1, 3, 1],
  [2, 3, 2],
  [4, 3, 3],
  [8, 3, 4],
  [16, 4, 5],
  [48, 3, 6],
])('lp for %i CPUs is, in SVT-AV1 %i, %i', (cpus, major, lp) => {
  expect(svtAv1Lp(cpus, major)).toBe(lp);
});
