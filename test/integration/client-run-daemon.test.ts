import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import { clientAgainstServer, commandLine, haveFfmpeg } from '../support/client-against-server.js';
import { runCli } from '../support/client-cli.js';
import { rpcServer } from '../support/rpc-server.js';

const world = clientAgainstServer();
const read = (path: string) => readFileSync(path, 'utf8');

// Seconds on a host with a CPU to spare; a loaded one takes its time.
describe.skipIf(!haveFfmpeg)('corecast run with a daemon', { timeout: 120_000 }, () => {
  it('reserves, runs on the reserved CPU from the start with capped threads, attaches, beats, releases', async () => {
    const report = join(world.dir, 'report.json');
    const command = world.live('-preset', 'veryfast', '-t', '3', join(world.dir, 'out.mp4'));
    const running = world.start(['--report', report, '--name', 'channel one', '--', ...command]);
    const { control } = world.rpc;
    await world.until(() => control.attached.length === 1, 'attach');
    const { pid } = control.attached[0]!;
    const masks = hostAddon().getProcessAffinity(pid);
    expect(new Set(masks.map(({ cpus }) => cpus.join()))).toEqual(new Set(['0']));
    const line = commandLine(pid, read);
    expect(line).toContain('-filter_threads 1');
    expect(line).toMatch(/-threads 1 -i .* -threads:v 1 /);
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toHaveLength(0);
    expect(stderr).toBe('');
    expect(world.beats().some((beat) => (beat.progress?.frame ?? 0) > 0)).toBe(true);
    expect(world.beats()[0]?.process?.pid).toBe(pid);
    const reservation = world.reservation();
    expect(reservation).toMatchObject({ name: 'channel one', channelClass: 'live', state: 'RELEASED' });
    expect(JSON.parse(read(report))).toMatchObject({
      reservationId: reservation.id,
      cpus: [0],
      ending: 'exit 0',
      signature: {
        input: { codec: 'h264', width: 320, height: 180, fps: 25 },
        outputs: [{ preset: 'veryfast' }],
      },
      usage: { cpuSeconds: 12.5 },
    });
  });

  it('leaves CPUs that are not its own any more: a reservation that expired before FFmpeg was attached', async () => {
    const all = hostAddon().getThreadAffinity(0);
    const { control } = world.rpc;
    let pid = 0;
    control.attach = async ({ process: ffmpeg }) => {
      pid = ffmpeg.pid;
      throw new CorecastError('WRONG_STATE', 'reservation r1 is EXPIRED (not started within 100 ms)');
    };
    const command = world.live('-t', '2', join(world.dir, 'out.mp4'));
    const running = world.start(['--', ...command]);
    await world.until(() => /on no CPUs of its own/.test(running.stderr()), 'it is unpinned');
    for (const { cpus } of hostAddon().getProcessAffinity(pid)) expect(cpus).toEqual(all);
    expect((await running.ended).code).toBe(0);
  });

  it('ends FFmpeg politely when the daemon asks, and follows a change of CPUs', async () => {
    const out = join(world.dir, 'asked.mp4');
    const running = world.start(['--', ...world.live('-tune', 'zerolatency', '-t', '20', out)]);
    const { control } = world.rpc;
    await world.until(() => control.sendDirective !== undefined && existsSync(out), 'the start');
    const all = hostAddon().getThreadAffinity(0);
    control.sendDirective!({ kind: 'cpus', cpus: all.join(','), reason: 'grown' });
    await world.until(() => running.stderr().includes('moved to CPUs'), 'the move');
    expect(hostAddon().getProcessAffinity(running.child.pid!)[0]!.cpus).toEqual(all);
    await new Promise((resolve) => setTimeout(resolve, 500));
    control.sendDirective!({ kind: 'stop', reason: 'maintenance' });
    const { code, stderr } = await running.ended;
    expect(code).toBe(255);
    expect(stderr).toContain('stopping FFmpeg as the daemon asks: maintenance');
    execFileSync('ffprobe', ['-v', 'error', out]);
    expect(world.reservation()).toMatchObject({ state: 'RELEASED' });
  });

  it('does not start FFmpeg against a refusal, says when to ask again, and ends with 75', async () => {
    const client = await world.rpc.client();
    const video = { width: 64, height: 64, fps: 25, bitDepth: 8 };
    const signature = {
      input: { codec: 'h264', ...video },
      outputs: [{ encoder: 'libx264', crf: 23, ...video }],
    };
    for (let i = 0; i < 4; i++) {
      await client.reserve({ signature, channelClass: 'CHANNEL_CLASS_VOD', idempotencyKey: `filler ${i}` });
    }
    const out = join(world.dir, 'refused.mp4');
    const input = ['ffmpeg', '-v', 'error', '-nostdin', '-y', '-i', world.clip, '-t', '1'];
    const command = [...input, '-c:v', 'libx264', '-preset', 'ultrafast', out];
    const options = ['run', '--socket', world.rpc.socket];
    const refused = await runCli(world.cli, [...options, '--', ...command]);
    expect(refused.code).toBe(75);
    expect(refused.stderr).toMatch(/^corecast: all 4 CPUs are reserved\ncorecast: ask again in 1\.5 s/);
    expect(existsSync(out)).toBe(false);
    const anyway = await runCli(world.cli, [...options, '--run-anyway', '--', ...command]);
    expect(anyway.code).toBe(0);
    expect(anyway.stderr).toContain('running unpinned as asked');
    expect(existsSync(out)).toBe(true);
  });

  it('outlives the daemon: FFmpeg goes on, and the next daemon is told again what runs', async () => {
    const socket = join(world.dir, 'second.sock');
    const first = await rpcServer({ daemon: { socket } });
    const running = world.start(['--', ...world.live('-t', '5', '-f', 'null', '-')], socket);
    await world.until(
      () => first.control.attached.length === 1 && first.control.sessionsOpen === 1,
      'attach',
    );
    const { pid } = first.control.attached[0]!;
    await first.stop(0);
    await world.until(() => running.stderr().includes('lost the daemon'), 'the loss');
    expect(existsSync(`/proc/${pid}/exe`)).toBe(true);
    const before = first.control.heartbeats.length;
    const second = await rpcServer({ daemon: { socket }, control: first.control });
    try {
      await world.until(() => running.stderr().includes('the daemon is back'), 'the return');
      expect(first.control.heartbeats[before]).toMatchObject({ process: { pid } });
      expect((await running.ended).code).toBe(0);
      expect([...first.control.reservationsById.values()]).toMatchObject([{ state: 'RELEASED' }]);
    } finally {
      await second.stop();
    }
  });

  it('leaves FFmpeg running when it is killed itself: the media does not depend on the wrapper', async () => {
    const out = join(world.dir, 'orphan.ts');
    const running = world.start([
      '--',
      ...world.live('-preset', 'ultrafast', '-tune', 'zerolatency', '-t', '20', out),
    ]);
    const { control } = world.rpc;
    await world.until(() => control.attached.length === 1 && existsSync(out), 'the start');
    const { pid } = control.attached[0]!;
    running.child.kill('SIGKILL');
    await once(running.child, 'exit');
    const before = statSync(out).size;
    // Several blocks of progress find nobody at the other end meanwhile.
    await world.until(() => statSync(out).size > before + 20_000, 'more media');
    expect(existsSync(`/proc/${pid}/exe`)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });
});
