import { describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import {
  applyFilters,
  type Picture,
  parseFilterGraph,
  pixelFormatDepth,
} from '../../src/client/filtergraph.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { shellWords } from '../../src/client/shell-words.js';

const HD: Picture = { width: 1920, height: 1080, fps: 25, bitDepth: 8 };
const outputs = (line: string, pictures: (Picture | undefined)[] = [HD]) =>
  plannedOutputs(parseFfmpegCommand(shellWords(line)), pictures).map((planned) => planned.video);

describe('plannedOutputs', () => {
  it('takes size, rate and depth from the input where the output says nothing', () => {
    expect(outputs('ffmpeg -i in.mp4 -c:v libx264 out.mp4')).toEqual([
      { encoder: 'libx264', preset: '', ...HD, rate: { crf: 23 }, options: {} },
    ]);
  });

  it.each([
    ['-s', '-s 640x360', 640, 360, 25],
    ['scale with a kept ratio', '-vf scale=-2:720', 1280, 720, 25],
    ['scale by an expression', "-vf scale='trunc(iw/4/2)*2':ih/4", 480, 270, 25],
    ['scale by names', '-vf scale=w=960:h=540:flags=bicubic', 960, 540, 25],
    ['scale to a named size', '-vf scale=hd720', 1280, 720, 25],
    ['scale that fits inside', '-vf scale=1280:1280:force_original_aspect_ratio=decrease', 1280, 720, 25],
    ['crop, then scale', '-vf crop=1080:1080,scale=iw/2:-1', 540, 540, 25],
    ['pad', '-vf pad=1920:1920:0:420', 1920, 1920, 25],
    ['transpose', '-vf transpose=1', 1080, 1920, 25],
    ['fps filter', '-vf fps=30000/1001', 1920, 1080, 30_000 / 1001],
    ['-r', '-r 12.5', 1920, 1080, 12.5],
    ['unknown filters', '-vf hue=s=0,eq=contrast=1.1', 1920, 1080, 25],
    ['an expression that cannot be known', '-vf scale=t*2:-1', 1920, 1080, 25],
  ])('follows %s', (_, option, width, height, fps) => {
    const [output] = outputs(`ffmpeg -i in.mp4 ${option} -c:v libx264 out.mp4`);
    expect(output).toMatchObject({ width, height, fps });
  });

  it.each([
    ['crf', 'libx264', '-crf 20', { crf: 20 }],
    ['bitrate', 'libx264', '-b:v 2.5M', { bitrateBps: 2_500_000 }],
    ['crf over bitrate', 'libvpx-vp9', '-crf 31 -b:v 0', { crf: 31 }],
    ['quantiser', 'libx264', '-qp 22', { crf: 22 }],
    ['quality scale', 'mpeg2video', '-q:v 5', { crf: 5 }],
    ['crf inside x265-params', 'libx265', '-x265-params crf=19:log-level=none', { crf: 19 }],
    ['kilobits inside x265-params', 'libx265', '-x265-params bitrate=900', { bitrateBps: 900_000 }],
    ['the default of x265', 'libx265', '', { crf: 28 }],
    ['the default of MPEG-2', 'mpeg2video', '', { bitrateBps: 200_000 }],
  ])('reads %s', (_, encoder, option, rate) => {
    expect(outputs(`ffmpeg -i in.mp4 -c:v ${encoder} ${option} out.mp4`)[0]!.rate).toEqual(rate);
  });

  it('names encoder options as the encoder does, parameter lists included, and leaves thread options out', () => {
    const [output] = outputs(
      'ffmpeg -i in.mp4 -c:v libx264 -preset slow -tune film -refs 3 -bf 2 -g 50 -x264-params subme=4:threads=2 out.mp4',
    );
    expect(output!.preset).toBe('slow');
    expect(output!.options).toEqual({ tune: 'film', ref: '3', bframes: '2', keyint: '50', subme: '4' });
  });

  it.each([
    ['out.mp4', 'libx264'],
    ['out.webm', 'libvpx-vp9'],
    ['out.ts', 'mpeg2video'],
    ['out.avi', 'mpeg4'],
    ['-f null -', 'wrapped_avframe'],
    ['-c:v hevc out.mp4', 'libx265'],
    ['-vcodec libsvtav1 out.mkv', 'libsvtav1'],
    ['-codec:v copy out.mkv', 'copy'],
    ['-c copy -c:v libx264 out.mkv', 'libx264'],
  ])('knows the encoder of %s', (output, encoder) => {
    expect(outputs(`ffmpeg -i in.mp4 ${output}`).map((o) => o.encoder)).toEqual([encoder]);
  });

  it('reads a ladder of mapped streams of one output, each with its own options', () => {
    const ladder = outputs(
      "ffmpeg -i in.mp4 -filter_complex '[0:v]split=2[a][b];[a]scale=1280:720[hi];[b]scale=640:-2,fps=12.5[lo]' " +
        '-map [hi] -map [lo] -map 0:a -c:v libx264 -b:v:0 3M -b:v:1 800k -preset:v:1 ultrafast -c:a aac out.mpd',
    );
    expect(ladder).toMatchObject([
      { width: 1280, height: 720, fps: 25, rate: { bitrateBps: 3_000_000 }, preset: '' },
      { width: 640, height: 360, fps: 12.5, rate: { bitrateBps: 800_000 }, preset: 'ultrafast' },
    ]);
  });

  it('reads several output files', () => {
    const files = outputs('ffmpeg -i in.mp4 -s 1280x720 -c:v libx264 a.mp4 -s 640x360 -c:v libx265 b.mp4');
    expect(files.map((o) => [o.encoder, o.width])).toEqual([
      ['libx264', 1280],
      ['libx265', 640],
    ]);
  });

  it('gives the unlabelled end of a complex graph to the first output', () => {
    const [output] = outputs('ffmpeg -i in.mp4 -filter_complex [0:v]scale=320:180 -c:v libx264 out.mp4');
    expect(output).toMatchObject({ width: 320, height: 180 });
  });

  it('takes the largest picture when nothing is mapped, and the mapped one otherwise', () => {
    const small = { ...HD, width: 640, height: 360 };
    expect(outputs('ffmpeg -i a -i b -c:v libx264 o.mp4', [small, HD])[0]!.width).toBe(1920);
    expect(outputs('ffmpeg -i a -i b -map 0:v -c:v libx264 o.mp4', [small, HD])[0]!.width).toBe(640);
  });

  it.each([
    ['-vn', 'ffmpeg -i in.mp4 -vn out.mp4'],
    ['an audio format', 'ffmpeg -i in.mp4 out.mp3'],
    ['only audio mapped', 'ffmpeg -i in.mp4 -map 0:a out.mp4'],
    ['an input without video', 'ffmpeg -i in.wav out.mp4'],
  ])('finds no video with %s', (reason, line) => {
    expect(outputs(line, [reason === 'an input without video' ? undefined : HD])).toEqual([]);
  });

  it('counts a tee as one encode', () => {
    const line = "ffmpeg -i in.mp4 -map 0:v -c:v libx264 -f tee '[f=mpegts]udp://h:1|out.mp4'";
    expect(outputs(line)).toHaveLength(1);
  });
});

describe('filter graphs', () => {
  it('keeps separators inside quotes and after backslashes', () => {
    const [chain] = parseFilterGraph("drawtext=text='a,b;c':x=10,scale=w=min(640\\,iw):h=-2");
    expect(chain!.filters.map((f) => f.name)).toEqual(['drawtext', 'scale']);
    expect(applyFilters(HD, chain!.filters)).toMatchObject({ width: 640, height: 360 });
  });

  it.each([
    ['yuv420p', 8],
    ['yuv420p10le', 10],
    ['p010le', 10],
    ['gbrp12le', 12],
    ['nv12', 8],
    ['rgb24', 8],
  ])('knows the depth of %s', (format, depth) => {
    expect(pixelFormatDepth(format)).toBe(depth);
  });
});
