import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';

const CPUS = hostAddon().getThreadAffinity(0).slice(0, 2).join(',');

/** As the kernel says: 'T' for stopped. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2)[0]!;
}

/** Exclusive channels meet on the same cores, whatever they are forecast to cost. */
const encode = (clip: string, realTime: boolean, seconds: number, out: string) => [
  ...['ffmpeg', '-v', 'error', '-nostdin', '-y', ...(realTime ? ['-re'] : [])],
  ...['-stream_loop', '-1', '-t', String(seconds), '-i', clip, '-c:v', 'libx264', '-preset', 'veryfast', out],
];

describe('a live channel that finds the host full of VOD', { timeout: 180_000 }, () => {
  const daemon = new LiveDaemon('[preemption]\npause_ms = 500\n[cpus]\nhousekeeping = ""', CPUS);
  const all = String(CPUS.split(',').length);
  let clip: string;

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 5);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('runs at once; FFmpeg of the VOD stands still, over a kill of the daemon too, and goes on afterwards', async () => {
    const state = async (name: string) => (await daemon.reservation(name))?.state;
    const vod = daemon.run(
      ['--name', 'archive', '--class', 'vod', '--exclusive', '--cpus', all],
      encode(clip, false, 600, join(daemon.dir, 'vod.mp4')),
    );
    await until(async () => (await state('archive')) === 'RESERVATION_STATE_ACTIVE', 'VOD runs');
    const { pid } = (await daemon.reservation('archive'))!.process!;

    const live = daemon.run(
      ['--name', 'news', '--class', 'live', '--exclusive', '--cpus', all],
      encode(clip, true, 6, join(daemon.dir, 'live.mp4')),
    );
    await until(async () => (await state('news')) === 'RESERVATION_STATE_ACTIVE', 'live runs');
    expect(await daemon.reservation('archive')).toMatchObject({
      state: 'RESERVATION_STATE_PAUSED',
      cpus: [],
    });
    await until(() => stateOf(pid) === 'T', 'its FFmpeg stands still');
    const { id } = (await daemon.reservation('news'))!;
    const { decision } = await daemon.client.explain({ reservationId: id });
    expect(decision!.reasons.map(({ code }) => code)).toContain('PREEMPTED');

    await daemon.end('SIGKILL');
    await daemon.start();
    expect(await state('archive')).toBe('RESERVATION_STATE_PAUSED');
    expect(stateOf(pid)).toBe('T');

    expect((await live.ended).code).toBe(0);
    await until(async () => (await state('archive')) !== 'RESERVATION_STATE_PAUSED', 'VOD goes on');
    expect((await daemon.reservation('archive'))?.cpus).toHaveLength(CPUS.split(',').length);
    await until(() => stateOf(pid) !== 'T', 'its FFmpeg moves');
    vod.child.kill('SIGTERM');
    await vod.ended;
    await until(async () => (await state('archive')) === 'RESERVATION_STATE_RELEASED', 'its CPUs are back');
  });
});
