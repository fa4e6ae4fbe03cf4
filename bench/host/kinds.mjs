/** What channels are made of: encoders, presets, sizes and rates that take 0.05-0.4 cores on a CPU of 2024. */
import { pick } from '../live/pictures.mjs';

/**
 * The encoder's name and FFmpeg's words for one output. At one frame rate, as a platform has it: encoders look ahead and hand
 * out groups of pictures, and of a slow picture a group would look like lateness.
 */
export function drawOutput(random) {
  const kind = weighted(random);
  const [width, height] = pick(random, kind.sizes).split('x').map(Number);
  const preset = pick(random, kind.options);
  const rate =
    random() < 0.6 ? ['-b:v', `${Math.round((width * height * 25 * kind.bits) / 1000)}k`] : kind.quality;
  const output = ['-vf', `fps=25,scale=${width}:${height}`, '-c:v', kind.encoder, ...preset, ...rate];
  return { encoder: kind.encoder, output };
}

function weighted(random) {
  let left = random() * KINDS.reduce((sum, { weight }) => sum + weight, 0);
  for (const kind of KINDS) {
    left -= kind.weight;
    if (left <= 0) return kind;
  }
  return KINDS[0];
}

const SMALL = ['256x144', '320x180', '426x240'];
const MIDDLE = ['426x240', '480x270', '640x360'];
const LARGE = ['640x360', '854x480'];

/** `bits`: a pixel. `quality`: where no bit rate is asked for. */
const KINDS = [
  {
    encoder: 'libx264',
    weight: 30,
    sizes: LARGE,
    options: [
      ['-preset', 'ultrafast'],
      ['-preset', 'superfast'],
      ['-preset', 'veryfast'],
    ],
    bits: 0.1,
    quality: ['-crf', '24'],
  },
  {
    encoder: 'libx264',
    weight: 25,
    sizes: MIDDLE,
    options: [
      ['-preset', 'faster'],
      ['-preset', 'fast', '-tune', 'zerolatency'],
      ['-preset', 'medium'],
    ],
    bits: 0.08,
    quality: ['-crf', '25'],
  },
  {
    encoder: 'libx265',
    weight: 15,
    sizes: MIDDLE,
    options: [
      ['-preset', 'ultrafast', '-x265-params', 'log-level=none'],
      ['-preset', 'superfast', '-x265-params', 'log-level=none'],
    ],
    bits: 0.06,
    quality: ['-crf', '28'],
  },
  {
    encoder: 'libsvtav1',
    weight: 12,
    sizes: SMALL,
    options: [
      ['-preset', '12', '-g', '50'],
      ['-preset', '10', '-g', '50'],
    ],
    bits: 0.06,
    quality: ['-crf', '40'],
  },
  {
    encoder: 'libvpx-vp9',
    weight: 10,
    sizes: MIDDLE,
    options: [
      ['-deadline', 'realtime', '-cpu-used', '8'],
      ['-deadline', 'realtime', '-cpu-used', '7'],
    ],
    bits: 0.07,
    quality: ['-crf', '36', '-b:v', '0'],
  },
  {
    encoder: 'libvpx',
    weight: 8,
    sizes: MIDDLE,
    options: [['-deadline', 'realtime', '-cpu-used', '8']],
    bits: 0.09,
    quality: ['-b:v', '500k'],
  },
];
