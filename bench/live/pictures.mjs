/**
 * Pictures that no calibration saw: the given clips, entered at seeded places, and pictures drawn by generators, or with
 * settings, that src/client/calibrate-clips.ts does not use.
 */
import { execFile } from 'node:child_process';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** Files to transcode, each of at least `seconds` from where it is entered. Made ones are written to `dir`. */
export async function pictures({ inputs, seconds, dir, random }) {
  const given = [];
  for (const path of inputs) {
    const length = await mediaSeconds(path);
    if (!(length > 2)) throw new Error(`${path}: its length is not known; give a file of some seconds`);
    // A clip that is shorter than a channel begins anew.
    const loops = length < seconds;
    given.push({
      name: basename(path),
      path,
      loops,
      from: () => (loops ? 0 : random() * (length - seconds)),
    });
  }
  const made = [];
  for (const [name, graph] of Object.entries(GENERATORS)) {
    const seed = 1_000 + Math.floor(random() * 1e6);
    const fps = pick(random, [25, 30, 24, 50]);
    const size = pick(random, ['640x360', '720x404', '960x540', '1280x720']);
    const path = join(dir, `${name}.mkv`);
    await makeClip(path, graph({ fps, seed }), size, fps, seconds + 1, pick(random, INPUT_ENCODERS));
    made.push({ name, path, loops: false, from: () => 0 });
  }
  return { given, made };
}

/** One second of key frames apart, as contributions have it. */
async function makeClip(path, graph, size, fps, seconds, encoder) {
  const [width, height] = size.split('x');
  const source = [
    '-f',
    'lavfi',
    '-i',
    `${graph},scale=${width}:${height},format=yuv420p`,
    '-t',
    String(seconds),
  ];
  const args = ['-nostdin', '-v', 'error', '-y', ...source, ...encoder, '-g', String(fps), path];
  await exec('ffmpeg', args, { timeout: 180_000 });
}

async function mediaSeconds(path) {
  const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path];
  return Number((await exec('ffprobe', args)).stdout.trim());
}

export function pick(random, from) {
  return from[Math.floor(random() * from.length)];
}

const INPUT_ENCODERS = [
  ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '19'],
  ['-c:v', 'libx264', '-preset', 'superfast', '-b:v', '4M'],
  ['-c:v', 'mpeg2video', '-q:v', '3', '-bf', '2'],
  ['-c:v', 'libx265', '-preset', 'ultrafast', '-crf', '22', '-x265-params', 'log-level=none'],
];

/** From flat moving shapes over camera-like pans to texture that no prediction helps against. */
const GENERATORS = {
  'moving-boxes': ({ fps }) =>
    `color=c=0x305070:s=640x360:r=${fps},drawbox=x='mod(t*90,600)':y='100+80*sin(t*2)':w=60:h=60:c=orange:t=fill,` +
    `drawbox=x='300+200*sin(t)':y='mod(t*50,320)':w=90:h=40:c=white:t=fill`,
  'testsrc-grain': ({ fps, seed }) => `testsrc=s=640x360:r=${fps},noise=alls=7:allf=t:all_seed=${seed}`,
  'rule-30': ({ fps, seed }) => `cellauto=s=320x180:r=${fps}:rule=30:seed=${seed},gblur=sigma=1.2`,
  'triangles-pan': ({ fps, seed }) =>
    `sierpinski=s=640x360:r=${fps}:type=triangle:seed=${seed},gblur=sigma=0.7`,
  spiral: ({ fps, seed }) => `gradients=s=320x180:r=${fps}:type=spiral:speed=0.02:nb_colors=8:seed=${seed}`,
  plasma: ({ fps }) =>
    `nullsrc=s=320x180:r=${fps},geq=lum='128+60*sin(X/17+T*3)+60*cos(Y/11-T*2)':cb='128+40*sin((X+Y)/40+T)':cr=128`,
  'zoom-in': ({ fps }) =>
    `mandelbrot=s=640x360:r=${fps}:start_scale=0.02:start_x=-0.7436:start_y=0.1318,loop=loop=-1:size=1,` +
    `setpts=N/${fps}/TB,gblur=sigma=1,zoompan=z='1+0.002*on':d=1:s=640x360:fps=${fps}`,
  swing: ({ fps }) => `yuvtestsrc=s=640x360:r=${fps},rotate='0.5*sin(t)'`,
  tilt: ({ fps }) => `testsrc2=s=640x360:r=${fps},perspective=x0='40*sin(in/20)':eval=frame`,
  'mp-test': ({ fps }) => `mptestsrc=r=${fps}`,
  'hue-trails': ({ fps }) => `rgbtestsrc=s=640x360:r=${fps},scroll=h=0.01,lagfun=decay=0.9,hue=h='20*t'`,
  'bars-hiss': ({ fps, seed }) => `pal75bars=s=640x360:r=${fps},noise=alls=15:allf=t+p:all_seed=${seed}`,
};
