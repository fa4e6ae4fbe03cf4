/**
 * A row of x264_ugc as a channel's signature.
 *
 * - Options by name (ref, me, subme, trellis, bframes, rc_lookahead). A set has others that no column names; `config` is
 *   the set's number and stands in for them, as `set`: an option that the encoder's effects do not know, but a model's
 *   vocabulary does.
 * - Size; frames per second. YouTube-UGC's clips last 20 s, so frames / 20; a clip of a few frames is a broken one and
 *   counts as 30.
 * - Complexity: spatial and temporal at about SI/TI's scale, and how much the bitrate varies between chunks.
 * - Category as the channel's content.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const CLIP_S = 20;
const LEAST_FRAMES = 100;
const USUAL_FPS = 30;
const TO_SITI = 100;
const NEEDED =
  'video category width height spatial temporal chunk_var config usertime systemtime frames'.split(' ');
const OPTIONS = ['ref', 'me', 'subme', 'trellis', 'bframes', 'rc_lookahead'];

/** Rows with `y`, CPU seconds per frame; those without any are clock underflow and left out. */
export function readUgc(file) {
  const [head, ...lines] = gunzipSync(readFileSync(file)).toString().trim().split('\n');
  const columns = head.split(',');
  const missing = [...NEEDED, ...OPTIONS].filter((name) => !columns.includes(name));
  if (missing.length > 0) throw new Error(`${file} lacks the columns ${missing.join(', ')}`);
  return lines.map((line) => rowOf(columns, line.split(','))).filter(({ y }) => y > 0);
}

export function byVideo(rows) {
  const videos = new Map();
  for (const row of rows) {
    const known = videos.get(row.video);
    if (known === undefined) videos.set(row.video, [row]);
    else known.push(row);
  }
  return videos;
}

export function signatureOf(row) {
  const { width, height, fps, category, spatial, temporal, chunkVar } = row;
  const { rc_lookahead: lookahead, ...options } = row.options;
  return {
    input: { codec: 'h264', width, height, fps, bitrateBps: 0, bitDepth: 8 },
    outputs: [
      {
        encoder: 'libx264',
        preset: 'medium',
        ...{ width, height, fps, rate: { crf: 23 }, bitDepth: 8 },
        options: {
          ...options,
          ...(lookahead === 'None' ? { mbtree: '0', 'rc-lookahead': '0' } : { 'rc-lookahead': lookahead }),
          set: row.config,
        },
      },
    ],
    complexity: { spatial: spatial * TO_SITI, temporal: temporal * TO_SITI, packetSizeVariation: chunkVar },
    content: category,
  };
}

function rowOf(columns, cells) {
  const cell = (name) => cells[columns.indexOf(name)];
  const number = (name) => Number(cell(name));
  const frames = number('frames');
  return {
    video: cell('video'),
    category: cell('category'),
    width: number('width'),
    height: number('height'),
    fps: frames >= LEAST_FRAMES ? frames / CLIP_S : USUAL_FPS,
    spatial: number('spatial'),
    temporal: number('temporal'),
    chunkVar: number('chunk_var'),
    config: cell('config'),
    options: Object.fromEntries(OPTIONS.map((name) => [name, cell(name)])),
    y: frames > 0 ? (number('usertime') + number('systemtime')) / frames : 0,
  };
}
