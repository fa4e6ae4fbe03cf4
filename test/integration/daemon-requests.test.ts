import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync, readlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveDaemon, until } from '../support/live-daemon.js';
import { channel, fieldsOf, freshKey, held, signed, sleeper, troubles } from '../support/live-requests.js';
import { rawReserve } from '../support/raw-reserve.js';

const ROOT = resolve(import.meta.dirname, '../..');
const isRoot = process.getuid?.() === 0;

describe('the daemon and requests that are wrong', { timeout: 30_000 }, () => {
  const daemon = new LiveDaemon();
  beforeAll(async () => {
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it.each([
    ['an unknown codec', signed({}, { codec: 'vp17' }), ['signature.input.codec'], '"vp17"'],
    ['an unknown encoder', signed({ encoder: 'libx999' }), ['signature.outputs[0].encoder'], '"libx999"'],
    [
      'an encoder named as a property',
      signed({ encoder: 'constructor' }),
      ['signature.outputs[0].encoder'],
      '',
    ],
    ['an unknown preset', signed({ preset: 'warp' }), ['signature.outputs[0].preset'], '"warp"'],
    [
      'absurd sizes',
      signed({ width: 4_294_967_295, height: 0 }, { width: 1_000_000 }),
      ['signature.input.width', 'signature.outputs[0].width', 'signature.outputs[0].height'],
      '4294967295',
    ],
    [
      'rates that are no numbers or negative',
      signed({ fps: Number.NaN, crf: Number.NaN }, { fps: -1 }),
      ['signature.input.fps', 'signature.outputs[0].fps', 'signature.outputs[0].crf'],
      'NaN',
    ],
    ['a huge bitrate', signed({}, { bitrateBps: 9e15 }), ['signature.input.bitrate_bps'], '9000000000000000'],
    ['a wait of centuries', { waitMs: 9e15 }, ['wait_ms'], '9000000000000000'],
    ['no idempotency key', { idempotencyKey: '' }, ['idempotency_key'], '""'],
  ])('refuses %s and names field and value', async (_what, more, fields, value) => {
    const refused = await fieldsOf(daemon.client.reserve(channel(more)));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', fields });
    expect((refused as { message: string }).message).toContain(value);
  });

  it('refuses more CPUs than the host has, in these words', async () => {
    const refused = await fieldsOf(daemon.client.reserve(channel({ cpuCount: 8_192, waitMs: 1_000 })));
    expect(refused).toMatchObject({ code: 'NO_CAPACITY' });
    expect((refused as { message: string }).message).toContain('asks for 8192 CPUs, more than the');
  });

  it('refuses bytes that no codec writes, a negative bitrate among them, and messages past the limit', async () => {
    const INVALID_ARGUMENT = 3;
    const garbage = await rawReserve(daemon.socket, Buffer.alloc(64, 0xff));
    expect(garbage.code).toBe(INVALID_ARGUMENT);
    const nested = await rawReserve(daemon.socket, Buffer.alloc(100_000, 0x0b));
    expect(nested.code).toBe(INVALID_ARGUMENT);
    // signature { input { bitrate_bps: -1 } }, as a client in C would write it.
    const minusOne = [0x28, ...Array(9).fill(0xff), 0x01];
    const negative = await rawReserve(daemon.socket, Buffer.from([0x0a, 13, 0x0a, 11, ...minusOne]));
    expect(negative.code).toBe(INVALID_ARGUMENT);
    expect(negative.details).toMatch(/bitrate_bps is 1844674407370955\d+; expected a number from 0 to/);
    const oversize = await fieldsOf(daemon.client.reserve(channel({ name: 'x'.repeat(300_000) })));
    expect(oversize).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect((oversize as { message: string }).message).toMatch(/300\d+ vs 262144/);
  });

  it('answers a retry with the first answer and refuses another request under its key', async () => {
    const call = channel({ idempotencyKey: 'the same' });
    const first = await daemon.client.reserve(call);
    expect(await daemon.client.reserve(call)).toEqual(first);
    await expect(daemon.client.reserve({ ...call, name: 'another' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    const { id, token } = first.reservation!;
    await daemon.client.release({ reservationId: id, token });
  });

  it('refuses a pid that does not exist or has changed, and tokens that are not in force', async () => {
    const { reservation } = await daemon.client.reserve(channel());
    const { id, token } = reservation!;
    const attach = (process: { pid: number; startTicks?: number }, held = token) =>
      fieldsOf(
        daemon.client.attach({
          ...{ reservationId: id, token: held, process },
          idempotencyKey: freshKey(),
        }),
      );
    expect(await attach({ pid: 4_194_303 })).toMatchObject({ code: 'PROCESS_GONE' });
    expect(await attach({ pid: 4_294_967_295 })).toMatchObject({ fields: ['process.pid'] });
    expect(await attach({ pid: process.pid, startTicks: 5 })).toMatchObject({ code: 'PROCESS_GONE' });
    expect(await attach({ pid: process.pid }, token + 1)).toMatchObject({ code: 'STALE_TOKEN' });
    const { pid } = sleeper();
    expect(await attach({ pid })).toBe('taken');
    // The attach made a new token: the old one is nobody's now.
    expect(await fieldsOf(daemon.client.release({ reservationId: id, token }))).toMatchObject({
      code: 'STALE_TOKEN',
    });
    const active = (await daemon.client.listReservations({})).reservations.find((one) => one.id === id)!;
    await daemon.client.release({ reservationId: id, token: active.token });
  });

  it("keeps another user from root's processes, reservations, models and history", async (ctx) => {
    if (!isRoot) return ctx.skip('needs root, to become another user');
    const { child, reservation } = await held(daemon, 'of root');
    chmodSync(daemon.dir, 0o755);
    chmodSync(daemon.socket, 0o666);
    const script = join(ROOT, 'test/support/as-nobody.mjs');
    const args = [script, join(ROOT, 'dist'), daemon.socket, child.pid, reservation.id, reservation.token];
    const answers = execFileSync(process.execPath, args.map(String), { encoding: 'utf8' });
    expect(JSON.parse(answers)).toEqual({
      attachOfAnother: 'PERMISSION_DENIED',
      releaseOfAnother: 'PERMISSION_DENIED',
      recordRun: 'PERMISSION_DENIED',
      train: 'PERMISSION_DENIED',
      promote: 'PERMISSION_DENIED',
      rollback: 'PERMISSION_DENIED',
      verifyHistory: 'PERMISSION_DENIED',
      compactHistory: 'PERMISSION_DENIED',
      backupHistory: 'PERMISSION_DENIED',
      importHistory: 'PERMISSION_DENIED',
      getHistoryStats: 'OK',
      attachOfOwn: 'OK',
    });
    child.kill('SIGKILL');
  });

  it('expires what is not started in time and frees its CPUs', async () => {
    const { reservation } = await daemon.client.reserve(channel({ name: 'late', startTimeoutMs: 200 }));
    const { id, token } = reservation!;
    await until(
      async () => (await daemon.reservation('late'))?.state === 'RESERVATION_STATE_EXPIRED',
      'expired',
      2_000,
    );
    expect((await daemon.reservation('late'))!.cpus).toEqual([]);
    await expect(
      daemon.client.attach({
        reservationId: id,
        token,
        process: { pid: process.pid },
        idempotencyKey: 'late',
      }),
    ).rejects.toMatchObject({ code: 'WRONG_STATE' });
  });

  it('keeps no descriptor of fifty short reservations, and said of all the above nothing that is an error', async () => {
    await until(
      async () => (await daemon.client.listReservations({})).reservations.length === 0,
      'none held',
    );
    // The first ones open what stays open: LevelDB's files, a sampler.
    for (let i = 0; i < 3; i++) await shortReservation(daemon, i);
    const before = openFiles(daemon.pid);
    for (let i = 0; i < 50; i++) await shortReservation(daemon, i);
    // Some: the monitor opens files of /proc/net when it first needs them.
    await until(() => openFiles(daemon.pid) < before + 10, `about ${before} files, as before`, 5_000);
    expect(readdirSync(`/proc/${daemon.pid}/fd`).map((fd) => linkOf(daemon.pid, fd))).not.toContainEqual(
      expect.stringMatching(/mat-debug|DeveloperTools/),
    );
    expect(troubles(daemon)).toEqual([]);
  });
});

async function shortReservation(daemon: LiveDaemon, i: number): Promise<void> {
  const { child, reservation } = await held(daemon, 'short');
  const { id: reservationId, token } = reservation;
  const session = daemon.client.session();
  await session.send({ reservationId, token });
  for await (const answer of session.messages) if (answer.reservation !== null) break;
  if (i % 2 === 0) await daemon.client.release({ reservationId, token });
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  session.cancel();
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}
