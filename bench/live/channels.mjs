/**
 * Channels that no calibration measured: other presets, options, rate controls, sizes and frame rates than
 * src/client/calibrate-plan.ts draws, and encoders that it does not have. A draw is a seeded sample.
 */
import { pick } from './pictures.mjs';

/** `weight`: about as often as channels in the field use it. */
const ENCODERS = [
  {
    name: 'libx264',
    weight: 38,
    options: [
      ['-preset', 'faster', '-tune', 'zerolatency', '-profile:v', 'baseline'],
      ['-preset', 'veryfast', '-x264-params', 'keyint=48:min-keyint=48:scenecut=0:ref=4:bframes=4:b-adapt=2'],
      ['-preset', 'medium', '-tune', 'grain'],
      ['-preset', 'fast', '-x264-params', 'no-deblock=1:no-cabac=1'],
      ['-preset', 'superfast', '-bf', '2', '-refs', '2'],
      ['-preset', 'slow', '-x264-params', 'rc-lookahead=25:me=hex:subme=5'],
      ['-preset', 'veryslow'],
      ['-preset', 'ultrafast', '-tune', 'zerolatency', '-intra-refresh', '1'],
      ['-preset', 'veryfast', '-pix_fmt', 'yuv420p10le'],
      ['-preset', 'medium', '-tune', 'ssim', '-aq-mode', '3'],
    ],
    rates: (bits) => [['-crf', '18'], ['-crf', '24'], ['-crf', '33'], capped(bits), capped(bits)],
  },
  {
    name: 'libx265',
    weight: 14,
    options: [
      ['-preset', 'veryfast', '-x265-params', 'bframes=0:ref=1'],
      ['-preset', 'ultrafast', '-tune', 'grain'],
      ['-preset', 'superfast', '-pix_fmt', 'yuv420p10le'],
      ['-preset', 'medium', '-x265-params', 'rd=2:rc-lookahead=10'],
      ['-preset', 'faster', '-x265-params', 'keyint=50:scenecut=0'],
    ],
    rates: (bits) => [['-crf', '23'], ['-crf', '31'], capped(bits)],
  },
  {
    name: 'libsvtav1',
    weight: 10,
    options: [
      ['-preset', '12', '-svtav1-params', 'tune=0'],
      ['-preset', '9', '-g', '60'],
      ['-preset', '11', '-svtav1-params', 'enable-tf=0'],
      ['-preset', '8', '-svtav1-params', 'scd=0'],
    ],
    rates: (bits) => [['-crf', '30'], ['-crf', '46'], bitrate(bits)],
  },
  {
    name: 'libvpx-vp9',
    weight: 9,
    options: [
      ['-deadline', 'good', '-cpu-used', '5'],
      ['-deadline', 'realtime', '-cpu-used', '7', '-tile-columns', '2', '-frame-parallel', '1'],
      ['-deadline', 'realtime', '-cpu-used', '5', '-lag-in-frames', '0', '-aq-mode', '3'],
    ],
    rates: (bits) => [bitrate(bits), ['-crf', '32', '-b:v', '0']],
  },
  {
    name: 'libvpx',
    weight: 6,
    options: [
      ['-deadline', 'good', '-cpu-used', '4'],
      ['-deadline', 'realtime', '-cpu-used', '6', '-lag-in-frames', '0'],
      ['-deadline', 'realtime', '-cpu-used', '10'],
    ],
    rates: (bits) => [bitrate(bits)],
  },
  {
    name: 'libaom-av1',
    weight: 7,
    options: [
      ['-usage', 'realtime', '-cpu-used', '8'],
      ['-usage', 'realtime', '-cpu-used', '7', '-lag-in-frames', '0'],
      ['-usage', 'realtime', '-cpu-used', '8', '-aq-mode', '3', '-tile-columns', '1'],
    ],
    rates: (bits) => [bitrate(bits)],
  },
  {
    name: 'mpeg2video',
    weight: 6,
    standardRates: true,
    options: [
      ['-g', '15'],
      ['-g', '12', '-bf', '3', '-trellis', '1'],
    ],
    rates: (bits) => [['-q:v', '4'], capped(3 * bits)],
  },
  {
    name: 'mjpeg',
    weight: 3,
    options: [[]],
    rates: () => [
      ['-q:v', '3'],
      ['-q:v', '9'],
    ],
  },
  { name: 'libxvid', weight: 2, options: [['-bf', '1']], rates: (bits) => [bitrate(bits), ['-q:v', '5']] },
  { name: 'libtheora', weight: 2, options: [[]], rates: () => [['-q:v', '6']] },
  { name: 'flv', weight: 2, options: [['-g', '50']], rates: (bits) => [bitrate(bits)] },
  {
    name: 'mpeg1video',
    weight: 1,
    standardRates: true,
    options: [['-g', '12']],
    rates: (bits) => [bitrate(2 * bits)],
  },
];

const SIZES = ['1600x900', '1152x648', '960x540', '720x576', '704x396', '512x288', '480x270', '320x180'];
/** libavcodec's MPEG-1 and MPEG-2 know a list of frame rates only. */
const FRAME_RATES = [12, 18, 20, 24, 30];
const STANDARD_RATES = [24, 25, 30];
const FILTERS = ['hqdn3d', 'unsharp', 'yadif=0', 'eq=contrast=1.1'];

/** FFmpeg's words for one channel of `seconds`, at real time. `from`: where the picture is entered. */
export function drawChannel(random, picture, seconds) {
  const encoder = weighted(random);
  const options = pick(random, encoder.options);
  const outputs = random() < 0.2 ? 2 + Math.floor(random() * 2) : 1;
  const from = picture.from();
  const words = ['ffmpeg', '-nostdin', '-y', '-hide_banner', '-v', 'error', '-re'];
  if (picture.loops) words.push('-stream_loop', '-1');
  if (from > 0) words.push('-ss', from.toFixed(2));
  words.push('-t', String(seconds), '-i', picture.path);
  const first = Math.floor(random() * SIZES.length);
  const own = outputs === 1 && random() < 0.3;
  const rate =
    random() < 0.25 ? pick(random, encoder.standardRates ? STANDARD_RATES : FRAME_RATES) : undefined;
  const filter = random() < 0.15 ? [pick(random, FILTERS)] : [];
  for (let i = 0; i < outputs; i++) {
    const [width, height] = SIZES[Math.min(SIZES.length - 1, first + 2 * i)].split('x').map(Number);
    const filters = [...filter, ...(own ? [] : [`scale=${width}:${height}`])];
    const fps = rate ?? (encoder.standardRates ? 25 : undefined);
    const bits = width * height * 25 * 0.03 * 5 ** random();
    words.push('-map', '0:v:0', ...(filters.length > 0 ? ['-vf', filters.join(',')] : []));
    words.push(...(fps === undefined ? [] : ['-r', String(fps)]), '-c:v', encoder.name, ...options);
    words.push(...pick(random, encoder.rates(bits)), '-f', 'matroska', '/dev/null');
  }
  return { encoder: encoder.name, words };
}

function weighted(random) {
  let left = random() * ENCODERS.reduce((sum, { weight }) => sum + weight, 0);
  for (const encoder of ENCODERS) {
    left -= encoder.weight;
    if (left <= 0) return encoder;
  }
  return ENCODERS[0];
}

function bitrate(bits) {
  return ['-b:v', `${Math.max(60, Math.round(bits / 1000))}k`];
}

/** As contribution and delivery links ask for it. */
function capped(bits) {
  const kilobits = Math.max(60, Math.round(bits / 1000));
  return ['-b:v', `${kilobits}k`, '-maxrate', `${kilobits}k`, '-bufsize', `${2 * kilobits}k`];
}
