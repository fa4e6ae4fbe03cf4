import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { haveFfmpeg } from '../support/client-against-server.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';

const LEASE_MS = 2_000;

describe.skipIf(!haveFfmpeg)('a channel in light mode', { timeout: 120_000 }, () => {
  let daemon: LiveDaemon;
  let clip: string;
  beforeAll(async () => {
    daemon = await new LiveDaemon(`[leases]\nlease_ms = ${LEASE_MS}`).start();
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 20);
  });
  afterAll(() => daemon.close());

  const command = (seconds: number) => [
    ...['ffmpeg', '-v', 'error', '-nostdin', '-y', '-re', '-i', clip, '-t', String(seconds)],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-f', 'null', '-'],
  ];
  const now = async (name: string) => (await daemon.reservation(name))!;

  it('is held by its process alone, seen, and recorded without what the wrapper had used before', async () => {
    const running = daemon.run(['--exec', '--name', 'light'], command(8));
    await until(async () => ((await daemon.reservation('light'))?.speed ?? 0) > 0.5, 'its speed is known');
    const { process, selfHeld } = await now('light');
    expect(selfHeld).toBe(true);
    expect(process!.pid).toBe(running.child.pid);
    expect(readFileSync(`/proc/${process!.pid}/comm`, 'utf8')).toBe('ffmpeg\n');
    // Longer than the lease, which nobody renews.
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
    expect((await now('light')).state).toBe('RESERVATION_STATE_ACTIVE');
    expect((await running.ended).code).toBe(0);
    await until(
      async () => (await now('light')).state === 'RESERVATION_STATE_RELEASED',
      'its end is seen',
      2_000,
    );
    const { usage } = await daemon.client.explain({ reservationId: (await now('light')).id });
    expect(usage!.mediaSeconds).toBeGreaterThan(6);
    // Seconds of FFmpeg: the reservation waited while node started, which is no part of the channel.
    expect(usage!.wallSeconds).toBeLessThan(8 + 3);
  });

  it('outlives a restart of the daemon, which adopts it, goes on to know its speed, and sees its end', async () => {
    const running = daemon.run(['--exec', '--name', 'kept'], command(12));
    await until(async () => ((await daemon.reservation('kept'))?.speed ?? 0) > 0.5, 'its speed is known');
    const progress = `${daemon.socket}.progress`;
    await daemon.end('SIGKILL');
    await daemon.start();
    await until(
      async () => ((await daemon.reservation('kept'))?.speed ?? 0) > 0.5,
      'its speed is known again',
    );
    expect(readdirSync(progress)).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
    expect(await now('kept')).toMatchObject({ state: 'RESERVATION_STATE_ACTIVE', selfHeld: true });
    expect((await running.ended).code).toBe(0);
    await until(
      async () => (await now('kept')).state === 'RESERVATION_STATE_RELEASED',
      'its end is seen',
      2_000,
    );
    expect(readdirSync(progress)).toEqual([]);
  });
});
