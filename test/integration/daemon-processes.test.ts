import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';
import { troubles } from '../support/live-requests.js';

describe('processes that end badly, on one CPU', { timeout: 60_000 }, () => {
  const daemon = new LiveDaemon('', '0');
  const events: { name: string; state: string; atMs: number }[] = [];
  let clip: string;

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 10);
    await daemon.start();
    void (async () => {
      for await (const { reservation } of daemon.client.watchReservations()) {
        events.push({ name: reservation!.name, state: reservation!.state, atMs: performance.now() });
      }
    })().catch(() => {});
  });
  afterAll(() => daemon.close());

  const live = (...encoder: string[]) => [
    ...['ffmpeg', '-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-t', '60', '-i', clip],
    ...['-c:v', ...encoder, '-f', 'null', '-'],
  ];
  const running = async (name: string) => {
    // With progress there is a session.
    await until(async () => (await daemon.reservation(name))?.speed !== undefined, `${name} makes progress`);
    return (await daemon.reservation(name))!;
  };
  const seen = async (name: string, state: string) => {
    const event = () => events.find((one) => one.name === name && one.state === `RESERVATION_STATE_${state}`);
    await until(() => event() !== undefined, `${name} ${state}`);
    return event()!.atMs;
  };
  /** Some 5 ms without neighbours; the allowance is for them. */
  const SOON_MS = 250;

  it('the wrapper is killed: FFmpeg lives on as ORPHANED; FFmpeg ends: its CPUs are free at once', async () => {
    const wrapper = daemon.run(['--name', 'orphan'], live('libx264', '-preset', 'ultrafast'));
    const { process: ffmpeg } = await running('orphan');
    wrapper.child.kill('SIGKILL');
    await seen('orphan', 'ORPHANED');
    expect(hostAddon().startTicks(ffmpeg!.pid)).toBe(ffmpeg!.startTicks);
    const killedMs = performance.now();
    process.kill(ffmpeg!.pid, 'SIGKILL');
    expect((await seen('orphan', 'RELEASED')) - killedMs).toBeLessThan(SOON_MS);
  });

  it('FFmpeg is killed: its CPUs are free at once, the wrapper ends by the same signal', async () => {
    const wrapper = daemon.run(['--name', 'killed'], live('libx264', '-preset', 'ultrafast'));
    const { process: ffmpeg } = await running('killed');
    const killedMs = performance.now();
    process.kill(ffmpeg!.pid, 'SIGKILL');
    expect((await seen('killed', 'RELEASED')) - killedMs).toBeLessThan(SOON_MS);
    expect(await wrapper.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect((await daemon.client.getHost({})).cpus.every(({ reservedMilli }) => reservedMilli === 0)).toBe(
      true,
    );
  });

  it("libx265's pool threads leave the mask and are brought back: every thread runs inside the reservation", async (ctx) => {
    const encoders = spawnSync('ffmpeg', ['-v', 'error', '-encoders'], { encoding: 'utf8' }).stdout;
    if (!encoders.includes('libx265')) return ctx.skip('this FFmpeg has no libx265');
    const params = ['-x265-params', 'pools=3:log-level=error'];
    const wrapper = daemon.run(['--name', 'x265'], live('libx265', '-preset', 'ultrafast', ...params));
    const { process: ffmpeg, cpus } = await running('x265');
    const outside = () =>
      hostAddon()
        .getProcessAffinity(ffmpeg!.pid)
        .filter((thread) => thread.cpus.some((cpu) => cpu !== cpus[0]!.cpu));
    await until(() => outside().length === 0, 'all threads inside', 5_000);
    expect(hostAddon().getProcessAffinity(ffmpeg!.pid).length).toBeGreaterThan(3);
    await sleep(1_500);
    expect(outside()).toEqual([]);
    wrapper.child.kill('SIGINT');
    expect((await wrapper.ended).code).toBe(255);
    expect(troubles(daemon)).toEqual([]);
  });
});
