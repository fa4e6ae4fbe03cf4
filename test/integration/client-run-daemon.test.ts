import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import { buildCli, runCli, startCli } from '../support/client-cli.js';
import { rpcServer } from '../support/rpc-server.js';

/** `corecast run` against the real gRPC server, with a daemon's answers from memory: one CPU a reservation. */
const haveFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
let built: { cli: string; remove(): void };
let dir: string;
let clip: string;
let rpc: Awaited<ReturnType<typeof rpcServer>>;

beforeAll(() => {
  built = buildCli();
  dir = mkdtempSync(join(tmpdir(), 'corecast-client-'));
  clip = join(dir, 'clip.mp4');
  if (haveFfmpeg) {
    const source = ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '20'];
    execFileSync('ffmpeg', [
      '-v',
      'error',
      ...source,
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      '-g',
      '25',
      clip,
    ]);
  }
});
afterAll(() => {
  built.remove();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  rpc = await rpcServer();
});
afterEach(() => rpc.stop());

const live = (...output: string[]) => [
  'ffmpeg',
  '-v',
  'error',
  '-nostdin',
  '-y',
  '-re',
  '-i',
  clip,
  '-c:v',
  'libx264',
  ...output,
];
const only = (): Reservation => [...rpc.control.reservationsById.values()][0]!;
const beats = () =>
  rpc.control.heartbeats as {
    progress?: { frame: number; outTimeUs: number };
    rung: number;
    restarting: boolean;
    process?: { pid: number };
  }[];

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never happened: ${what}; standard error so far: ${said()}`);
}
let said: () => string = () => '';

function start(args: readonly string[]) {
  const running = startCli(built.cli, ['run', '--socket', rpc.socket, ...args]);
  said = running.stderr;
  return running;
}

describe.skipIf(!haveFfmpeg)('corecast run with a daemon', () => {
  it('reserves, runs on the reserved CPU from the start with capped threads, attaches, beats, releases', async () => {
    const report = join(dir, 'report.json');
    const out = join(dir, 'out.mp4');
    const command = live('-preset', 'veryfast', '-t', '3', out);
    const running = start(['--report', report, '--name', 'channel one', '--', ...command]);
    await until(() => rpc.control.attached.length === 1, 'attach');
    const { pid } = rpc.control.attached[0]!;
    expect(
      hostAddon()
        .getProcessAffinity(pid)
        .map(({ cpus }) => cpus),
    ).toSatisfy((masks: number[][]) => masks.every((cpus) => cpus.length === 1 && cpus[0] === 0));
    const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
    expect(line).toContain('-filter_threads 1');
    expect(line).toMatch(/-threads 1 -i .* -threads:v 1 /);
    await until(() => beats().some((b) => (b.progress?.frame ?? 0) > 0), 'progress');
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toHaveLength(0);
    expect(stderr).toBe('');
    expect(only()).toMatchObject({
      name: 'channel one',
      channelClass: 'live',
      state: 'RELEASED',
      ladderRungs: 0,
    });
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({
      reservationId: only().id,
      cpus: [0],
      ending: 'exit 0',
      signature: {
        input: { codec: 'h264', width: 320, height: 180, fps: 25 },
        outputs: [{ preset: 'veryfast' }],
      },
      usage: { cpuSeconds: 12.5 },
    });
  });

  it('carries out a change of rung: says so first, goes on where it was, in a part of its own, and measures the gap', async () => {
    const report = join(dir, 'rungs.json');
    const out = join(dir, 'rungs.mp4');
    const command = live('-preset', 'medium', '-t', '8', out);
    const running = start(['--report', report, '--degrade', '-preset ultrafast -s 160x90', '--', ...command]);
    await until(() => beats().some((b) => (b.progress?.frame ?? 0) > 25), 'progress');
    rpc.control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await until(() => rpc.control.attached.length === 2, 'the second attach');
    const announced = beats().findIndex((b) => b.restarting);
    expect(announced).toBeGreaterThan(-1);
    const [first, second] = rpc.control.attached.map(({ pid }) => pid);
    const line = readFileSync(`/proc/${second}/cmdline`, 'utf8').split('\0').join(' ');
    expect(line).toMatch(/-re -ss [1-9][\d.]* /);
    expect(line).toContain('-preset ultrafast -s 160x90');
    expect(line).not.toContain('medium');
    expect(existsSync(`/proc/${first}/exe`)).toBe(false);
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /restarting FFmpeg at rung 1 \(-preset ultrafast -s 160x90\) from \d+\.\d s: the host falls short/,
    );
    const seconds = [out, join(dir, 'rungs.part2.mp4')].map((path) =>
      Number(
        execFileSync('ffprobe', ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path]),
      ),
    );
    expect(seconds[0]! + seconds[1]!).toBeCloseTo(8, 0);
    const { rungChanges } = JSON.parse(readFileSync(report, 'utf8'));
    expect(rungChanges).toMatchObject([{ rung: 1, reason: 'the host falls short' }]);
    expect(rungChanges[0].gapMs).toBeGreaterThan(0);
  });

  it('gives up a rung that FFmpeg rejects, and the channel goes on', async () => {
    const command = live('-t', '6', '-f', 'null', '-');
    const running = start(['--degrade', '-preset ultraslow', '--', ...command]);
    await until(() => beats().some((b) => (b.progress?.frame ?? 0) > 0), 'progress');
    rpc.control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'try' });
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).toContain('FFmpeg does not start at rung 1; back to full quality');
    expect(beats().at(-1)?.rung).toBe(0);
  });

  it('ends FFmpeg politely when the daemon asks, and follows a change of CPUs', async () => {
    const out = join(dir, 'asked.mp4');
    const running = start(['--', ...live('-t', '20', out)]);
    await until(() => beats().some((b) => (b.progress?.frame ?? 0) > 0), 'progress');
    const all = hostAddon().getThreadAffinity(0);
    rpc.control.sendDirective!({ kind: 'cpus', cpus: all.join(','), reason: 'grown' });
    await until(() => running.stderr().includes('moved to CPUs'), 'the move');
    expect(hostAddon().getProcessAffinity(running.child.pid!)[0]!.cpus).toEqual(all);
    rpc.control.sendDirective!({ kind: 'stop', reason: 'maintenance' });
    const { code, stderr } = await running.ended;
    expect(code).toBe(255);
    expect(stderr).toContain('stopping FFmpeg as the daemon asks: maintenance');
    execFileSync('ffprobe', ['-v', 'error', out]);
    expect(only()).toMatchObject({ state: 'RELEASED' });
  });

  it('does not start FFmpeg against a refusal, says when to ask again, and ends with 75', async () => {
    const client = await rpc.client();
    const out = join(dir, 'refused.mp4');
    const command = [
      'ffmpeg',
      '-v',
      'error',
      '-nostdin',
      '-y',
      '-i',
      clip,
      '-t',
      '1',
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      out,
    ];
    const filler = {
      input: { codec: 'h264', width: 64, height: 64, fps: 25, bitDepth: 8 },
      outputs: [{ encoder: 'libx264', width: 64, height: 64, fps: 25, crf: 23, bitDepth: 8 }],
    };
    for (let i = 0; i < 4; i++) {
      await client.reserve({ signature: filler, channelClass: 'CHANNEL_CLASS_VOD', idempotencyKey: `k${i}` });
    }
    const refused = await runCli(built.cli, ['run', '--socket', rpc.socket, '--', ...command]);
    expect(refused.code).toBe(75);
    expect(refused.stderr).toMatch(
      /^corecast: refused: all 4 CPUs are reserved\ncorecast: ask again in 1\.5 s/,
    );
    expect(existsSync(out)).toBe(false);
    const anyway = await runCli(built.cli, ['run', '--socket', rpc.socket, '--run-anyway', '--', ...command]);
    expect(anyway.code).toBe(0);
    expect(anyway.stderr).toContain('running unpinned as asked');
    expect(existsSync(out)).toBe(true);
  });

  it('outlives the daemon: FFmpeg goes on, and the next daemon is told again what runs', async () => {
    const socket = join(dir, 'second.sock');
    const first = await rpcServer({ daemon: { socket } });
    const running = startCli(built.cli, [
      'run',
      '--socket',
      socket,
      '--',
      ...live('-t', '7', '-f', 'null', '-'),
    ]);
    said = running.stderr;
    await until(() => first.control.attached.length === 1 && first.control.sessionsOpen === 1, 'attach');
    const { pid } = first.control.attached[0]!;
    await first.stop(0);
    await until(() => running.stderr().includes('lost the daemon'), 'the loss');
    expect(existsSync(`/proc/${pid}/exe`)).toBe(true);
    const second = await rpcServer({ daemon: { socket }, control: first.control });
    try {
      await until(() => running.stderr().includes('the daemon is back'), 'the return');
      expect(beats0(first.control.heartbeats).at(-1)).toBe(pid);
      const { code } = await running.ended;
      expect(code).toBe(0);
      expect([...first.control.reservationsById.values()][0]).toMatchObject({ state: 'RELEASED' });
    } finally {
      await second.stop();
    }
  });
});

/** Processes as announced. */
function beats0(heartbeats: readonly unknown[]): number[] {
  return (heartbeats as { process?: { pid: number } }[]).flatMap((b) =>
    b.process === undefined ? [] : [b.process.pid],
  );
}
