import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { clientAgainstServer, commandLine, duration, haveFfmpeg } from '../support/client-against-server.js';
import { runCli } from '../support/client-cli.js';

const world = clientAgainstServer();
const read = (path: string) => readFileSync(path, 'utf8');

describe.skipIf(!haveFfmpeg)('corecast run --exec', { timeout: 120_000 }, () => {
  it('becomes FFmpeg on the reserved CPU, attached as holding itself, and reports its progress', async () => {
    const out = join(world.dir, 'light.mp4');
    const running = world.start(['--exec', '--', ...world.live('-preset', 'veryfast', '-t', '3', out)]);
    const { control } = world.rpc;
    await world.until(() => control.progress.length > 0, 'progress');
    const { pid } = control.attached[0]!;
    expect(pid).toBe(running.child.pid);
    expect(read(`/proc/${pid}/comm`)).toBe('ffmpeg\n');
    expect(commandLine(pid, read)).toMatch(/^ffmpeg -progress unix:\/.* -threads 1 -i .* -threads:v 1 /);
    const masks = hostAddon().getProcessAffinity(pid);
    expect(new Set(masks.map(({ cpus }) => cpus.join()))).toEqual(new Set(['0']));
    expect(world.reservation()).toMatchObject({ state: 'ACTIVE', selfHeld: true });
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    // The server of this test has no daemon's place for files.
    expect(stderr).toMatch(
      /^corecast: light mode: .*no ladder.*\ncorecast: its progress ends with the daemon.*\n$/,
    );
    expect(duration(out)).toBeGreaterThan(2.8);
    expect(control.progress.at(-1)!.outTimeUs).toBeGreaterThan(2.5e6);
    // Nobody renews it and nobody ends it but the life of the process.
    expect(control.sessionsOpen).toBe(0);
    expect(world.reservation().state).toBe('ACTIVE');
  });

  it('goes on without a daemon, takes signals as FFmpeg does, and says which options it leaves out', async () => {
    const out = join(world.dir, 'light-stopped.mp4');
    const options = ['--exec', '--degrade', '-preset ultrafast'];
    const running = world.start([...options, '--', ...world.live('-tune', 'zerolatency', out)]);
    await world.until(() => world.rpc.control.progress.length > 0 && existsSync(out), 'progress');
    expect(world.reservation().ladderRungs).toBe(0);
    await world.rpc.stop();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(running.child.exitCode).toBe(null);
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    expect(code).toBe(255);
    expect(stderr).toContain('--degrade are left out');
    expect(duration(out)).toBeGreaterThan(1.5);
  });

  it('gives the CPUs back when FFmpeg cannot be executed, and ends with 127', async () => {
    const command = ['no-such-ffmpeg', ...world.live('-t', '1', '-f', 'null', '-').slice(1)];
    const { code, stderr } = await runCli(world.cli, [
      ...['run', '-q', '--exec', '--socket', world.rpc.socket],
      ...['--', ...command],
    ]);
    expect(code).toBe(127);
    expect(stderr).toContain('no such program');
    expect(world.reservation()).toMatchObject({ state: 'RELEASED' });
  });

  it('takes no option that promises something after the end', async () => {
    const { code, stderr } = await runCli(world.cli, ['run', '--exec', '--json', '--', 'ffmpeg']);
    expect(code).toBe(64);
    expect(stderr).toContain("'--exec' cannot be used with option '--json'");
  });
});

describe.skipIf(!haveFfmpeg)('descriptors that the caller passes in', { timeout: 60_000 }, () => {
  it.each([[[]], [['--exec']]])('reach FFmpeg by their number, with options %j', async (options) => {
    const clip = join(world.dir, 'passed.ts');
    execFileSync('ffmpeg', ['-v', 'error', '-y', '-i', world.clip, '-c', 'copy', clip]);
    const input = openSync(clip, 'r');
    const out = join(world.dir, `passed-${options.length}.ts`);
    const facts = 'codec=h264,size=320x180,fps=25,bitrate=300k';
    const command = [
      'ffmpeg',
      '-v',
      'error',
      '-nostdin',
      '-y',
      '-i',
      'pipe:3',
      '-t',
      '1',
      '-c:v',
      'libx264',
      out,
    ];
    const args = ['run', '-q', '--socket', world.rpc.socket, '--input-signature', facts, ...options];
    const child = spawn(process.execPath, [world.cli, ...args, '--', ...command], {
      stdio: ['ignore', 'ignore', 'inherit', input],
    });
    closeSync(input);
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(duration(out)).toBeGreaterThan(0.9);
  });
});
