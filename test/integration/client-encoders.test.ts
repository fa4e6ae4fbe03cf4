import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { availableEncoders, svtAv1Major } from '../../src/client/ffmpeg-build.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { withThreadOptions } from '../../src/client/thread-options.js';
import { haveFfmpeg } from '../support/client-against-server.js';

/** The thread options are right only if the encoders themselves take them and do as they say. */
let encoders: readonly string[] = [];
beforeAll(async () => {
  if (haveFfmpeg) encoders = await availableEncoders('ffmpeg');
});

const SOURCE = ['-v', 'info', '-hide_banner', '-nostdin', '-f', 'lavfi', '-i', 'testsrc2=s=320x192:r=25'];

/** FFmpeg's standard error, lower case, of eight frames with the options for this many CPUs. */
async function encode(encoder: string, options: readonly string[], cpuCount: number): Promise<string> {
  const words = ['ffmpeg', ...SOURCE, '-frames:v', '8', '-c:v', encoder, ...options, '-f', 'null', '-'];
  const command = parseFfmpegCommand(words);
  const planned = plannedOutputs(command, [{ width: 320, height: 192, fps: 25, bitDepth: 8 }]);
  const { args } = withThreadOptions(command, planned, {
    cpuCount,
    svtAv1Major: await svtAv1Major('ffmpeg'),
  });
  return (await promisify(execFile)('ffmpeg', [...args])).stderr.toLowerCase();
}

describe.skipIf(!haveFfmpeg)('FFmpeg takes the thread options of', { timeout: 120_000 }, () => {
  it.for([
    ['libx264', ['-preset', 'veryfast']],
    ['libx265', ['-preset', 'ultrafast']],
    ['libx265', ['-preset', 'ultrafast', '-x265-params', 'crf=30:log-level=info']],
    ['libsvtav1', ['-preset', '12']],
    ['libsvtav1', ['-preset', '12', '-svtav1-params', 'tune=0']],
    ['libvpx', ['-deadline', 'realtime', '-cpu-used', '8']],
    ['libvpx-vp9', ['-deadline', 'realtime', '-cpu-used', '8']],
    ['libaom-av1', ['-usage', 'realtime', '-cpu-used', '8']],
    ['mpeg2video', []],
    ['mpeg4', []],
  ] as const)('%s %j', async ([encoder, options], ctx) => {
    if (!encoders.includes(encoder)) return ctx.skip(`this FFmpeg has no ${encoder}`);
    const said = await encode(encoder, options, 2);
    expect(said).toMatch(/frame= +8 /);
    expect(said).not.toMatch(/unrecognized|not been used|unknown option|error parsing/);
  });

  it('libx265: a pool of as many threads as CPUs, none for one', async (ctx) => {
    if (!encoders.includes('libx265')) return ctx.skip('this FFmpeg has no libx265');
    expect(await encode('libx265', ['-preset', 'ultrafast'], 2)).toMatch(/thread pool.* 2 threads/);
    expect(await encode('libx265', ['-preset', 'ultrafast'], 1)).toMatch(
      /frame threads \/ pool features +: 1 \/ none/,
    );
  });

  it('libsvtav1: it counts the CPUs that lp names', async (ctx) => {
    if (!encoders.includes('libsvtav1')) return ctx.skip('this FFmpeg has no libsvtav1');
    if ((await svtAv1Major('ffmpeg')) > 2)
      return ctx.skip('from 3.0 lp is a level, and the library does not print it');
    expect(await encode('libsvtav1', ['-preset', '12'], 1)).toMatch(/logical cores available: 1\n/);
  });
});

it.skipIf(!haveFfmpeg)('the flags that FFmpeg lists take no argument here either', (ctx) => {
  const help = execFileSync('ffmpeg', ['-hide_banner', '-h', 'long'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  // "-ss time_off  set ..." takes an argument; "-re  read ..." may or may not: FFmpeg's help leaves names of arguments out.
  const names = [...help.matchAll(/^-([a-z_]+)(?:\[[^\]]*\])? {2,}\S/gm)].map((match) => match[1]!);
  if (names.length < 20) return ctx.skip('FFmpeg’s help is of another form');
  const followed = names.filter((name) => {
    const { outputs } = parseFfmpegCommand(['ffmpeg', '-i', 'in', `-${name}`, 'WORD', 'out']);
    return outputs.some((output) => output.url === 'WORD');
  });
  for (const flag of [
    're',
    'y',
    'n',
    'an',
    'vn',
    'sn',
    'dn',
    'shortest',
    'copyts',
    'stats',
    'benchmark',
    'autorotate',
  ]) {
    if (names.includes(flag)) expect(followed).toContain(flag);
  }
});
