import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/client-cli.js';
import { CLI, LiveDaemon, makeClip, until } from '../support/live-daemon.js';

const BUF = resolve(import.meta.dirname, '../../node_modules/.bin/buf');
const live = (clip: string, out: string, ...options: string[]) => [
  ...['ffmpeg', '-v', 'error', '-nostdin', '-y', '-re', '-stream_loop', '-1', '-t', '90', '-i', clip],
  ...['-c:v', 'libx264', '-preset', 'ultrafast', ...options, out],
];

/** Every host, however large, is a host of one CPU to this daemon. */
describe('admission on one CPU', { timeout: 120_000 }, () => {
  const daemon = new LiveDaemon('', '0');
  let clip: string;

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 10);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('refuses what does not fit beside a running channel, with the reason and a time to ask again', async () => {
    const first = daemon.run(['--name', 'first', '--exclusive'], live(clip, join(daemon.dir, 'first.mp4')));
    await until(
      async () => (await daemon.reservation('first'))?.state === 'RESERVATION_STATE_ACTIVE',
      'first runs',
    );

    const out = join(daemon.dir, 'second.mp4');
    const second = await daemon.run(['--name', 'second'], live(clip, out)).ended;
    expect(second.code).toBe(75);
    expect(second.stderr).toMatch(/exclusive|free|cores/);
    expect(second.stderr).toMatch(/ask again in \d+\.\d s/);
    expect(existsSync(out)).toBe(false);

    // The same, when it may wait: it starts by itself as soon as the first has ended.
    const third = daemon.run(['--name', 'third', '--wait', '60'], live(clip, join(daemon.dir, 'third.mp4')));
    await until(
      async () => (await daemon.reservation('third'))?.state === 'RESERVATION_STATE_QUEUED',
      'third waits',
    );
    first.child.kill('SIGINT');
    await first.ended;
    await until(
      async () => (await daemon.reservation('third'))?.state === 'RESERVATION_STATE_ACTIVE',
      'third runs',
    );
    await until(async () => (await daemon.reservation('third'))?.speed !== undefined, 'third makes progress');
    third.child.kill('SIGINT');
    expect((await third.ended).code).toBe(255);
  });

  it('refuses for good what no empty host of this size could carry', async () => {
    const huge = ['-s', '3840x2160', '-r', '120', '-preset', 'placebo'];
    const { code, stderr } = await daemon.run([], live(clip, join(daemon.dir, 'huge.mp4'), ...huge)).ended;
    expect(code).toBe(75);
    expect(stderr).toContain('waiting will not help');
    expect(existsSync(join(daemon.dir, 'huge.mp4'))).toBe(false);
  });

  it('answers clients without a proto file: buf lists the services and calls Predict and Reserve', async () => {
    const curl = (...args: string[]) =>
      execFileSync(
        BUF,
        ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--unix-socket', daemon.socket, ...args],
        { encoding: 'utf8' },
      );
    const services = curl('--list-services', 'http://localhost');
    for (const name of ['ReservationService', 'HostService', 'HistoryService', 'ModelService']) {
      expect(services).toContain(`corecast.v1.${name}`);
    }
    const video = { width: 640, height: 360, fps: 25, bitDepth: 8 };
    const signature = {
      input: { codec: 'h264', bitrateBps: 1_000_000, ...video },
      outputs: [{ encoder: 'libx264', preset: 'veryfast', crf: 23, ...video }],
    };
    const call = (method: string, body: object) =>
      JSON.parse(
        curl('--data', JSON.stringify(body), `http://localhost/corecast.v1.ReservationService/${method}`),
      );
    const channel = { signature, channelClass: 'CHANNEL_CLASS_LIVE' };
    const { decision } = call('Predict', channel);
    expect(decision.forecast.horizons[0].demandCores.q90).toBeGreaterThan(0);
    const { reservation } = call('Reserve', { ...channel, name: 'by buf', idempotencyKey: 'buf-1' });
    expect(reservation).toMatchObject({ name: 'by buf', state: 'RESERVATION_STATE_PENDING' });
    expect(() => call('Predict', { ...channel, signature: { ...signature, outputs: [] } })).toThrow(
      /outputs/,
    );
    await daemon.client.release({ reservationId: reservation.id, token: Number(reservation.token) });
  });

  it('tells the operator the same on the terminal and as JSON', async () => {
    const predict = ['predict', '--socket', daemon.socket, '--json', '--', ...live(clip, 'out.mp4')];
    const { code, stdout } = await runCli(CLI, predict);
    expect(code).toBe(0);
    const last = stdout.toString().trim().split('\n').at(-1)!;
    expect(JSON.parse(last)).toMatchObject({ decision: { outcome: 'OUTCOME_ACCEPTED' } });
    const { stdout: table } = await runCli(CLI, ['reservations', '--all', '--socket', daemon.socket]);
    expect(table.toString()).toMatch(/released\s+live/);
  });
});

describe('a neighbour that nobody forecast', { timeout: 120_000 }, () => {
  const more =
    '[monitor]\ninterval_ms = 500\n[adjust]\nsustain_ms = 1000\ncooldown_ms = 1000\nrestore_ms = 3000\n';
  const daemon = new LiveDaemon(more, '0');
  const burners: ChildProcess[] = [];
  const stopBurners = () => {
    for (const burner of burners.splice(0)) burner.kill('SIGKILL');
  };
  afterAll(async () => {
    stopBurners();
    await daemon.close();
  });

  it('makes a late channel run at a cheaper rung, and at full quality again when the neighbour has gone', async () => {
    const clip = makeClip(join(daemon.dir, 'clip.mp4'), '640x360', 10);
    await daemon.start();
    // In VOD's place: output to null, so that the restart needs no continuous file.
    const wrapper = daemon.run(
      ['--name', 'ladder', '--class', 'live', '--degrade', '-s 160x90 -preset ultrafast'],
      [...live(clip, '-', '-preset', 'veryfast').slice(0, -1), '-f', 'null', '-'],
    );
    const rung = async () => (await daemon.reservation('ladder'))?.rung;
    await until(async () => (await daemon.reservation('ladder'))?.speed !== undefined, 'progress');
    // Of the priority that live channels have: ordinary ones would leave this channel enough.
    for (let i = 0; i < 12; i++) {
      const busy = ['-n', '-5', 'taskset', '-c', '0', process.execPath, '-e', 'for (;;);'];
      burners.push(spawn('nice', busy, { stdio: 'ignore' }));
    }
    await until(async () => (await rung()) === 1, 'degraded', 40_000);
    await until(() => wrapper.stderr().includes('at rung 1'), 'FFmpeg was restarted at rung 1', 60_000);
    stopBurners();
    await until(async () => (await rung()) === 0, 'restored', 60_000);
    await until(() => wrapper.stderr().includes('at full quality'), 'FFmpeg was restarted at full quality');
    // Each change of rung leaves its gap in the history.
    const series = `channel.${(await daemon.reservation('ladder'))!.id}.gap_ms`;
    const gaps = async () => {
      const values: number[] = [];
      for await (const { points } of daemon.client.queryHistory({ series }))
        values.push(...points.map(({ value }) => value));
      return values;
    };
    await until(async () => (await gaps()).length >= 2, 'both gaps');
    expect(Math.min(...(await gaps()))).toBeGreaterThan(0);

    wrapper.child.kill('SIGINT');
    await wrapper.ended;
    expect(await daemon.reservation('ladder')).toMatchObject({ state: 'RESERVATION_STATE_RELEASED' });
  });
});
