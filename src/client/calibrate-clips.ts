import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { CorecastError } from '../lib/errors.js';

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
}

/** Runs of one picture are never split between training and test, whatever size it was brought to. */
export function clipSource(clip: ClipSpec): string {
  return 'made' in clip.picture ? clip.picture.made : basename(clip.picture.file);
}

/** Clips of every picture at every size; codec and frame rate go round, so that each occurs with each. */
export function clipGrid(
  sizes: readonly { width: number; height: number }[],
  files: readonly { path: string; codec: string; width: number; height: number; fps: number }[],
): ClipSpec[] {
  const clips: ClipSpec[] = [];
  const pictures = [
    ...Object.keys(PICTURES).map((made) => ({ made })),
    ...files.map(({ path }) => ({ file: path })),
  ];
  for (const [i, picture] of pictures.entries()) {
    for (const [j, size] of sizes.entries()) {
      const codec = INPUT_CODECS[(i + j) % INPUT_CODECS.length]!;
      const own = 'file' in picture ? files.find((f) => f.path === picture.file)?.fps : undefined;
      const fps = own ?? FRAME_RATES[(i * 2 + j) % FRAME_RATES.length]!;
      clips.push({ picture, codec, width: size.width, height: size.height, fps, original: false });
    }
  }
  // The operator's clips as they are: the nearest there is to what will run, so as often as all made sizes of one.
  for (const { path, ...facts } of files) {
    for (let i = 0; i < 4; i++) clips.push({ picture: { file: path }, ...facts, original: true });
  }
  return clips;
}

/** The clip's path, made in `cacheDir` if it is not there yet. */
export async function clipFile(clip: ClipSpec, ffmpeg: string, cacheDir: string): Promise<string> {
  if (clip.original && 'file' in clip.picture) return clip.picture.file;
  const name = `${clipSource(clip)}-${clip.codec}-${clip.width}x${clip.height}-${clip.fps}.mkv`;
  const path = join(cacheDir, name);
  if (existsSync(path)) return path;
  mkdirSync(cacheDir, { recursive: true });
  const partial = join(cacheDir, `.${process.pid}-${name}`);
  const args = [
    '-nostdin',
    '-v',
    'error',
    '-y',
    ...sourceArgs(clip),
    ...ENCODE[clip.codec]!,
    '-an',
    '-sn',
    partial,
  ];
  try {
    await promisify(execFile)(ffmpeg, args, { timeout: 120_000, killSignal: 'SIGKILL' });
  } catch (cause) {
    throw new CorecastError('INTERNAL', `FFmpeg could not make the clip ${name}`, { cause });
  }
  // A clip is there whole or not at all, whatever interrupts this.
  renameSync(partial, path);
  return path;
}

/** Seconds of a made clip; runs loop it. */
const CLIP_S = 3;

function sourceArgs(clip: ClipSpec): string[] {
  const length = ['-t', String(clip.height > 720 ? CLIP_S - 1 : CLIP_S)];
  if ('file' in clip.picture) {
    const filter = `scale=${clip.width}:${clip.height},format=yuv420p`;
    return [...['-i', clip.picture.file, '-map', '0:v:0'], ...length, '-vf', filter];
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
  'noise-heavy': (clip) => `testsrc2=${at(clip, clip)},noise=alls=40:allf=t:all_seed=29`,
};

const FRAME_RATES = [25, 30, 50, 24, 60];
const INPUT_CODECS = ['h264', 'mpeg2video', 'h264', 'hevc', 'h264'];

const ENCODE: Readonly<Record<string, readonly string[]>> = {
  h264: ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '21'],
  hevc: ['-c:v', 'libx265', '-preset', 'ultrafast', '-crf', '24', '-x265-params', 'log-level=none'],
  mpeg2video: ['-c:v', 'mpeg2video', '-q:v', '4', '-bf', '2'],
};
