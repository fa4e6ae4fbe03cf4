import { describe, expect, it } from 'vitest';
import {
  parseFfmpegCommand,
  parseRate,
  parseSiNumber,
  parseSize,
  streamOption,
} from '../../src/client/ffmpeg-args.js';

const parse = (line: string) => parseFfmpegCommand(line.split(' '));

describe('parseFfmpegCommand', () => {
  it('gives options to the file that follows them, and global ones to the program', () => {
    const command = parse('ffmpeg -y -re -ss 5 -i in.mp4 -c:v libx264 -b:v 1M -loglevel error out.mp4');
    expect(command.globals.map((o) => o.name)).toEqual(['y', 'loglevel']);
    expect(command.inputs).toHaveLength(1);
    expect(command.inputs[0]!.options.map((o) => [o.name, o.value])).toEqual([
      ['re', undefined],
      ['ss', '5'],
    ]);
    expect(command.outputs[0]!.options.map((o) => [o.name, o.specifier, o.value])).toEqual([
      ['c', 'v', 'libx264'],
      ['b', 'v', '1M'],
    ]);
    expect(command.outputs[0]!.url).toBe('out.mp4');
  });

  it.each([
    [
      'several inputs and outputs',
      'ffmpeg -i a -i b -map 0:v x.mp4 -map 1:a y.wav',
      ['a', 'b'],
      ['x.mp4', 'y.wav'],
    ],
    ['a dash as output', 'ffmpeg -i a -f mpegts -', ['a'], ['-']],
    ['a dash as input', 'ffmpeg -i - out.mp4', ['-'], ['out.mp4']],
    ['no-forms of flags', 'ffmpeg -nostdin -noautorotate -i a -nostats out.mp4', ['a'], ['out.mp4']],
    ['a name after --', 'ffmpeg -i a -- -odd.mp4', ['a'], ['-odd.mp4']],
    ['only information', 'ffmpeg -hide_banner -encoders', [], []],
    ['negative values', 'ffmpeg -itsoffset -0.5 -i a -vf scale=-2:720 out.mp4', ['a'], ['out.mp4']],
    [
      'private encoder options',
      'ffmpeg -i a -x264-params ref=1:me=dia -an -shortest o.mp4',
      ['a'],
      ['o.mp4'],
    ],
    [
      'a specifier with a colon',
      'ffmpeg -i a -b:v:1 800k -metadata:s:a:0 language=eng o.mp4',
      ['a'],
      ['o.mp4'],
    ],
  ])('reads %s', (_, line, inputs, outputs) => {
    const command = parse(line);
    expect(command.inputs.map((f) => f.url)).toEqual(inputs);
    expect(command.outputs.map((f) => f.url)).toEqual(outputs);
  });

  it('points each file at the word that new options of that file go in front of', () => {
    const command = parse('ffmpeg -y -i in.mp4 -an out.mp4');
    expect(command.args[command.inputs[0]!.at]).toBe('-i');
    expect(command.args[command.outputs[0]!.at]).toBe('out.mp4');
  });

  it('says what is missing when there is no command or no input after -i', () => {
    expect(() => parseFfmpegCommand([])).toThrow(/no command given/);
    expect(() => parse('ffmpeg -i')).toThrow(/-i stands last/);
  });
});

describe('streamOption', () => {
  const { options } = parse('ffmpeg -i a -b:v 1M -b:v:1 500k -b:a 128k -b:2 64k o.mp4').outputs[0]!;

  it.each([
    ['the first video stream', { video: 0, absolute: 0 }, '1M'],
    ['a numbered video stream', { video: 1, absolute: 1 }, '500k'],
    ['a stream by its absolute number', { video: 5, absolute: 2 }, '64k'],
  ])('finds the value for %s', (_, stream, value) => {
    expect(streamOption(options, stream, ['b'])).toBe(value);
  });
});

it.each([
  ['800k', 800_000],
  ['1.5M', 1_500_000],
  ['2Mi', 2_097_152],
  ['1kB', 8_000],
  ['1e6', 1_000_000],
  ['4000000', 4_000_000],
  ['lots', undefined],
  ['', undefined],
  [undefined, undefined],
])('parseSiNumber reads %s as %s', (text, value) => {
  expect(parseSiNumber(text)).toBe(value);
});

it.each([
  ['25', 25],
  ['30000/1001', 30_000 / 1001],
  ['ntsc', 30_000 / 1001],
  ['12.5', 12.5],
  ['0', undefined],
  ['x', undefined],
])('parseRate reads %s as %s', (text, value) => {
  expect(parseRate(text)).toBe(value);
});

it.each([
  ['1280x720', { width: 1280, height: 720 }],
  ['hd1080', { width: 1920, height: 1080 }],
  ['wide', undefined],
])('parseSize reads %s', (text, value) => {
  expect(parseSize(text)).toEqual(value);
});
