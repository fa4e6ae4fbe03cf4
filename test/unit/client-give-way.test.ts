import { spawn } from 'node:child_process';
import { getPriority } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { canStartAnew, standBack, startedAnew } from '../../src/client/give-way.js';

const parse = (line: string) => parseFfmpegCommand(line.split(' '));

describe('an FFmpeg that may have to start anew', () => {
  it.each([
    ['ffmpeg -i in.mp4 out.mp4', true],
    ['ffmpeg -i http://cdn/in.m3u8 -f lavfi -i sine -f hls out.m3u8', true],
    ['ffmpeg -i in.mp4 -f null -', true],
    ['ffmpeg -i - out.mp4', false],
    ['ffmpeg -i pipe:0 out.mp4', false],
    ['ffmpeg -f mpegts -i fd: out.mp4', false],
    ['ffmpeg -i /dev/stdin out.mp4', false],
    ['ffmpeg -i in.mp4 -f mpegts pipe:1', false],
    ['ffmpeg -i in.mp4 out.mp4 -f mpegts /dev/fd/5', false],
  ])('%s: %s', (line, can) => {
    expect(canStartAnew(parse(line))).toBe(can);
  });

  it.each([
    ['ffmpeg -i in.mp4 out.mp4', '-y -i in.mp4 out.mp4'],
    ['ffmpeg -n -v error -i in.mp4 out.mp4', '-y -v error -i in.mp4 out.mp4'],
    ['ffmpeg -i in.mp4 -y -n out.mp4', '-y -i in.mp4 out.mp4'],
    ['ffmpeg -y -i in.mp4 out.mp4', '-y -i in.mp4 out.mp4'],
  ])('overwrites what it wrote itself: %s', (line, expected) => {
    expect(startedAnew(parse(line)).args.join(' ')).toBe(expected);
  });

  it('takes nothing from others while it ends', () => {
    const { pid } = own(spawn('sleep', ['60'], { stdio: 'ignore' }));
    standBack(pid!);
    expect(getPriority(pid!)).toBe(19);
    expect(() => standBack(2 ** 22)).not.toThrow();
  });
});

function own(child: ReturnType<typeof spawn>) {
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}
