import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, until } from '../support/live-daemon.js';
import { held } from '../support/live-requests.js';

/** proc_sys_kernel(5): the next pid is the one after this, where it is free. */
const LAST_PID = '/proc/sys/kernel/ns_last_pid';
const ATTEMPTS = 200;

describe('a pid that is given again', { timeout: 60_000 }, () => {
  const daemon = new LiveDaemon();
  const reused: ChildProcess[] = [];
  beforeAll(async () => {
    await daemon.start();
  });
  afterAll(async () => {
    for (const child of reused) child.kill('SIGKILL');
    await daemon.close();
  });

  const stateOf = async (id: string) =>
    (await daemon.client.listReservations({ includeEnded: true })).reservations.find((one) => one.id === id)
      ?.state;
  /** Others on this host make processes, too: it may take a few attempts. */
  const startedAs = async (pid: number): Promise<ChildProcess | undefined> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      writeFileSync(LAST_PID, String(pid - 1));
      const child = spawn('sleep', ['600'], { stdio: 'ignore' });
      reused.push(child);
      if (child.pid === pid) return child;
      child.kill('SIGKILL');
    }
    return undefined;
  };
  const mayForce = (() => {
    try {
      accessSync(LAST_PID, constants.W_OK);
      return process.getuid?.() === 0;
    } catch {
      return false;
    }
  })();
  const notForced = 'may not choose pids here (ns_last_pid)';

  it('is another process: the reservation ends with the old one, and the new one is left alone', async (ctx) => {
    if (!mayForce) return ctx.skip(notForced);
    const { child, reservation } = await held(daemon, 'served');
    child.kill('SIGKILL');
    await until(() => child.signalCode !== null, 'the process has ended');
    const again = await startedAs(child.pid);
    if (again === undefined) return ctx.skip('another process took the pid each time');
    await until(async () => (await stateOf(reservation.id)) === 'RESERVATION_STATE_RELEASED', 'released');
    expect(hostAddon().getThreadAffinity(again.pid!)).toEqual(hostAddon().getThreadAffinity(0));
  });

  it('is another process, too, when it was given again while no daemon ran', async (ctx) => {
    if (!mayForce) return ctx.skip(notForced);
    const { child, reservation } = await held(daemon, 'survived by its pid');
    await daemon.end('SIGKILL');
    child.kill('SIGKILL');
    await until(() => child.signalCode !== null, 'the process has ended');
    const again = await startedAs(child.pid);
    if (again === undefined) return ctx.skip('another process took the pid each time');
    await daemon.start();
    expect(await stateOf(reservation.id)).toBe('RESERVATION_STATE_RELEASED');
    const ticks = hostAddon().startTicks(again.pid!);
    expect(ticks).toBeGreaterThan(reservation.process!.startTicks);
    expect(hostAddon().getThreadAffinity(again.pid!)).toEqual(hostAddon().getThreadAffinity(0));
    expect(again.signalCode).toBeNull();
  });
});
