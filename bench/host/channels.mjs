/** Who comes when: a seeded sequence of small mixed live channels, the same for every policy. */
import { basename } from 'node:path';
import { dist } from '../live/daemon.mjs';
import { pick } from '../live/pictures.mjs';
import { drawOutput } from './kinds.mjs';

const { clipFile, clipGrid, clipSource } = await import(`${dist}/client/calibrate-clips.js`);
const { SIZES } = await import(`${dist}/client/calibrate-plan.js`);
const { parseFfmpegCommand } = await import(`${dist}/client/ffmpeg-args.js`);
const { defaultCacheDir } = await import(`${dist}/client/ffmpeg-build.js`);
const { commandSignature } = await import(`${dist}/client/signature.js`);
const { costTableDemand } = await import(`${dist}/forecast/cost-table.js`);

/** By the static table, which is up to twice of what so small a channel takes; the run measures that. */
const LEAST_CORES = 0.04;
const MOST_CORES = 0.5;
const CLIPS = 10;

/**
 * Arrivals {atS, lifeS, name, encoder, words, tableCores} up to `seconds`. First a ramp: `asked` channels within `fillS`,
 * evenly. Then Poisson arrivals that keep up this number.
 */
export async function drawSequence({ random, seconds, fillS, asked, lifeS, inputs }) {
  const pictures = await picturesOf(random, inputs);
  const meanLifeS = (lifeS.least + lifeS.most) / 2;
  const arrivals = [];
  for (let atS = 0; atS < seconds; ) {
    arrivals.push({ atS, ...(await drawPriced(random, pictures, lifeS)) });
    atS += atS < fillS ? fillS / asked : (-Math.log(1 - random()) * meanLifeS) / asked;
  }
  return arrivals;
}

/** Half of the channels from the given clips where there are any; the others from clips that calibration makes. */
async function picturesOf(random, inputs) {
  const clips = clipGrid(SIZES, []).filter(({ height, fps }) => height <= 720 && height >= 240 && fps <= 30);
  const made = [];
  for (let i = 0; i < CLIPS; i++) {
    const [clip] = clips.splice(Math.floor(random() * clips.length), 1);
    const path = await clipFile(clip, 'ffmpeg', `${defaultCacheDir()}/clips`);
    made.push({ name: clipSource(clip), path });
  }
  return { made, given: inputs.map((path) => ({ name: basename(path), path })) };
}

const prices = new Map();

async function drawPriced(random, { made, given }, life) {
  for (;;) {
    const picture = pick(random, given.length > 0 && random() < 0.5 ? given : made);
    const lifeS = Math.round(life.least + random() * (life.most - life.least));
    const { encoder, output } = drawOutput(random);
    const words = ffmpegWords(picture, lifeS, output);
    const key = `${picture.path} ${output.join(' ')}`;
    if (!prices.has(key)) prices.set(key, await priceOf(words));
    const tableCores = prices.get(key);
    if (tableCores < LEAST_CORES || tableCores > MOST_CORES) continue;
    return { lifeS, name: picture.name, encoder, words, tableCores };
  }
}

async function priceOf(words) {
  const { signature } = await commandSignature(parseFfmpegCommand(words), { probe: true, timeoutMs: 20_000 });
  return costTableDemand(signature);
}

/**
 * FFmpeg's words for a channel of `lifeS` seconds at real time, its packets' times on standard output.
 */
function ffmpegWords({ path }, lifeS, output) {
  return [
    ...['ffmpeg', '-nostdin', '-y', '-hide_banner', '-v', 'error', '-re', '-stream_loop', '-1'],
    ...['-t', String(lifeS), '-i', path, '-map', '0:v:0', ...output],
    ...['-an', '-flush_packets', '1', '-f', 'framecrc', 'pipe:1'],
  ];
}
