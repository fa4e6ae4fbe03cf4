import { describe, expect, it } from 'vitest';
import { cpuset } from '../../src/lib/cpuset.js';
import { CorecastError, isCorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import type { Directive } from '../../src/rpc/control.js';
import { eventually, ManualTime, settled } from '../support/manual-time.js';
import {
  call,
  FOREVER,
  ME,
  realHost,
  STRANGER,
  sleeper,
  type World,
  world,
} from '../support/reservation-world.js';

let keys = 0;
const attachCall = (
  { id, token }: Reservation,
  ref: { pid: number; startTicks: number },
  idempotencyKey = `a${++keys}`,
) => ({ reservationId: id, token, process: ref, idempotencyKey });

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return isCorecastError(error) ? error.code : `not refused: ${String(error)}`;
}

async function realWorld(options: Parameters<typeof world>[0] = {}): Promise<World> {
  const made = await world(options);
  made.knobs.topology = realHost();
  return made;
}

async function running(made: World, milli = 300) {
  const { reservation } = await made.reservations.reserve(call(milli, { cpuCount: 1 }), ME, FOREVER);
  const process = sleeper();
  const attached = await made.reservations.attach(attachCall(reservation, process.ref), ME);
  return { process, ...attached };
}

const beat = { rung: 0, restarting: false };

describe('Attach', () => {
  it('pins the process to the reserved CPUs, with a new token, on the disk', async () => {
    const made = await realWorld();
    const { process, reservation, pin } = await running(made);
    expect(reservation).toMatchObject({ state: 'ACTIVE', process: process.ref, deadlineMs: 0 });
    expect(reservation.token).toBe(2);
    const cpus = cpuset(reservation.cpus.map(({ cpu }) => cpu));
    expect(pin.threads).toEqual([expect.objectContaining({ tid: process.ref.pid, cpus, verified: true })]);
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(cpus);
    made.check();
  });

  it('reads the start time itself when the caller does not know it', async () => {
    const made = await realWorld();
    const { reservation } = await made.reservations.reserve(call(100), ME, FOREVER);
    const { ref } = sleeper();
    const attached = await made.reservations.attach(attachCall(reservation, { ...ref, startTicks: 0 }), ME);
    expect(attached.reservation.process).toEqual(ref);
  });

  it('gives a retry the first answer, without asking for the old token', async () => {
    const made = await realWorld();
    const { reservation } = await made.reservations.reserve(call(100), ME, FOREVER);
    const { ref, end } = sleeper();
    const once = attachCall(reservation, ref, 'same');
    const [a, b] = await Promise.all([
      made.reservations.attach(once, ME),
      made.reservations.attach(once, ME),
    ]);
    const c = await made.reservations.attach(once, ME);
    expect([b.reservation, c.reservation]).toEqual([a.reservation, a.reservation]);
    expect(c.pin.threads).toHaveLength(1);
    await end();
    await eventually('released', () => made.reservations.get(reservation.id)?.state === 'RELEASED');
    expect(await made.reservations.attach(once, ME)).toEqual({
      reservation: a.reservation,
      pin: { threads: [], repaired: 0 },
    });
  });

  it('refuses what it must, and changes nothing', async () => {
    const made = await realWorld();
    const { attach, reserve, get } = made.reservations;
    const { reservation } = await reserve(call(100), ME, FOREVER);
    const other = await running(made);
    const { ref, end } = sleeper();
    const gone = sleeper();
    await gone.end();
    const cases: [string, Promise<unknown>][] = [
      ['NOT_FOUND', attach(attachCall({ ...reservation, id: 'none' }, ref), ME)],
      ['STALE_TOKEN', attach(attachCall({ ...reservation, token: 0 }, ref), ME)],
      ['STALE_TOKEN', attach(attachCall({ ...reservation, token: 99 }, ref), ME)],
      ['PERMISSION_DENIED', attach(attachCall(reservation, ref), STRANGER)],
      ['PERMISSION_DENIED', attach(attachCall(reservation, ref), { uid: -1, gid: -1, pid: 0 })],
      ['PROCESS_GONE', attach(attachCall(reservation, gone.ref), ME)],
      ['PROCESS_GONE', attach(attachCall(reservation, { ...ref, startTicks: ref.startTicks - 1 }), ME)],
      ['PROCESS_GONE', attach(attachCall(reservation, { pid: 2 ** 22 + 1, startTicks: 0 }), ME)],
      ['WRONG_STATE', attach(attachCall(reservation, other.process.ref), ME)],
    ];
    for (const [code, refused] of cases) expect(await codeOf(refused)).toBe(code);
    expect(get(reservation.id)).toEqual(reservation);
    await made.reservations.release(
      { reservationId: reservation.id, token: reservation.token, reason: '' },
      ME,
    );
    expect(await codeOf(attach(attachCall(reservation, ref), ME))).toBe('WRONG_STATE');
    await end();
  });

  it("refuses another user's process", async () => {
    const strangers = await realWorld();
    const { reservation } = await strangers.reservations.reserve(call(100), STRANGER, FOREVER);
    const { ref } = sleeper();
    expect(await codeOf(strangers.reservations.attach(attachCall(reservation, ref), STRANGER))).toBe(
      'PERMISSION_DENIED',
    );
  });

  it('stands when the kernel refuses to pin, and the error names the new token', async () => {
    const pinning = createPinning({ addon: hostAddon() });
    const pin = () => {
      throw new CorecastError('KERNEL', 'sched_setaffinity: EPERM', { errno: 'EPERM' });
    };
    const made = await realWorld({ deps: { pinning: { ...pinning, pin } } });
    const { reservation } = await made.reservations.reserve(call(100), ME, FOREVER);
    const { ref, end } = sleeper();
    const error = await made.reservations.attach(attachCall(reservation, ref), ME).catch((e: unknown) => e);
    if (!isCorecastError(error, 'KERNEL')) throw error;
    const now = made.reservations.get(reservation.id)!;
    expect(now.state).toBe('ACTIVE');
    expect(error.details).toMatchObject({ errno: 'EPERM', metadata: { token: String(now.token) } });
    await end();
    await eventually('released', () => made.reservations.get(reservation.id)?.state === 'RELEASED');
  });
});

describe('the end of a process', () => {
  it('frees its CPUs at once, however it ended', async () => {
    const made = await realWorld();
    const { process, reservation } = await running(made);
    const before = performance.now();
    process.child.kill('SIGKILL');
    await eventually('released', () => made.reservations.get(reservation.id)?.state === 'RELEASED');
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(made.reservations.occupancy().milli.size).toBe(0);
    expect(made.events.at(-1)).toMatchObject({ event: 'released' });
    made.check();
  });

  it('that was announced as a restart waits for the next process, which goes on in the same session', async () => {
    const made = await realWorld();
    const first = await running(made);
    const { id, token } = first.reservation;
    const session = made.reservations.openSession(id, token, ME, () => {});
    await session.heartbeat({ ...beat, restarting: true });
    await first.process.end();
    await eventually('pending', () => made.reservations.get(id)?.state === 'PENDING');
    expect(made.reservations.get(id)?.cpus).toEqual(first.reservation.cpus);
    const next = sleeper();
    const again = await made.reservations.attach(attachCall(made.reservations.get(id)!, next.ref), ME);
    expect(again.reservation.token).toBeGreaterThan(token);
    const { reservation } = await session.heartbeat(beat);
    expect(reservation).toEqual(again.reservation);
    await next.end();
    await eventually('released', () => made.reservations.get(id)?.state === 'RELEASED');
  });

  it("that was replaced by another attached one is nobody's business", async () => {
    const made = await realWorld();
    const first = await running(made);
    const next = sleeper();
    const { reservation } = await made.reservations.attach(attachCall(first.reservation, next.ref), ME);
    await first.process.end();
    await settled(100);
    expect(made.reservations.get(reservation.id)).toEqual(reservation);
  });
});

describe('Release', () => {
  it('is idempotent, needs the token in force and lets a living process go where it wants', async () => {
    const made = await realWorld();
    const { process, reservation } = await running(made);
    const { id, token } = reservation;
    const release = (with_: number, peer = ME) =>
      made.reservations.release({ reservationId: id, token: with_, reason: 'exit 0' }, peer);
    expect(await codeOf(release(token - 1))).toBe('STALE_TOKEN');
    expect(await codeOf(release(token, STRANGER))).toBe('PERMISSION_DENIED');
    const released = await release(token);
    expect(released).toMatchObject({ state: 'RELEASED', cpus: [], reason: 'exit 0' });
    expect(await release(token)).toEqual(released);
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(made.knobs.topology.schedulable);
  });
});

describe('a session', () => {
  it('keeps the lease; silence makes the reservation ORPHANED, coming back ACTIVE with a new token', async () => {
    const time = new ManualTime();
    const made = await realWorld({ time });
    const { reservation } = await running(made);
    const { id, token } = reservation;
    const session = made.reservations.openSession(id, token, ME, () => {});
    for (let i = 0; i < 5; i++) {
      await time.pass(6_000);
      const { leaseDeadlineMs } = await session.heartbeat(beat);
      expect(leaseDeadlineMs).toBe(time.nowMs() + 10_000);
    }
    expect(made.reservations.get(id)?.state).toBe('ACTIVE');
    await time.pass(10_001);
    await eventually('it is orphaned', () => made.reservations.get(id)?.state === 'ORPHANED');
    expect(made.reservations.get(id)).toMatchObject({ token, cpus: reservation.cpus });
    expect(made.events.at(-1)?.event).toBe('orphaned');
    const back = await session.heartbeat(beat);
    expect(back.reservation).toMatchObject({ state: 'ACTIVE' });
    expect(back.reservation.token).toBeGreaterThan(token);
    await session.heartbeat(beat);
    expect(() => made.reservations.openSession(id, token, ME, () => {})).toThrow(/is not the one in force/);
  });

  it('that closes while the process lives leaves it ORPHANED; the process keeps its CPUs until it ends', async () => {
    const made = await realWorld();
    const { process, reservation } = await running(made);
    const session = made.reservations.openSession(reservation.id, reservation.token, ME, () => {});
    await session.heartbeat(beat);
    session.closed();
    await eventually('orphaned', () => made.reservations.get(reservation.id)?.state === 'ORPHANED');
    expect(made.reservations.get(reservation.id)).toMatchObject({ deadlineMs: 0, cpus: reservation.cpus });
    await process.end();
    await eventually('released', () => made.reservations.get(reservation.id)?.state === 'RELEASED');
  });

  it('gives up an orphan when its grace is over, and sets its process free', async () => {
    const time = new ManualTime();
    const made = await realWorld({ time, config: { leases: { orphan_grace_ms: 5_000 } } });
    const { process, reservation } = await running(made);
    await time.pass(10_001);
    await eventually('it is orphaned', () => made.reservations.get(reservation.id)?.state === 'ORPHANED');
    await time.pass(4_000);
    expect(made.reservations.get(reservation.id)?.state).toBe('ORPHANED');
    await time.pass(2_000);
    await eventually('released', () => made.reservations.get(reservation.id)?.state === 'RELEASED');
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(made.knobs.topology.schedulable);
  });

  it('is superseded by a newer one, carries directives, and ends with the reservation', async () => {
    const made = await realWorld();
    const { process, reservation } = await running(made);
    const { id, token } = reservation;
    const heard: Directive[] = [];
    const older = made.reservations.openSession(id, token, ME, () =>
      heard.push({ kind: 'stop', reason: 'wrong' }),
    );
    const newer = made.reservations.openSession(id, token, ME, (directive) => heard.push(directive));
    expect(await codeOf(older.heartbeat(beat))).toBe('STALE_TOKEN');
    older.closed();
    const directive: Directive = { kind: 'set_rung', rung: 1, reason: 'late' };
    expect(made.reservations.direct(id, directive)).toBe(true);
    expect(heard).toEqual([directive]);
    await newer.heartbeat(beat);
    expect(made.reservations.get(id)?.state).toBe('ACTIVE');
    await process.end();
    await eventually('released', () => made.reservations.get(id)?.state === 'RELEASED');
    expect(made.reservations.direct(id, directive)).toBe(false);
    expect(await codeOf(newer.heartbeat(beat))).toMatch(/STALE_TOKEN|WRONG_STATE/);
  });

  it('is for the owner with the token, of a reservation that is held', async () => {
    const made = await realWorld();
    const { reservation } = await running(made);
    const { id, token } = reservation;
    const open =
      (...args: [string, number, typeof ME]) =>
      () =>
        made.reservations.openSession(...args, () => {});
    expect(open(id, token, STRANGER)).toThrow(/belongs to uid/);
    expect(open(id, token - 1, ME)).toThrow(/not the one in force/);
    expect(await codeOf(open('none', 1, ME)().heartbeat(beat))).toBe('NOT_FOUND');
    expect(await codeOf(open(id, token + 5, ME)().heartbeat(beat))).toBe('STALE_TOKEN');
    const other = sleeper();
    expect(await codeOf(open(id, token, ME)().heartbeat({ ...beat, process: other.ref }))).toBe(
      'WRONG_STATE',
    );
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    expect(open(id, token, ME)).toThrow(/is RELEASED/);
  });
});

describe('resize', () => {
  it('moves the process, then frees the old CPUs', async (ctx) => {
    const made = await realWorld();
    const [a, b] = made.knobs.topology.schedulable;
    if (a === undefined || b === undefined) return ctx.skip('needs two CPUs');
    const { process, reservation } = await running(made, 600);
    const from = reservation.cpus[0]!.cpu;
    const to = from === a ? b : a;
    const grown = await made.reservations.resize(
      reservation.id,
      [
        { cpu: from, shareMilli: 600 },
        { cpu: to, shareMilli: 900 },
      ],
      'grown',
      'late',
    );
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(cpuset([from, to]));
    expect(made.events.at(-1)).toEqual({ reservation: grown, event: 'grown', reason: 'late' });
    await made.reservations.resize(reservation.id, [{ cpu: to, shareMilli: 900 }], 'moved', 'calm');
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual([to]);
    expect([...made.reservations.occupancy().milli]).toEqual([[to, 900]]);
    expect((await made.reservations.setRung(reservation.id, 1, 'late')).rung).toBe(1);
    expect(made.events.at(-1)?.event).toBe('degraded');
    await made.reservations.setRung(reservation.id, 0, 'calm');
    expect(made.events.at(-1)?.event).toBe('restored');
    made.check();
  });

  it('refuses CPUs that others hold, that are not there, and shares that are none', async () => {
    const made = await world({ cpus: 2 });
    const [a, b] = await Promise.all(
      [700, 800].map((milli) => made.reservations.reserve(call(milli, { cpuCount: 1 }), ME, FOREVER)),
    );
    const resize = (cpu: number, shareMilli: number) =>
      codeOf(made.reservations.resize(a!.reservation.id, [{ cpu, shareMilli }], 'moved', 'x'));
    const others = b!.reservation.cpus[0]!.cpu;
    expect(await resize(others, 201)).toBe('NO_CAPACITY');
    expect(await resize(7, 100)).toBe('NO_CAPACITY');
    expect(await resize(others, 0)).toBe('INVALID_ARGUMENT');
    expect(await resize(others, 1_001)).toBe('INVALID_ARGUMENT');
    expect(await codeOf(made.reservations.resize(a!.reservation.id, [], 'moved', 'x'))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(made.reservations.get(a!.reservation.id)).toEqual(a!.reservation);
    await made.reservations.resize(a!.reservation.id, [{ cpu: others, shareMilli: 200 }], 'moved', 'x');
    made.check();
  });

  it('keeps the old CPUs when the kernel refuses the new ones', async () => {
    const pinning = createPinning({ addon: hostAddon() });
    const faults = { on: false };
    const made = await realWorld({
      deps: {
        pinning: {
          ...pinning,
          pin(process, cpus) {
            if (faults.on)
              throw new CorecastError('KERNEL', 'sched_setaffinity: EINVAL', { errno: 'EINVAL' });
            return pinning.pin(process, cpus);
          },
        },
      },
    });
    const { reservation } = await running(made, 600);
    const { id, cpus } = reservation;
    faults.on = true;
    const smaller = [{ cpu: cpus[0]!.cpu, shareMilli: 100 }];
    expect(await codeOf(made.reservations.resize(id, smaller, 'shrunk', 'x'))).toBe('KERNEL');
    expect(made.reservations.get(id)?.cpus).toEqual(cpus);
    expect(made.reservations.occupancy().milli.get(cpus[0]!.cpu)).toBe(600);
    faults.on = false;
    await made.reservations.resize(id, smaller, 'shrunk', 'x');
    expect(made.reservations.occupancy().milli.get(cpus[0]!.cpu)).toBe(100);
  });
});
