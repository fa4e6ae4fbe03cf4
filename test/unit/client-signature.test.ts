import { describe, expect, it } from 'vitest';
import { channelClassOf } from '../../src/client/channel-class.js';
import { packetBitrate, packetComplexity } from '../../src/client/complexity.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { parseSvtVersion } from '../../src/client/ffmpeg-build.js';
import { parseProbe } from '../../src/client/ffprobe.js';
import { seconds, signatureFrom } from '../../src/client/signature.js';
import { parseSiti } from '../../src/client/siti.js';

/** What ffprobe 5.1 says of two seconds of testsrc2 by libx264 -preset ultrafast -g 12 (its first ten packets). */
const SIZES = [16_447, 7_374, 8_410, 8_337, 8_859, 7_552, 8_282, 8_595, 8_836, 8_641];
const PROBED = JSON.stringify({
  packets: SIZES.map((size, i) => ({
    pts_time: (i * 0.04).toFixed(6),
    dts_time: (i * 0.04).toFixed(6),
    size: String(size),
    flags: i === 0 ? 'K_' : '__',
  })),
  programs: [],
  streams: [
    {
      codec_name: 'h264',
      width: 640,
      height: 360,
      pix_fmt: 'yuv420p',
      r_frame_rate: '25/1',
      avg_frame_rate: '25/1',
      bit_rate: '1868868',
      bits_per_raw_sample: '8',
    },
  ],
  format: { bit_rate: '1873144' },
});

describe('parseProbe', () => {
  it('reads stream and packets', () => {
    const facts = parseProbe(PROBED)!;
    expect(facts).toMatchObject({
      codec: 'h264',
      width: 640,
      height: 360,
      fps: 25,
      bitrateBps: 1_868_868,
      bitDepth: 8,
    });
    expect(facts.packets).toHaveLength(10);
    expect(facts.packetSeconds).toBeCloseTo(0.4, 6);
  });

  it('finds no video where there is none, and says so of text that is not JSON', () => {
    expect(parseProbe('{"streams":[]}')).toBeUndefined();
    expect(() => parseProbe('no')).toThrow(/did not answer with JSON/);
  });

  it.each([
    ['an unknown average rate', { avg_frame_rate: '0/0', r_frame_rate: '24/1' }, 24],
    ['an absurd average rate', { avg_frame_rate: '90000/1', r_frame_rate: '30/1' }, 30],
    ['no rate at all', {}, 25],
  ])('copes with %s', (_, rates, fps) => {
    expect(parseProbe(JSON.stringify({ streams: [{ width: 2, height: 2, ...rates }] }))!.fps).toBe(fps);
  });

  it.each([
    [{ pix_fmt: 'yuv420p10le' }, 10],
    [{ bits_per_raw_sample: '10' }, 10],
    [{ pix_fmt: 'yuv444p12le' }, 12],
    [{ pix_fmt: 'yuv420p' }, 8],
  ])('reads the depth of %o', (stream, depth) => {
    expect(parseProbe(JSON.stringify({ streams: [{ width: 2, height: 2, ...stream }] }))!.bitDepth).toBe(
      depth,
    );
  });
});

describe('complexity from packets', () => {
  it('is bits per pixel, variation and key frame ratio', () => {
    const complexity = packetComplexity(parseProbe(PROBED)!);
    const total = SIZES.reduce((a, b) => a + b);
    const others = (total - SIZES[0]!) / 9;
    expect(complexity.bitsPerPixel).toBeCloseTo((total * 8) / (640 * 360 * 10), 9);
    expect(complexity.keyframeRatio).toBeCloseTo(SIZES[0]! / others, 9);
    expect(complexity.packetSizeVariation).toBeCloseTo(0.271886, 6);
  });

  it('stands in for a bitrate that the container does not say', () => {
    const total = SIZES.reduce((a, b) => a + b);
    expect(packetBitrate(parseProbe(PROBED)!)).toBe(Math.round((total * 8) / 0.4));
  });

  it('is empty without packets', () => {
    expect(packetComplexity({ ...parseProbe(PROBED)!, packets: [] })).toEqual({});
  });
});

it('signatureFrom joins the largest input with every output', () => {
  const command = parseFfmpegCommand('ffmpeg -i a -i b -map 1:v -c:v libx264 -s 640x360 o.mp4'.split(' '));
  const video = { codec: 'h264', width: 320, height: 180, fps: 25, bitrateBps: 1e5, bitDepth: 8 };
  const large = { ...video, width: 1920, height: 1080 };
  const { signature } = signatureFrom(command, [
    { video, complexity: {} },
    { video: large, complexity: { bitsPerPixel: 0.1 } },
  ]);
  expect(signature!.input).toEqual(large);
  expect(signature!.complexity).toEqual({ bitsPerPixel: 0.1 });
  expect(signature!.outputs).toMatchObject([{ encoder: 'libx264', width: 640, height: 360 }]);
});

it('parseSiti reads the summary of FFmpeg’s siti filter', () => {
  const text =
    '[Parsed_siti_0 @ 0x1] SITI Summary:\nTotal frames: 25\n\nSpatial Information:\nAverage: 19.675056\nMax: 19.7\n' +
    'Min: 19.4\n\nTemporal Information:\nAverage: 0.809665\nMax: 1.0\nMin: 0.0\n';
  const found = parseSiti(text)!;
  expect(found.spatial).toBe(19.675056);
  // The filter's mean counts a first frame that has none before it.
  expect(found.temporal).toBeCloseTo((0.809665 * 25) / 24, 9);
  expect(parseSiti('nothing')).toBeUndefined();
});

it.each([
  ['Svt[info]: SVT [version]:\tSVT-AV1 Encoder Lib v1.4.1', 1],
  ['Svt[info]: SVT [version]:\tSVT-AV1 Encoder Lib 3.0.2', 3],
  ['x264', undefined],
])('parseSvtVersion reads %s', (text, major) => {
  expect(parseSvtVersion(text)).toBe(major);
});

it.each([
  ['90', 90],
  ['1:30', 90],
  ['00:01:30.5', 90.5],
  [undefined, 0],
  ['x', 0],
])('seconds reads %s', (text, value) => {
  expect(seconds(text)).toBe(value);
});

it.each([
  ['-re -i in.mp4 out.mp4', 'live'],
  ['-readrate 1 -i in.mp4 out.mp4', 'live'],
  ['-i rtmp://ingest/live out.mp4', 'live'],
  ['-i in.mp4 -f flv rtmp://cdn/live', 'live'],
  ['-f v4l2 -i /dev/video0 out.mp4', 'live'],
  ['-i in.mp4 -f rtsp rtsp://h/s', 'live'],
  ['-i in.mp4 out.mp4', 'vod'],
  ['-i https://host/in.mp4 out.mp4', 'vod'],
])('takes "%s" for %s', (line, channelClass) => {
  expect(channelClassOf(parseFfmpegCommand(['ffmpeg', ...line.split(' ')]))).toBe(channelClass);
});
