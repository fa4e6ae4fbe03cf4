import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveDaemon, until } from '../support/live-daemon.js';
import { channel, fieldsOf, held } from '../support/live-requests.js';

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'dist/main.js');

describe('the configuration', { timeout: 30_000 }, () => {
  const daemon = new LiveDaemon();
  beforeAll(async () => {
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('with an unknown key ends corecastd with 78 and says which', () => {
    const file = join(daemon.dir, 'bad.toml');
    writeFileSync(file, '[limits]\nhost_lod = 1\n');
    const { status, stderr } = spawnSync(process.execPath, [MAIN, '--config', file], { encoding: 'utf8' });
    expect(status).toBe(78);
    expect(stderr).toContain(
      'limits.host_lod is not a key that corecast knows; did you mean limits.host_load?',
    );
  });

  it('is read again at SIGHUP: applied at once when good, not at all when any of it is bad', async () => {
    const good = readFileSync(daemon.config, 'utf8');
    const reload = async (text: string, says: string) => {
      writeFileSync(daemon.config, text);
      const from = daemon.said().length;
      process.kill(daemon.pid, 'SIGHUP');
      await until(() => daemon.said().slice(from).includes(says), says, 5_000);
      return daemon.said().slice(from);
    };
    const oneChannel = good.replace('[limits]', '[limits]\nchannels = 1');
    const said = await reload(`${oneChannel}\n[limitz]\nx = 1\n`, 'the old one stays');
    expect(said).toContain('limitz is not a key');
    // Only the host itself shows what is wrong with this one: nothing of it may be in force.
    await reload(`${oneChannel}\n[cpus]\nhousekeeping = "8191"\n`, 'the old one stays');
    const two = [await held(daemon, 'one'), await held(daemon, 'two')];
    for (const { child } of two) child.kill('SIGKILL');
    await until(
      async () => (await daemon.client.listReservations({})).reservations.length === 0,
      'none held',
    );

    await reload(oneChannel, 'configuration applied');
    const { child } = await held(daemon, 'only');
    const refused = await fieldsOf(daemon.client.reserve(channel()));
    expect(refused).toMatchObject({ code: 'NO_CAPACITY' });
    expect((refused as { message: string }).message).toContain('1 channel of at most 1');
    child.kill('SIGKILL');
    const pace = '[monitor]\ninterval_ms = 500\n[sharing]\nheadroom = 0.1\n';
    const waiting = await reload(`${good}\n${pace}[history]\nflush_ms = 4000\n`, 'wait for a restart');
    expect(waiting).toContain('"sections":["history"]');
  });

  it.each([
    [
      'state directory',
      (other: LiveDaemon) => ({ state: daemon.stateDir, socket: other.socket }),
      'state_dir',
    ],
    [
      'socket',
      (other: LiveDaemon) => ({ state: other.stateDir, socket: daemon.socket }),
      'another corecastd',
    ],
  ])(
    'of a second daemon on one %s ends it with 69 and leaves the first alone',
    async (what, places, says) => {
      const name = `undisturbed on its ${what}`;
      const { child, reservation } = await held(daemon, name);
      const other = new LiveDaemon();
      const { state, socket } = places(other);
      const [stateDir, path] = [JSON.stringify(state), JSON.stringify(socket)];
      const file = join(other.dir, 'second.toml');
      writeFileSync(file, `[daemon]\nsocket = ${path}\nstate_dir = ${stateDir}\nhttp_address = ""\n`);
      const { status, stderr } = spawnSync(process.execPath, [MAIN, '--config', file], { encoding: 'utf8' });
      expect(status).toBe(69);
      expect(stderr).toContain(says);
      expect(existsSync(daemon.socket)).toBe(true);
      expect(await daemon.reservation(name)).toMatchObject({ state: 'RESERVATION_STATE_ACTIVE' });
      await daemon.client.release({ reservationId: reservation.id, token: reservation.token });
      child.kill('SIGKILL');
      await other.close();
    },
  );
});
