import { cpSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import { Gate } from '../support/gate.js';
import { open, record, temporaryDirectory } from '../support/ledger-records.js';
import { eventually, ManualTime } from '../support/manual-time.js';
import {
  call,
  checkInvariants,
  FOREVER,
  ME,
  realHost,
  STRANGER,
  sleeper,
  type World,
  world,
} from '../support/reservation-world.js';

const beat = { rung: 0, restarting: false };
let keys = 0;

/** The next life of a daemon that was killed: on a copy of what was on the disk at that moment. */
async function afterKill(
  before: World,
  options: Parameters<typeof world>[0] = {},
): Promise<World & { lines: string[] }> {
  const directory = `${before.directory}-${++keys}`;
  cpSync(before.directory, directory, { recursive: true });
  await before.stop();
  const next = await world({ directory, ids: `life${keys}-`, ...options });
  next.knobs.topology = before.knobs.topology;
  const lines = [...next.report, ...(await next.reservations.reconcile())];
  return { ...next, lines };
}

async function running(made: World, milli = 300) {
  const { reservation } = await made.reservations.reserve(call(milli, { cpuCount: 1 }), ME, FOREVER);
  const process = sleeper();
  const attached = await made.reservations.attach(
    {
      reservationId: reservation.id,
      token: reservation.token,
      process: process.ref,
      idempotencyKey: `a${++keys}`,
    },
    ME,
  );
  return { process, reservation: attached.reservation };
}

describe('a restart', () => {
  it('takes nothing for a process of an earlier boot, even with its pid and start time', async () => {
    const first = await world({ deps: { bootId: 'before' } });
    first.knobs.topology = realHost();
    const { process, reservation } = await running(first);
    const another = first.knobs.topology.schedulable;
    await first.stop();
    hostAddon().setProcessAffinity(process.ref.pid, another);
    const { reservations, lines } = await afterKill(first, { deps: { bootId: 'after' } });
    expect(lines.join()).toContain(`process ${process.ref.pid} ended when the host was restarted`);
    expect(reservations.get(reservation.id)).toMatchObject({ state: 'RELEASED', cpus: [] });
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(another);
  });

  it('goes by pid and start time alone where the record is of a version that wrote no boot', async () => {
    const first = await world();
    first.knobs.topology = realHost();
    const { reservation } = await running(first);
    const { bootId: _, ...old } = first.ledger.get(reservation.id)!;
    await first.ledger.commit({ records: [old] });
    const { reservations } = await afterKill(first, { deps: { bootId: 'after' } });
    expect(reservations.get(reservation.id)?.state).toBe('ACTIVE');
  });

  it('releases what ended, also where its holder goes before the disk takes it', async () => {
    const gate = new Gate();
    const first = await world();
    const { process, reservation } = await running(first);
    await first.stop();
    await process.end();
    gate.fails = true;
    const { reservations, lines } = await afterKill(first, {
      createStore: gate.store,
      config: { leases: { orphan_grace_ms: 0 } },
    });
    expect(lines.join()).toContain('could not be written yet');
    const { id, token } = reservation;
    reservations.openSession(id, token, ME, () => {}).closed();
    gate.fails = false;
    await eventually('it is released', () => reservations.get(id)?.state === 'RELEASED', 5_000);
    expect(reservations.occupancy().milli.size).toBe(0);
  });

  it('adopts what runs, repairs its masks, releases what ended and keeps what may still start', async () => {
    const first = await world();
    first.knobs.topology = realHost();
    const alive = await running(first);
    const drifted = await running(first);
    const dead = await running(first);
    const pending = await first.reservations.reserve(call(100, { startTimeoutMs: 60_000 }), ME, FOREVER);
    hostAddon().setProcessAffinity(drifted.process.ref.pid, first.knobs.topology.schedulable);
    const copied = afterKill(first);
    await dead.process.end();
    const second = await copied;
    const state = (of: { reservation: Reservation }) => second.reservations.get(of.reservation.id);
    expect(state(alive)).toEqual(alive.reservation);
    expect(state(drifted)).toEqual(drifted.reservation);
    await eventually('the dead one is released', () => state(dead)?.state === 'RELEASED');
    expect(state(pending)).toEqual(pending.reservation);
    expect(hostAddon().getThreadAffinity(drifted.process.ref.pid)).toEqual([
      drifted.reservation.cpus[0]!.cpu,
    ]);
    expect(second.lines.join('\n')).toMatch(/adopted on CPUs \d+, all masks as they were/);
    if (first.knobs.topology.schedulable.length > 1) {
      expect(second.lines.join('\n')).toMatch(/1 of 1 thread masks repaired/);
    }
    // The exit watch is armed again, and the wrapper's session goes on with the token it has.
    const session = second.reservations.openSession(
      alive.reservation.id,
      alive.reservation.token,
      ME,
      () => {},
    );
    await session.heartbeat({ ...beat, process: alive.process.ref });
    await alive.process.end();
    await eventually('released', () => state(alive)?.state === 'RELEASED');
    second.check();
  });

  it('gives holders a whole lease to come back in, and PENDING what was left of its deadline', async () => {
    const time = new ManualTime();
    const first = await world({ time });
    first.knobs.topology = realHost();
    const { reservation } = await running(first);
    const pending = await first.reservations.reserve(call(100, { startTimeoutMs: 8_000 }), ME, FOREVER);
    const late = await first.reservations.reserve(call(100, { startTimeoutMs: 1_000 }), ME, FOREVER);
    time.jumpWallClock(3_000);
    const second = await afterKill(first, { time });
    const state = ({ id }: Reservation) => second.reservations.get(id)?.state;
    expect([state(reservation), state(pending.reservation), state(late.reservation)]).toEqual([
      'ACTIVE',
      'PENDING',
      'EXPIRED',
    ]);
    await time.pass(4_900);
    expect(state(pending.reservation)).toBe('PENDING');
    await time.pass(200);
    await eventually('it expires', () => state(pending.reservation) === 'EXPIRED');
    await time.pass(4_800);
    expect(state(reservation)).toBe('ACTIVE');
    await time.pass(200);
    await eventually('it is orphaned', () => state(reservation) === 'ORPHANED');
  });

  it('does not wait longer than a start may take, if the wall clock was set back', async () => {
    const time = new ManualTime();
    const first = await world({ time });
    const { reservation } = await first.reservations.reserve(
      call(100, { startTimeoutMs: 5_000 }),
      ME,
      FOREVER,
    );
    time.jumpWallClock(-86_400_000);
    const second = await afterKill(first, { time });
    await time.pass(5_001);
    await eventually('it expires', () => second.reservations.get(reservation.id)?.state === 'EXPIRED');
  });

  it('waits for the next process of a channel that was being restarted', async () => {
    const first = await world();
    first.knobs.topology = realHost();
    const { process, reservation } = await running(first);
    const session = first.reservations.openSession(reservation.id, reservation.token, ME, () => {});
    await session.heartbeat({ ...beat, restarting: true });
    const copied = afterKill(first);
    await first.stop();
    await process.end();
    const second = await copied;
    await eventually('pending', () => second.reservations.get(reservation.id)?.state === 'PENDING');
    expect(second.reservations.get(reservation.id)).toMatchObject({ cpus: reservation.cpus });
  });

  it('expires those who waited and says where a reservation holds CPUs that are gone', async () => {
    const directory = temporaryDirectory();
    const { ledger } = await open(directory);
    const { ref } = sleeper();
    await ledger.commit({
      records: [
        record('waits', { state: 'QUEUED', cpus: [] }),
        record('moved', {
          state: 'ACTIVE',
          process: ref,
          cpus: [
            { cpu: 0, shareMilli: 10 },
            { cpu: 900, shareMilli: 10 },
          ],
        }),
      ],
    });
    await ledger.close();
    const made = await world({ directory });
    made.knobs.topology = realHost();
    const lines = await made.reservations.reconcile();
    expect(made.reservations.get('waits')?.state).toBe('EXPIRED');
    expect(made.reservations.get('moved')?.state).toBe('ACTIVE');
    expect(lines.join('\n')).toMatch(/moved: CPUs 900 cannot be reserved any more; it is to be moved/);
  });
});

describe('after the database is lost', () => {
  const announce = (
    made: World,
    { id, token }: Reservation,
    process: { pid: number; startTicks: number },
    rung = 0,
  ) => made.reservations.openSession(id, token, ME, () => {}).heartbeat({ process, rung, restarting: false });

  it("a holder's first message rebuilds its reservation from the kernel, and tokens go on above it", async () => {
    const first = await world();
    first.knobs.topology = realHost();
    for (let i = 0; i < 5; i++) first.ledger.nextToken();
    const { process, reservation } = await running(first, 300);
    await first.stop();
    const second = await world({ ids: 's' });
    second.knobs.topology = first.knobs.topology;
    const { reservation: back } = await announce(second, reservation, process.ref, 1);
    expect(back).toMatchObject({
      id: reservation.id,
      state: 'ACTIVE',
      token: reservation.token,
      process: process.ref,
      name: 'sleep',
      uid: ME.uid,
      rung: 1,
    });
    expect(back.cpus.map(({ cpu }) => cpu)).toEqual(reservation.cpus.map(({ cpu }) => cpu));
    expect(second.ledger.nextToken()).toBeGreaterThan(reservation.token);
    expect(second.events.at(-1)?.event).toBe('adopted');
    second.check();
    await first.stop();
    await process.end();
    await eventually('released', () => second.reservations.get(reservation.id)?.state === 'RELEASED');
  });

  it('channels that shared a CPU share it evenly again, beside what was reserved since', async () => {
    const first = await world();
    first.knobs.topology = realHost();
    const cpu = first.knobs.topology.schedulable[0]!;
    const channels = [sleeper(), sleeper(), sleeper()];
    for (const { ref } of channels) hostAddon().setProcessAffinity(ref.pid, [cpu]);
    await first.reservations.adoptFromKernel(
      { reservationId: 'one', token: 7, process: channels[0]!.ref, rung: 0 },
      ME,
    );
    expect(first.reservations.get('one')?.cpus).toEqual([{ cpu, shareMilli: 1_000 }]);
    await Promise.all(
      ['two', 'three'].map((reservationId, i) =>
        first.reservations.adoptFromKernel(
          { reservationId, token: 3, process: channels[i + 1]!.ref, rung: 0 },
          ME,
        ),
      ),
    );
    for (const id of ['one', 'two', 'three']) {
      expect(first.reservations.get(id)?.cpus).toEqual([{ cpu, shareMilli: 333 }]);
    }
    first.check();
  });

  it('a channel whose CPUs others have now goes where there is room, or is left alone', async () => {
    const made = await world();
    made.knobs.topology = realHost();
    const [a, b] = made.knobs.topology.schedulable;
    const { reservation } = await made.reservations.reserve(call(1_000, { cpuCount: 1 }), ME, FOREVER);
    const taken = reservation.cpus[0]!.cpu;
    const process = sleeper();
    hostAddon().setProcessAffinity(process.ref.pid, [taken]);
    const announced = { reservationId: 'lost', token: 3, process: process.ref, rung: 0 };
    const adopted = made.reservations.adoptFromKernel(announced, ME);
    if (b === undefined) {
      await expect(adopted).rejects.toThrow(/no CPU has room/);
      return;
    }
    const other = taken === a ? b : a!;
    expect((await adopted).cpus).toContainEqual({ cpu: other, shareMilli: 1_000 });
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual([other]);
    checkInvariants(made.reservations, made.knobs.topology);
  });

  it('a record older than what its holder knows is brought up to date', async () => {
    const first = await world();
    first.knobs.topology = realHost();
    const { reservation: pending } = await first.reservations.reserve(
      call(300, { cpuCount: 1 }),
      ME,
      FOREVER,
    );
    const old = `${first.directory}-old`;
    cpSync(first.directory, old, { recursive: true });
    const process = sleeper();
    const { reservation } = await first.reservations.attach(
      { reservationId: pending.id, token: pending.token, process: process.ref, idempotencyKey: 'a' },
      ME,
    );
    await first.stop();
    const second = await world({ directory: old });
    second.knobs.topology = first.knobs.topology;
    await second.reservations.reconcile();
    const { reservation: back } = await announce(second, reservation, process.ref);
    expect(back).toMatchObject({ state: 'ACTIVE', process: process.ref, cpus: pending.cpus });
    expect(back.token).toBeGreaterThan(reservation.token);
  });

  it("refuses what is not the caller's, not alive, held by another, or no announcement", async () => {
    const made = await world();
    made.knobs.topology = realHost();
    const held = await running(made);
    const { ref } = sleeper();
    const gone = sleeper();
    await gone.end();
    const adopt = async (fields: object, peer = ME) => {
      const announced = { reservationId: 'x', token: 3, process: ref, rung: 0, ...fields };
      const error = await made.reservations.adoptFromKernel(announced, peer).catch((e: unknown) => e);
      return isCorecastError(error) ? error.code : error;
    };
    expect(await adopt({}, STRANGER)).toBe('PERMISSION_DENIED');
    expect(await adopt({}, { uid: -1, gid: -1, pid: 0 })).toBe('PERMISSION_DENIED');
    expect(await adopt({ process: gone.ref })).toBe('PROCESS_GONE');
    expect(await adopt({ process: held.process.ref })).toBe('WRONG_STATE');
    expect(await adopt({ reservationId: '../x' })).toBe('INVALID_ARGUMENT');
    expect(await adopt({ reservationId: '' })).toBe('INVALID_ARGUMENT');
    expect(await adopt({ token: Number.MAX_SAFE_INTEGER })).toBe('INVALID_ARGUMENT');
    expect(await adopt({ token: 0.5 })).toBe('INVALID_ARGUMENT');
    expect(made.reservations.list(true)).toEqual([held.reservation]);
  });
});
