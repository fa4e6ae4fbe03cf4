import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { continuationOf, nextSequence, partName, withOpenPlaylists } from '../../src/client/continuity.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { KeptOutputs } from '../../src/client/kept-outputs.js';
import { atRung, parseRung } from '../../src/client/rungs.js';
import { shellWords } from '../../src/client/shell-words.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-rungs-'));
  writeFileSync(join(dir, 'in.mp4'), 'x');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const at = (line: string, rung: string, restart?: Parameters<typeof atRung>[2]) =>
  atRung(parseFfmpegCommand(line.split(' ')), parseRung(shellWords(rung), rung), restart)
    .join(' ')
    .replaceAll(`${dir}/`, '');

describe('atRung', () => {
  it.each([
    [
      'replaces the same option',
      'ffmpeg -i live -c:v libx264 -preset slow -c:a aac -f flv out',
      '-preset ultrafast',
      'ffmpeg -i live -c:v libx264 -c:a aac -f flv -preset ultrafast out',
    ],
    [
      'replaces every way to say a rate',
      'ffmpeg -i live -c:v libx264 -crf 20 -b:a 128k -f flv out',
      '-b:v 800k',
      'ffmpeg -i live -c:v libx264 -b:a 128k -f flv -b:v 800k out',
    ],
    [
      'replaces filters under both names',
      'ffmpeg -i live -filter:v scale=1280:720 -f flv out',
      "-vf 'scale=640:360'",
      'ffmpeg -i live -f flv -vf scale=640:360 out',
    ],
    [
      'changes every video output and leaves audio ones alone',
      'ffmpeg -i live -preset slow -f flv a -vn -c:a aac -f adts b',
      '-preset ultrafast',
      'ffmpeg -i live -f flv -preset ultrafast a -vn -c:a aac -f adts b',
    ],
  ])('%s', (_, line, rung, expected) => {
    expect(at(line, rung)).toBe(expected);
  });

  const restart = { mediaSeconds: 12.5, frames: 312, part: 2 };

  it('enters a file input again where the outputs had got to, and a live one where it is', () => {
    const line = `ffmpeg -re -ss 10 -i ${dir}/in.mp4 -f flv rtmp://h/a`;
    expect(at(line, '-crf 30', restart)).toBe('ffmpeg -re -ss 22.500 -i in.mp4 -f flv -crf 30 rtmp://h/a');
    expect(at('ffmpeg -i rtmp://h/b -f flv rtmp://h/a', '-crf 30', restart)).toBe(
      'ffmpeg -i rtmp://h/b -f flv -crf 30 rtmp://h/a',
    );
  });

  it('lets a looped file begin anew', () => {
    const line = `ffmpeg -re -stream_loop -1 -i ${dir}/in.mp4 -f flv rtmp://h/a`;
    expect(at(line, '-crf 30', restart)).toBe(
      'ffmpeg -re -stream_loop -1 -i in.mp4 -f flv -crf 30 rtmp://h/a',
    );
  });

  it('lowers limits on length by what is done', () => {
    const line = `ffmpeg -t 60 -i ${dir}/in.mp4 -t 30 -frames:v 500 -frames:a 9 -f flv rtmp://h/a`;
    expect(at(line, '-crf 30', restart)).toBe(
      'ffmpeg -ss 12.500 -t 47.500 -i in.mp4 -t 17.500 -frames:v 188 -frames:a 9 -f flv -crf 30 rtmp://h/a',
    );
  });

  it('goes on in the same HLS playlist and writes other files in parts', () => {
    expect(at('ffmpeg -i l -hls_time 2 p.m3u8', '-crf 30', restart)).toBe(
      'ffmpeg -i l -hls_time 2 -crf 30 -hls_flags append_list p.m3u8',
    );
    expect(at('ffmpeg -i l -hls_flags delete_segments p.m3u8', '-crf 30', restart)).toBe(
      'ffmpeg -i l -hls_flags delete_segments+append_list -crf 30 p.m3u8',
    );
    expect(at('ffmpeg -i l -hls_segment_type fmp4 no.m3u8', '-crf 30', restart)).toBe(
      'ffmpeg -i l -hls_segment_type fmp4 -crf 30 -hls_flags discont_start -start_number 0 -hls_fmp4_init_filename init.part2.mp4 no.m3u8',
    );
    expect(at('ffmpeg -i l -media_seg_name c-$Number$.m4s d.mpd', '-crf 30', restart)).toBe(
      'ffmpeg -i l -media_seg_name c-$Number$.part2.m4s -crf 30 -init_seg_name init-stream$RepresentationID$.part2.$ext$ d.part2.mpd',
    );
    expect(at('ffmpeg -i l out.mp4', '-crf 30', restart)).toBe('ffmpeg -i l -crf 30 out.part2.mp4');
    expect(at('ffmpeg -i l -f null -', '-crf 30', restart)).toBe('ffmpeg -i l -f null -crf 30 -');
    expect(at('ffmpeg -i l -f mpegts pipe:1', '-crf 30', restart)).toBe(
      'ffmpeg -i l -f mpegts -crf 30 pipe:1',
    );
  });
});

it.each([
  ['out.mp4', 'out.part3.mp4'],
  ['dir.d/out', 'dir.d/out.part3'],
  ['.hidden', '.hidden.part3'],
])('partName of %s is %s', (url, name) => {
  expect(partName(url, 3)).toBe(name);
});

it.each([
  ['-i other.mp4', /has an input/],
  ['out2.mp4', /names an output/],
  ['-preset', /leaves an option without its value/],
  ['', /has no output option/],
  ['-loglevel debug -crf 30', /global option -loglevel/],
])('a rung of "%s" is refused', (text, message) => {
  expect(() => parseRung(shellWords(text), text)).toThrow(message);
});

it.each([
  ['-a b', ['-a', 'b']],
  [`-vf 'scale=1:2, x' "c d" e\\ f ''`, ['-vf', 'scale=1:2, x', 'c d', 'e f', '']],
  ['  ', []],
])('shellWords splits %s', (text, words) => {
  expect(shellWords(text)).toEqual(words);
});

it('shellWords names the quote that is not closed', () => {
  expect(() => shellWords("-vf 'scale")).toThrow(/' is not closed/);
});

it.each([
  ['p.m3u8', 'hls'],
  ['-hls_segment_type fmp4 p.m3u8', 'hls-fmp4'],
  ['-f hls http://h/p', 'hls'],
  ['-f dash out', 'dash'],
  ['file:out.mpd', 'dash'],
  ['-f dash http://h/out.mpd', 'reopened'],
  ['-f flv rtmp://h/a', 'reopened'],
  ['-f mpegts srt://h:1', 'reopened'],
  ['-f null -', 'reopened'],
  ['out.mp4', 'part'],
])('%s goes on as %s', (output, kind) => {
  const { outputs } = parseFfmpegCommand(['ffmpeg', '-i', 'l', ...output.split(' ')]);
  expect(continuationOf(outputs[0]!)).toBe(kind);
});

it('leaves the end of own playlists open, unless the user does or they are elsewhere', () => {
  const line =
    'ffmpeg -i l a.m3u8 -hls_flags delete_segments b.m3u8 -hls_flags omit_endlist c.m3u8 -f hls http://h/d x.mp4';
  expect(withOpenPlaylists(parseFfmpegCommand(line.split(' '))).args.join(' ')).toBe(
    '-i l -hls_flags omit_endlist a.m3u8 -hls_flags delete_segments+omit_endlist b.m3u8 -hls_flags omit_endlist c.m3u8 -f hls http://h/d x.mp4',
  );
});

it('numbers on from a playlist', () => {
  expect(nextSequence('#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\na\n#EXTINF:1,\nb\n')).toBe(9);
  expect(nextSequence('')).toBe(0);
});

it('a rung without an output keeps what its filters lead to, and encodes nothing of it', () => {
  const line =
    'ffmpeg -i l -filter_complex split[a][b] -map [a] -preset slow -t 9 big.m3u8 -map [b] -preset slow small.m3u8';
  const rung = { text: '', options: new Map([[1, ['-preset', 'fast']]]), dropped: [0] };
  expect(atRung(parseFfmpegCommand(line.split(' ')), rung).join(' ')).toBe(
    'ffmpeg -i l -filter_complex split[a][b] -map [a] -t 9 -c:v wrapped_avframe -c:a pcm_s16le -f null - -map [b] -preset fast small.m3u8',
  );
});

describe('KeptOutputs', () => {
  it.each([
    ['ffmpeg -i live -f flv rtmp://h/a', true],
    ['ffmpeg -i live -f flv rtmp://h/a -f mpegts udp://h:1 -f null -', true],
    ['ffmpeg -i live -f flv rtmp://h/a out.mp4', false],
    ['ffmpeg -i live -f tee rtmp://h/a|out.mp4', false],
    ['ffmpeg -i live -f hls http://h/live.m3u8', false],
  ])('%s: streams only: %s', (line, streamsOnly) => {
    expect(new KeptOutputs(parseFfmpegCommand(line.split(' '))).streamsOnly).toBe(streamsOnly);
  });
});
