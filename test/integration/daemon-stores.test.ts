import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LiveDaemon, until } from '../support/live-daemon.js';
import { channel, held } from '../support/live-requests.js';

describe('a store that fails', { timeout: 60_000 }, () => {
  it('full: nothing new is promised, nothing acknowledged is lost, the daemon serves on and recovers with room', async (ctx) => {
    const daemon = new LiveDaemon();
    mkdirSync(daemon.stateDir);
    const mount = ['-t', 'tmpfs', '-o', 'size=24m', 'corecast-test', daemon.stateDir];
    if (spawnSync('mount', mount).status !== 0) {
      await daemon.close();
      return ctx.skip('needs the right to mount a tmpfs');
    }
    const filler = join(daemon.stateDir, 'filler');
    try {
      await daemon.start();
      const before = await held(daemon, 'before');
      const ending = await held(daemon, 'ending');
      fillUp(filler, daemon.stateDir);

      const acknowledged = new Set([before.reservation.id]);
      const codes = new Set<string>();
      for (let i = 0; i < 40; i++) {
        await daemon.client.reserve(channel({ name: `full ${i}`, startTimeoutMs: 600_000 })).then(
          ({ reservation }) => acknowledged.add(reservation!.id),
          ({ code }) => codes.add(code),
        );
      }
      // NO_CAPACITY: LevelDB's last page took some first.
      expect([...codes].filter((code) => code !== 'NO_CAPACITY')).toEqual(['STORE_FAILED']);
      expect((await daemon.client.predict(channel())).decision!.forecast!.horizons).toHaveLength(3);
      expect((await daemon.client.getHost({})).cpus.length).toBeGreaterThan(0);
      ending.child.kill('SIGKILL');
      await sleep(1_500);

      rmSync(filler);
      await until(
        async () => (await daemon.reservation('ending'))?.state === 'RESERVATION_STATE_RELEASED',
        'what ended meanwhile is released',
        10_000,
      );
      await until(
        () =>
          daemon.client.reserve(channel({ name: 'after', startTimeoutMs: 600_000 })).then(
            ({ reservation }) => acknowledged.add(reservation!.id) !== undefined,
            ({ code }) => code === 'NO_CAPACITY',
          ),
        'admits again',
        10_000,
      );
      await daemon.end('SIGKILL');
      await daemon.start();
      const { reservations } = await daemon.client.listReservations({});
      expect(new Set(reservations.map(({ id }) => id))).toEqual(acknowledged);
    } finally {
      await daemon.end('SIGKILL');
      execFileSync('umount', ['--lazy', daemon.stateDir]);
      await daemon.close();
    }
  });

  it('damaged, the history: set aside, started fresh, channels go on and retries get their first answer', async () => {
    const daemon = new LiveDaemon();
    try {
      await daemon.start();
      const { child, reservation } = await held(daemon, 'goes on');
      await daemon.end('SIGKILL');
      const database = join(daemon.stateDir, 'history/db');
      for (const name of readdirSync(database)) {
        const file = join(database, name);
        writeFileSync(file, readFileSync(file).fill(0xa5));
      }
      await daemon.start();
      expect(readdirSync(daemon.stateDir)).toContainEqual(expect.stringMatching(/^history\.damaged-/));
      expect(daemon.said()).toMatch(/the history in .* was damaged .* set aside as .* a fresh one started/);
      const now = await daemon.reservation('goes on');
      expect(now).toMatchObject({ id: reservation.id, process: { pid: child.pid } });
      await held(daemon, 'another');
      child.kill('SIGKILL');
      await until(
        async () => (await daemon.reservation('goes on'))?.state === 'RESERVATION_STATE_RELEASED',
        'released',
      );
    } finally {
      await daemon.close();
    }
  });
});

/** The daemon writes meanwhile: the last of it may not fit, and then the disk is full as well. */
function fillUp(file: string, directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  try {
    writeFileSync(file, Buffer.alloc(bavail * bsize));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
