import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CLI, LiveDaemon, makeClip, until } from '../support/live-daemon.js';

/* As the systemd unit has it: the daemon has a user of its own and few capabilities, the encoders run as another. */

const DAEMON = 61_011;
const ENCODER = 61_012;
const usable =
  process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0
    ? ''
    : 'needs root and setpriv (util-linux), to be two users';
const asUser = (uid: number) => ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
const UNIT_CAPS = '-all,+sys_nice,+kill';
const asUnit = [
  ...asUser(DAEMON),
  `--inh-caps=${UNIT_CAPS}`,
  `--ambient-caps=${UNIT_CAPS}`,
  `--bounding-set=${UNIT_CAPS}`,
];

describe('channels of another user than the daemon', { timeout: 120_000 }, () => {
  const daemon = new LiveDaemon('', '', usable === '' ? asUnit : []);
  const children: ChildProcess[] = [];
  let clip: string;

  beforeAll(async () => {
    if (usable !== '') return;
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 8);
    for (const path of [daemon.dir, daemon.config]) chownSync(path, DAEMON, DAEMON);
    chmodSync(daemon.dir, 0o755);
    await daemon.start();
    chmodSync(daemon.socket, 0o666);
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
  });
  afterAll(() => daemon.close());

  const start = (command: readonly string[]) => {
    const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
    children.push(child);
    return child;
  };
  /** An encoder's user runs `corecast run` for a live input. */
  const channel = (name: string, input: readonly string[], ...options: string[]) => {
    const declared = 'codec=h264,size=320x180,fps=25,bitrate=2M,depth=8';
    const run = ['run', '--socket', daemon.socket, '--require', '--no-probe', '--input-signature', declared];
    const ffmpeg = [
      'ffmpeg',
      '-nostdin',
      '-v',
      'error',
      ...input,
      '-an',
      '-c:v',
      'libx264',
      '-f',
      'null',
      '-',
    ];
    return start([
      ...asUser(ENCODER),
      process.execPath,
      CLI,
      ...[...run, '--class', 'live', '--name', name, ...options, '--', ...ffmpeg],
    ]);
  };
  const send = (to: string) =>
    start([
      'ffmpeg',
      ...[
        '-nostdin',
        '-v',
        'quiet',
        '-re',
        '-stream_loop',
        '-1',
        '-i',
        clip,
        '-c',
        'copy',
        '-f',
        'mpegts',
        to,
      ],
    ]);
  const ingressOf = async (name: string) => (await daemon.reservation(name))?.ingress ?? undefined;

  it('have their TCP ingress in listings, by what their wrappers tell', async (ctx) => {
    if (usable !== '') return ctx.skip(usable);
    send('tcp://127.0.0.1:29471?listen=1');
    await new Promise((done) => setTimeout(done, 500));
    channel('tcp', ['-i', 'tcp://127.0.0.1:29471']);
    await until(async () => ((await ingressOf('tcp'))?.bps ?? 0) > 100_000, 'an ingress rate', 60_000);
    expect(daemon.said()).not.toContain('CAP_SYS_PTRACE');
    const { id: reservationId, cpus } = (await daemon.reservation('tcp'))!;
    const { threads } = await daemon.client.explain({ reservationId });
    expect(threads.length).toBeGreaterThan(0);
    expect(threads[0]!.cores).toBeGreaterThanOrEqual(threads.at(-1)!.cores);
    for (const { maskCpus } of threads) expect(maskCpus).toBe(cpus.length);
  });

  it('have what waits and what is lost at their UDP sockets there', async (ctx) => {
    if (usable !== '') return ctx.skip(usable);
    const input = 'udp://127.0.0.1:29472?buffer_size=65536&overrun_nonfatal=1';
    channel('udp', ['-i', input]);
    send('udp://127.0.0.1:29472?pkt_size=1316');
    await until(async () => (await daemon.reservation('udp'))?.process != null, 'FFmpeg is attached');
    await new Promise((done) => setTimeout(done, 6_000));
    const { pid } = (await daemon.reservation('udp'))!.process!;
    process.kill(pid, 'SIGSTOP');
    try {
      await until(
        async () => ((await ingressOf('udp'))?.droppedDatagrams ?? 0) > 0,
        'lost datagrams',
        60_000,
      );
      const ingress = await ingressOf('udp');
      expect(ingress!.waitingDatagrams).toBeGreaterThan(10);
      expect(ingress!.bps).toBeUndefined();
    } finally {
      process.kill(pid, 'SIGKILL');
    }
  });

  it('without a wrapper have none, and the daemon says so once', async (ctx) => {
    if (usable !== '') return ctx.skip(usable);
    channel('light', ['-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=25'], '--exec');
    const said = () => daemon.said().split('CAP_SYS_PTRACE').length - 1;
    await until(() => said() > 0, 'a warning', 30_000);
    await new Promise((done) => setTimeout(done, 5_000));
    expect(said()).toBe(1);
    expect((await ingressOf('light'))?.bps).toBeUndefined();
  });
});
