import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { CorecastError, messageOf } from '../lib/errors.js';

/** A clip that calibration feeds to FFmpeg: made once from a picture of known difficulty, or a file of the operator's. */
export interface ClipSpec {
  /** A name of PICTURES, or the operator's file. */
  readonly picture: { readonly made: string } | { readonly file: string };
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** True: the operator's file as it is. False: brought to this codec, size and frame rate first. */
  readonly original: boolean;
  /** Where in the operator's file the clip begins, seconds; another part is another picture. */
  readonly fromSeconds?: number;
}

/** Runs of one picture are never split between training and test, whatever size it was brought to. */
export function clipSource(clip: ClipSpec): string {
  return 'made' in clip.picture ? clip.picture.made : basename(clip.picture.file);
}

/** An operator's file and what ffprobe says of it. */
export interface ClipFile {
  readonly path: string;
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** Its length; 0 when the container does not say. */
  readonly seconds?: number;
}

/** Clips of every picture at some of the sizes; codec and frame rate go round, so that each occurs with each. */
export function clipGrid(
  sizes: readonly { width: number; height: number }[],
  files: readonly ClipFile[],
): ClipSpec[] {
  const clips: ClipSpec[] = [];
  for (const [i, made] of Object.keys(PICTURES).entries()) {
    for (let j = 0; j < SIZES_A_PICTURE; j++) {
      const { width, height } = sizes[(i + j * 3) % sizes.length]!;
      const codec = INPUT_CODECS[(i + j) % INPUT_CODECS.length]!;
      const fps = FRAME_RATES[(i * 2 + j) % FRAME_RATES.length]!;
      clips.push({ picture: { made }, codec, width, height, fps, original: false });
    }
  }
  // The operator's files are the nearest there is to what will run: at every size, and as they are, from many places.
  for (const [i, { path, seconds, ...facts }] of files.entries()) {
    const picture = { file: path };
    const places = segmentStarts(seconds ?? 0, sizes.length + ORIGINALS);
    for (const [j, { width, height }] of sizes.entries()) {
      const codec = INPUT_CODECS[(i + j) % INPUT_CODECS.length]!;
      const fromSeconds = places[j]!;
      clips.push({ picture, codec, width, height, fps: facts.fps, original: false, fromSeconds });
    }
    for (const fromSeconds of places.slice(sizes.length)) {
      clips.push({ picture, ...facts, original: true, fromSeconds });
    }
  }
  return clips;
}

/** Places in a file, spread by the golden ratio: any number of them covers it about evenly. */
function segmentStarts(seconds: number, count: number): number[] {
  const last = Math.max(0, seconds - CLIP_S);
  return Array.from({ length: count }, (_, i) => Math.round(last * ((i * 0.618_034) % 1) * 10) / 10);
}

/** The clip's path, made in `cacheDir` if it is not there yet. */
export async function clipFile(clip: ClipSpec, ffmpeg: string, cacheDir: string): Promise<string> {
  const place = clip.fromSeconds === undefined ? '' : `-at${clip.fromSeconds}`;
  const form = clip.original ? 'copy' : `${clip.codec}-g2-${clip.width}x${clip.height}-${clip.fps}`;
  const name = `${clipSource(clip)}-${form}${place}-${clipSeconds(clip)}s.mkv`;
  const path = join(cacheDir, name);
  if (existsSync(path)) return path;
  mkdirSync(cacheDir, { recursive: true });
  const partial = join(cacheDir, `.${process.pid}-${name}`);
  try {
    // Some containers cannot be entered by a seek; reading up to the place always works.
    const made =
      (await makeClip(clip, 'seek', ffmpeg, partial)) || (await makeClip(clip, 'read', ffmpeg, partial));
    if (!made) throw new CorecastError('INVALID_ARGUMENT', `${name} has no picture`);
  } catch (cause) {
    rmSync(partial, { force: true });
    throw new CorecastError('INTERNAL', `FFmpeg could not make the clip ${name}: ${messageOf(cause)}`, {
      cause,
    });
  }
  // A clip is there whole or not at all, whatever interrupts this.
  renameSync(partial, path);
  return path;
}

/** False when it came out empty. */
async function makeClip(
  clip: ClipSpec,
  enter: 'seek' | 'read',
  ffmpeg: string,
  path: string,
): Promise<boolean> {
  // A key frame every other second, as contributions have it; trials enter a clip at one.
  const encode = clip.original ? ['-c:v', 'copy'] : [...ENCODE[clip.codec]!, '-g', String(clip.fps * 2)];
  const args = ['-nostdin', '-v', 'error', '-y', '-progress', 'pipe:1', ...sourceArgs(clip, enter)];
  const limits = { timeout: 120_000, killSignal: 'SIGKILL' } as const;
  const { stdout } = await promisify(execFile)(ffmpeg, [...args, ...encode, '-an', '-sn', path], limits);
  return Number([...stdout.matchAll(/^frame=\s*(\d+)/gm)].at(-1)?.[1] ?? 0) > 0;
}

/** Seconds of a clip; runs loop it. */
const CLIP_S = 6;
const SIZES_A_PICTURE = 3;
/** Clips of an operator's file that are cut out without being touched. */
const ORIGINALS = 8;

/** Large ones are shorter: making them is what takes the time. */
export function clipSeconds(clip: ClipSpec): number {
  return !clip.original && clip.height > 720 ? CLIP_S - 2 : CLIP_S;
}

function sourceArgs(clip: ClipSpec, enter: 'seek' | 'read'): string[] {
  const length = ['-t', String(clipSeconds(clip))];
  if ('file' in clip.picture) {
    const place = clip.fromSeconds === undefined ? [] : ['-ss', String(clip.fromSeconds)];
    const filter = clip.original
      ? []
      : ['-vf', `scale=${clip.width}:${clip.height},format=yuv420p`, '-r', String(clip.fps)];
    const input = ['-i', clip.picture.file];
    return [
      ...(enter === 'seek' ? [...place, ...input] : [...input, ...place]),
      '-map',
      '0:v:0',
      ...length,
      ...filter,
    ];
  }
  const small = { width: Math.min(clip.width, 640), height: Math.min(clip.height, 360) };
  const graph = PICTURES[clip.picture.made]!(clip, small);
  return ['-f', 'lavfi', '-i', `${graph},scale=${clip.width}:${clip.height},format=yuv420p`, ...length];
}

interface Size {
  readonly width: number;
  readonly height: number;
}

const at = (size: Size, clip: ClipSpec) => `s=${size.width}x${size.height}:r=${clip.fps}`;

/** From a still card to noise that no prediction helps against. Slow sources are drawn small and scaled up. */
const PICTURES: Readonly<Record<string, (clip: ClipSpec, small: Size) => string>> = {
  smptebars: (clip) => `smptebars=${at(clip, clip)}`,
  'still-detail': (clip, small) =>
    `mandelbrot=${at(small, clip)},loop=loop=-1:size=1,setpts=N/${clip.fps}/TB`,
  gradients: (clip, small) => `gradients=${at(small, clip)}:speed=0.05:seed=3`,
  'gradients-noise': (clip, small) =>
    `gradients=${at(small, clip)}:speed=0.05:seed=5,noise=alls=12:allf=t:all_seed=7`,
  testsrc2: (clip) => `testsrc2=${at(clip, clip)}`,
  'testsrc2-scroll': (clip) => `testsrc2=${at(clip, clip)},scroll=h=0.01:v=0.004`,
  'testsrc2-cuts': (clip) => `testsrc2=${at(clip, clip)},hue=h='90*floor(t/0.8)',rotate='0.7*floor(t/0.8)'`,
  mandelbrot: (clip, small) => `mandelbrot=${at(small, clip)}:end_scale=0.05:end_pts=${CLIP_S * clip.fps}`,
  'mandelbrot-noise': (clip, small) =>
    `mandelbrot=${at(small, clip)}:start_scale=0.2,noise=alls=8:allf=t:all_seed=11`,
  life: (clip, small) =>
    `life=${at(small, clip)}:mold=10:ratio=0.15:seed=13:life_color=#c0e080:death_color=#404030`,
  'life-soft': (clip, small) =>
    `life=${at({ width: small.width / 2, height: small.height / 2 }, clip)}:ratio=0.2:seed=17,gblur=sigma=2`,
  cellauto: (clip, small) => `cellauto=${at(small, clip)}:rule=110:seed=19`,
  'noise-light': (clip) => `smptehdbars=${at(clip, clip)},noise=alls=10:allf=t:all_seed=23`,
  'still-grain': (clip, small) =>
    `mandelbrot=${at(small, clip)}:start_scale=0.4,loop=loop=-1:size=1,setpts=N/${clip.fps}/TB,noise=alls=5:allf=t:all_seed=31`,
  'pan-detail': (clip, small) =>
    `mandelbrot=${at(small, clip)}:start_scale=1.5,loop=loop=-1:size=1,setpts=N/${clip.fps}/TB,scroll=h=0.003:v=0.001`,
  'pan-grain': (clip, small) =>
    `mandelbrot=${at(small, clip)}:start_scale=0.8:start_x=-0.5,loop=loop=-1:size=1,setpts=N/${clip.fps}/TB,scroll=h=0.006,noise=alls=9:allf=t:all_seed=37`,
  'turn-detail': (clip, small) =>
    `mandelbrot=${at(small, clip)}:start_scale=1.2,loop=loop=-1:size=1,setpts=N/${clip.fps}/TB,rotate='0.2*t'`,
  sierpinski: (clip, small) => `sierpinski=${at(small, clip)}:type=carpet:seed=41`,
  boiling: (clip, small) =>
    `color=gray:${at(small, clip)},noise=alls=90:allf=t:all_seed=43,gblur=sigma=3,eq=contrast=4`,
  'gradients-cuts': (clip, small) =>
    `gradients=${at(small, clip)}:speed=0.2:seed=47:nb_colors=6,hue=h='70*floor(t/1.5)'`,
  'bars-scroll': (clip) => `smptehdbars=${at(clip, clip)},scroll=h=0.004:v=0.002`,
  'life-slow': (clip, small) =>
    `life=${at(small, clip)}:mold=40:ratio=0.3:seed=53:rule=S23/B3:life_color=#a0a0ff,gblur=sigma=0.8,noise=alls=4:allf=t:all_seed=59`,
  'testsrc2-grain': (clip) => `testsrc2=${at(clip, clip)},noise=alls=6:allf=t+u:all_seed=61`,
  'noise-heavy': (clip) => `testsrc2=${at(clip, clip)},noise=alls=40:allf=t:all_seed=29`,
};

const FRAME_RATES = [25, 30, 50, 24, 60];
const INPUT_CODECS = ['h264', 'mpeg2video', 'h264', 'hevc', 'h264'];

const ENCODE: Readonly<Record<string, readonly string[]>> = {
  h264: ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '21'],
  hevc: ['-c:v', 'libx265', '-preset', 'ultrafast', '-crf', '24', '-x265-params', 'log-level=none'],
  mpeg2video: ['-c:v', 'mpeg2video', '-q:v', '4', '-bf', '2'],
};
