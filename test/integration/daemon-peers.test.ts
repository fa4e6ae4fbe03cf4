import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon } from '../support/live-daemon.js';
import { channel, freshKey, held, sleeper } from '../support/live-requests.js';

const ROOT = resolve(import.meta.dirname, '../..');
const SCRIPT = join(ROOT, 'test/support/peer-calls.mjs');
const ALICE = 61_001;
const BOB = 61_002;
const works = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
/** Why other users cannot be played here; empty where they can. */
const noUsers =
  process.getuid?.() === 0 && works('setpriv', '--version')
    ? ''
    : 'needs root and setpriv (util-linux), to be other users';
const asUser = (uid: number) => ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
const inContainer = ['unshare', '--pid', '--fork', '--mount-proc'];

interface Call {
  readonly method: string;
  readonly request?: object;
}
// biome-ignore lint/suspicious/noExplicitAny: answers of whichever method was called
type Answer = { readonly ok?: any; readonly code?: string };

describe('callers of a real daemon', () => {
  const daemon = new LiveDaemon();
  beforeAll(async () => {
    await daemon.start();
    chmodSync(daemon.dir, 0o755);
    chmodSync(daemon.socket, 0o666);
  });
  afterAll(() => daemon.close());

  const ask = (prefix: readonly string[], calls: readonly Call[]): Answer[] => {
    const command = [...prefix, process.execPath, SCRIPT, join(ROOT, 'dist'), daemon.socket];
    const answers = execFileSync(command[0]!, [...command.slice(1), JSON.stringify(calls)], {
      encoding: 'utf8',
    });
    return JSON.parse(answers);
  };
  const listed = (answer: Answer | undefined, id: string) =>
    answer?.ok.reservations.find((one: { id: string }) => one.id === id);
  const reserve = (name: string): Call => ({ method: 'reserve', request: channel({ name }) });
  const list: Call = { method: 'listReservations', request: {} };

  it('see the tokens of their own reservations only; root sees all', async (ctx) => {
    if (noUsers !== '') return ctx.skip(noUsers);
    const [reserved, own] = ask(asUser(ALICE), [reserve('of alice'), list]);
    const { id, token } = reserved!.ok.reservation;
    expect(token).toBeGreaterThan(0);
    expect(listed(own, id)).toMatchObject({ token, uid: ALICE });
    const [others, watched] = ask(asUser(BOB), [list, { method: 'watchReservations' }]);
    expect(listed(others, id)).toMatchObject({ name: 'of alice', uid: ALICE, token: 0 });
    expect(watched!.ok.reservation).toMatchObject({ id, token: 0 });
    expect(listed({ ok: await daemon.client.listReservations({}) }, id)).toMatchObject({ token });
    await daemon.client.release({ reservationId: id, token });
  });

  it('may neither attach to, speak for nor release what is of another user, even with its token', async (ctx) => {
    if (noUsers !== '') return ctx.skip(noUsers);
    const { child, reservation } = await held(daemon, 'of root');
    const { id, token } = reservation;
    const lease = { reservationId: id, token };
    const own = sleeper();
    const foreign = { ...lease, idempotencyKey: freshKey() };
    const answers = ask(asUser(BOB), [
      { method: 'attach', request: { ...foreign, process: { pid: child.pid } } },
      { method: 'attach', request: { ...foreign, idempotencyKey: freshKey(), process: { pid: own.pid } } },
      { method: 'session', request: lease },
      { method: 'session', request: { ...lease, token: token + 1, process: { pid: child.pid } } },
      { method: 'session', request: { ...lease, restarting: true } },
      { method: 'release', request: lease },
      reserve('of bob'),
    ]);
    expect(answers.slice(0, -1)).toEqual(Array(6).fill({ code: 'PERMISSION_DENIED' }));
    const { id: bobs, token: his } = answers.at(-1)!.ok.reservation;
    // Nor may he have a process of another user pinned, with a reservation of his own.
    const mine = { reservationId: bobs, token: his, process: { pid: child.pid } };
    expect(
      ask(asUser(BOB), [{ method: 'attach', request: { ...mine, idempotencyKey: freshKey() } }]),
    ).toEqual([{ code: 'PERMISSION_DENIED' }]);
    const [now] = (await daemon.client.listReservations({})).reservations.filter((one) => one.id === id);
    expect(now).toMatchObject({ state: 'RESERVATION_STATE_ACTIVE', token, process: reservation.process });
    await daemon.client.release(lease);
    await daemon.client.release({ reservationId: bobs, token: his });
  });

  it('in a container name processes as they see them: the right one is pinned', (ctx) => {
    if (noUsers !== '') return ctx.skip(noUsers);
    if (!works(inContainer[0]!, ...inContainer.slice(1), 'true'))
      return ctx.skip('may not make pid namespaces here');
    const calls = [reserve('in a container')];
    const [reserved] = ask([...inContainer, ...asUser(ALICE)], calls);
    const { id, token, cpus } = reserved!.ok.reservation;
    // In there, the first process is 1; here, 1 is another user's.
    const [attached] = ask(
      [...inContainer, ...asUser(ALICE)],
      [
        {
          method: 'attach',
          request: { reservationId: id, token, process: { pid: 1 }, idempotencyKey: freshKey() },
        },
      ],
    );
    const { process: seen, state } = attached!.ok.reservation;
    expect(state).toBe('RESERVATION_STATE_ACTIVE');
    expect(seen.pid).toBeGreaterThan(1);
    expect(seen.startTicks).not.toBe(hostAddon().startTicks(1));
    for (const thread of attached!.ok.threads) {
      expect(thread.cpus).toBe(cpus.map(({ cpu }: { cpu: number }) => cpu).join());
    }
  });
});
