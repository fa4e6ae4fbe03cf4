import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { CorecastError, messageOf } from '../lib/errors.js';

const run = promisify(execFile);
const TIMEOUT = { timeout: 10_000, killSignal: 'SIGKILL', maxBuffer: 4 * 1024 * 1024 } as const;

/** Encoders that this FFmpeg has. */
export async function availableEncoders(ffmpeg: string): Promise<string[]> {
  try {
    const { stdout } = await run(ffmpeg, ['-hide_banner', '-encoders'], TIMEOUT);
    return [...stdout.matchAll(/^ V\S{5} (\S+)/gm)].map((match) => match[1]!);
  } catch (cause) {
    throw new CorecastError('NOT_FOUND', `${ffmpeg} -encoders failed: ${messageOf(cause)}`, { cause });
  }
}

export async function ffmpegVersion(ffmpeg: string): Promise<string> {
  const { stdout } = await run(ffmpeg, ['-version'], TIMEOUT);
  return /^ffmpeg version (\S+)/m.exec(stdout)?.[1] ?? 'unknown';
}

/**
 * Major version of the SVT-AV1 library, which says what `lp` means. Only the library itself tells: it prints its version
 * when an encode starts. That takes a tenth of a second, so the answer is kept beside the identity of the binary.
 */
export async function svtAv1Major(ffmpeg: string, cacheDir = defaultCacheDir()): Promise<number> {
  const identity = binaryIdentity(ffmpeg);
  const cacheFile = join(cacheDir, 'svtav1.json');
  const cached = readCache(cacheFile);
  if (identity !== '' && cached[identity] !== undefined) return cached[identity];
  const args = ['-nostdin', '-hide_banner', '-f', 'lavfi', '-i', 'color=s=64x64', '-frames:v', '1'];
  let said = '';
  try {
    said = (await run(ffmpeg, [...args, '-c:v', 'libsvtav1', '-f', 'null', '-'], TIMEOUT)).stderr;
  } catch {
    return ASSUMED_MAJOR;
  }
  const major = parseSvtVersion(said);
  if (major === undefined) return ASSUMED_MAJOR;
  if (identity !== '') writeCache(cacheFile, { ...cached, [identity]: major });
  return major;
}

export function parseSvtVersion(text: string): number | undefined {
  const match = /SVT-AV1 Encoder Lib v?(\d+)\./.exec(text);
  return match === null ? undefined : Number(match[1]);
}

export function defaultCacheDir(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'corecast');
}

/** A processor count read as a level is merely too many threads; a level read as a count would be too few. */
const ASSUMED_MAJOR = 1;

function binaryIdentity(program: string): string {
  const places = program.includes('/')
    ? [program]
    : (process.env['PATH'] ?? '').split(delimiter).map((d) => join(d, program));
  for (const place of places) {
    try {
      const path = realpathSync(place);
      const { mtimeMs, size } = statSync(path);
      return `${path}:${mtimeMs}:${size}`;
    } catch {
      // Not there; the next place.
    }
  }
  return '';
}

function readCache(path: string): Record<string, number> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
  } catch {
    return {};
  }
}

function writeCache(path: string, content: Record<string, number>): void {
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(`${path}.${process.pid}`, JSON.stringify(content));
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // A cache that cannot be written costs a tenth of a second the next time.
  }
}
