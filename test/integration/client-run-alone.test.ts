import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCli, runCli, startCli } from '../support/client-cli.js';

/** `corecast run` where there is no daemon: FFmpeg runs as if the wrapper were not there. */
const haveFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
let built: { cli: string; remove(): void };
let dir: string;
let clip: string;

beforeAll(() => {
  built = buildCli();
  dir = mkdtempSync(join(tmpdir(), 'corecast-client-'));
  clip = join(dir, 'clip.ts');
  if (haveFfmpeg) {
    const source = ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '2'];
    execFileSync('ffmpeg', ['-v', 'error', ...source, '-c:v', 'libx264', '-preset', 'ultrafast', clip]);
  }
});
afterAll(() => {
  built.remove();
  rmSync(dir, { recursive: true, force: true });
});

const bitexact = ['-fflags', '+bitexact', '-flags', '+bitexact', '-threads', '1'];
const wrapped = (...args: string[]) => ['run', '--socket', join(dir, 'no.sock'), ...args];

// Seconds on a host with a CPU to spare; a loaded one takes its time.
describe.skipIf(!haveFfmpeg)('corecast run without a daemon', { timeout: 120_000 }, () => {
  it('warns, runs FFmpeg, and hands its standard output on byte for byte', async () => {
    const ffmpeg = [
      '-v',
      'error',
      '-nostdin',
      '-i',
      clip,
      '-c:v',
      'mpeg2video',
      ...bitexact,
      '-f',
      'mpegts',
      'pipe:1',
    ];
    const plain = execFileSync('ffmpeg', ffmpeg, { maxBuffer: 64 * 1024 * 1024 });
    const { code, stdout, stderr } = await runCli(built.cli, wrapped('--', 'ffmpeg', ...ffmpeg));
    expect(code).toBe(0);
    expect(stdout.equals(plain)).toBe(true);
    expect(stderr).toMatch(/^corecast: cannot reach corecastd at .*no\.sock.*; FFmpeg runs unpinned\n$/);
  });

  it('leaves standard input to FFmpeg, whole', async () => {
    const out = join(dir, 'from-stdin.ts');
    const command = ['ffmpeg', '-v', 'error', '-y', '-i', 'pipe:0', '-c', 'copy', ...bitexact, out];
    const { code } = await runCli(built.cli, wrapped('-q', '--', ...command), readFileSync(clip));
    expect(code).toBe(0);
    const direct = join(dir, 'direct.ts');
    execFileSync('ffmpeg', ['-v', 'error', '-nostdin', '-y', '-i', clip, '-c', 'copy', ...bitexact, direct]);
    expect(readFileSync(out).equals(readFileSync(direct))).toBe(true);
  });

  it('ends with FFmpeg’s exit code and says nothing of its own with -q', async () => {
    const command = [
      'ffmpeg',
      '-v',
      'error',
      '-nostdin',
      '-i',
      clip,
      '-c:v',
      'libx264',
      '-preset',
      'ultraslow',
      '-f',
      'null',
      '-',
    ];
    const plain = spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' });
    const { code, stderr } = await runCli(built.cli, wrapped('-q', '--', ...command));
    expect(plain.status).not.toBe(0);
    expect(code).toBe(plain.status);
    expect(stderr.replaceAll(/0x[0-9a-f]+/g, '')).toBe(plain.stderr.replaceAll(/0x[0-9a-f]+/g, ''));
  });

  it('passes SIGTERM on once, so that FFmpeg finishes its file, and ends with FFmpeg’s 255', async () => {
    const out = join(dir, 'stopped.mp4');
    const source = ['-re', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25'];
    const command = [
      'ffmpeg',
      '-v',
      'error',
      '-y',
      ...source,
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      '-tune',
      'zerolatency',
      out,
    ];
    const running = startCli(built.cli, wrapped('-q', '--', ...command));
    for (let i = 0; i < 200 && !existsSync(out); i++) await new Promise((done) => setTimeout(done, 50));
    await new Promise((done) => setTimeout(done, 1_000));
    running.child.kill('SIGTERM');
    const { code, signal } = await running.ended;
    expect([code, signal]).toEqual([255, null]);
    const probe = execFileSync('ffprobe', [
      '-v',
      'error',
      '-show_entries',
      'format=duration',
      '-of',
      'csv=p=0',
      out,
    ]);
    expect(Number(probe.toString())).toBeGreaterThan(0.2);
  });

  it('dies by the signal that killed FFmpeg', async () => {
    const pidFile = join(dir, 'pid');
    const script = `echo $$ > ${pidFile}; exec ffmpeg "$@"`;
    const source = ['-re', '-f', 'lavfi', '-i', 'testsrc2=s=160x90:r=25'];
    const command = ['sh', '-c', script, 'ffmpeg', '-v', 'error', ...source, '-f', 'null', '-'];
    const running = startCli(built.cli, wrapped('-q', '--no-probe', '--', ...command));
    for (let i = 0; i < 200 && !existsSync(pidFile); i++) await new Promise((done) => setTimeout(done, 50));
    await new Promise((done) => setTimeout(done, 300));
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
    const { code, signal } = await running.ended;
    expect([code, signal]).toEqual([null, 'SIGKILL']);
  });

  it('with --require ends with 69 and does not start FFmpeg', async () => {
    const out = join(dir, 'required.mp4');
    const { code, stderr } = await runCli(
      built.cli,
      wrapped('--require', '--', 'ffmpeg', '-y', '-i', clip, out),
    );
    expect(code).toBe(69);
    expect(existsSync(out)).toBe(false);
    expect(stderr).toContain('FFmpeg was not started, because of --require');
  });

  it('says of a missing input what FFmpeg says, and ends with its 1', async () => {
    const missing = join(dir, 'missing.mp4');
    const { code, stderr } = await runCli(
      built.cli,
      wrapped('--', 'ffmpeg', '-i', missing, join(dir, 'o.mp4')),
    );
    expect(code).toBe(1);
    expect(stderr).toContain(`${missing}: No such file or directory`);
    expect(stderr).not.toContain('    at ');
  });

  it('ends with 127 when there is no such program', async () => {
    const { code, stderr } = await runCli(built.cli, wrapped('-q', '--', join(dir, 'ffmpeg'), '-version'));
    expect(code).toBe(127);
    expect(stderr).toBe(`corecast: cannot start ${join(dir, 'ffmpeg')}: no such program\n`);
  });

  it.each([
    [['run', '--wiat', '3', '--', 'ffmpeg'], /unknown option '--wiat'\n\(Did you mean --wait\?\)/],
    [['reservatons'], /unknown command 'reservatons'\n\(Did you mean reservations\?\)/],
    [
      ['run', '--cpus', 'two', '--', 'ffmpeg'],
      /--cpus <n>' argument 'two' is invalid\. expected a whole number/,
    ],
    [['run', '--degrade', '-i x', '--', 'ffmpeg'], /corecast: --degrade "-i x" has an input/],
    [['history', 'query'], /missing required argument 'series'/],
    [
      ['predict', '--input-signature', 'size=big', '--encoder', 'libx264'],
      /"size=big" is not one of codec=NAME/,
    ],
    [['predict'], /nothing to predict/],
  ])('answers %j with 64 and says what is wrong', async (args, message) => {
    const { code, stderr, stdout } = await runCli(built.cli, args);
    expect(code).toBe(64);
    expect(stderr).toMatch(message);
    expect(stdout).toHaveLength(0);
  });
});
