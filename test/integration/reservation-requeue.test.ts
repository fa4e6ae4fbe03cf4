import { cpSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import type { Directive, ReserveCall, SessionHandle } from '../../src/rpc/control.js';
import { eventually, ManualTime } from '../support/manual-time.js';
import { call, FOREVER, ME, realHost, sleeper, type World, world } from '../support/reservation-world.js';

const { schedulable } = realHost();
const CPUS = schedulable.length;
const CONFIG = { preemption: { vod: 'requeue' } };
const LEASE_MS = 10_000;
let keys = 0;

type Made = World & { readonly time: ManualTime };

async function host(time = new ManualTime(), directory?: string): Promise<Made> {
  const ids = `life${++keys}-`;
  const made = await world({ time, config: CONFIG, ids, ...(directory === undefined ? {} : { directory }) });
  made.knobs.topology = realHost();
  return { ...made, time };
}

/** As kill -9 leaves it. */
async function nextLife(before: Made): Promise<Made> {
  const directory = `${before.directory}-${++keys}`;
  cpSync(before.directory, directory, { recursive: true });
  await before.stop();
  const next = await host(before.time, directory);
  await next.reservations.reconcile();
  return next;
}

/** A wrapper: its reservation, its process, its session and what it was told. */
async function wrapper(made: Made, fields: Partial<ReserveCall> = {}, requeues = true) {
  const request = call(CPUS * 1000, { channelClass: 'vod', cpuCount: CPUS, ...fields });
  const { reservation } = await made.reservations.reserve(request, ME, FOREVER);
  const process = sleeper();
  const { id } = reservation;
  const token = await attach(made, id, reservation.token, process);
  const told: Directive[] = [];
  const session = await hold(made, id, token, told, requeues);
  return { id, token, process, told, session };
}

async function attach(made: Made, id: string, token: number, { ref }: ReturnType<typeof sleeper>) {
  const request = { reservationId: id, token, process: ref, idempotencyKey: `attach${++keys}` };
  return (await made.reservations.attach(request, ME)).reservation.token;
}

async function hold(
  { reservations }: Made,
  id: string,
  token: number,
  told: Directive[] = [],
  requeues = true,
): Promise<SessionHandle> {
  const session = reservations.openSession(id, token, ME, (directive) => told.push(directive));
  await session.heartbeat({ rung: 0, restarting: false, requeues });
  return session;
}

const live = (made: Made) =>
  made.reservations.reserve(
    call(CPUS * 1000, { cpuCount: CPUS, startTimeoutMs: 600_000, name: 'news' }),
    ME,
    FOREVER,
  );

const now = ({ reservations }: Made, id: string) => reservations.get(id)!;
const ended = (made: Made, id: string) =>
  eventually('its process has ended', () => now(made, id).process === undefined);

function stopped(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2)[0] === 'T';
}

describe('VOD whose policy is to be requeued', () => {
  it('gives its CPUs to live in one write, is told, and starts anew under the same reservation', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation, decision } = await live(made);
    expect(reservation.cpus).toHaveLength(CPUS);
    expect(decision.reasons.find(({ code }) => code === 'PREEMPTED')?.text).toContain(
      `VOD ${vod.id} (priority 50) waits for room again and gives CPUs`,
    );
    const reason = `waits for room again: makes room for live channel ${reservation.id} (news)`;
    expect(now(made, vod.id)).toMatchObject({ state: 'QUEUED', cpus: [], process: vod.process.ref, reason });
    expect(vod.told).toEqual([{ kind: 'requeue', reason }]);
    expect(hostAddon().getThreadAffinity(vod.process.ref.pid)).toEqual(schedulable);
    expect(made.events.map(({ event }) => event)).toContain('requeued');
    made.check();

    await vod.process.end();
    await ended(made, vod.id);
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(2_000);
    const again = now(made, vod.id);
    expect(again).toMatchObject({ state: 'PENDING', token: vod.token });
    expect(again).not.toHaveProperty('pausedFrom');
    expect(again.cpus).toHaveLength(CPUS);
    expect(vod.told.at(-1)).toMatchObject({ kind: 'start' });
    expect(await attach(made, vod.id, vod.token, sleeper())).toBeGreaterThan(vod.token);
    expect(now(made, vod.id).state).toBe('ACTIVE');
    made.check();
  });

  it('does not start anew while its old process runs', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation } = await live(made);
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(3_000);
    expect(now(made, vod.id).state).toBe('QUEUED');
    await vod.process.end();
    await eventually('it has room', () => now(made, vod.id).state === 'PENDING');
  });

  it('gets no CPUs while nobody is there to start it', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation } = await live(made);
    await vod.process.end();
    await ended(made, vod.id);
    vod.session.closed();
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(3_000);
    expect(now(made, vod.id).state).toBe('QUEUED');
    await hold(made, vod.id, vod.token);
    await made.time.pass(2_000);
    expect(now(made, vod.id).state).toBe('PENDING');
  });

  it('expires when its holder does not come back within the lease', async () => {
    const made = await host();
    const vod = await wrapper(made);
    await live(made);
    await vod.process.end();
    await ended(made, vod.id);
    vod.session.closed();
    await made.time.pass(LEASE_MS + 1_000);
    expect(now(made, vod.id)).toMatchObject({ state: 'EXPIRED', reason: expect.stringContaining('silent') });
    expect(made.reservations.queued()).toBe(0);
  });

  it('is paused when its wrapper is killed before its process has ended: nobody would start another', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation } = await live(made);
    vod.session.closed();
    await eventually('it is paused', () => now(made, vod.id).state === 'PAUSED');
    await eventually('it is stopped', () => stopped(vod.process.ref.pid));
    expect(made.reservations.queued()).toBe(0);
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(6_000);
    expect(now(made, vod.id)).toMatchObject({ state: 'ACTIVE' });
    expect(now(made, vod.id).cpus).toHaveLength(CPUS);
    await eventually('it goes on', () => !stopped(vod.process.ref.pid));
    made.check();
  });

  it('is paused when its process does not end', async () => {
    const made = await host();
    const vod = await wrapper(made);
    await live(made);
    for (let ms = 0; ms < 40_000 && now(made, vod.id).state === 'QUEUED'; ms += 5_000) {
      await vod.session.heartbeat({ rung: 0, restarting: false, requeues: true });
      await made.time.pass(5_000);
    }
    expect(now(made, vod.id)).toMatchObject({
      state: 'PAUSED',
      reason: 'paused: it was to start anew, but its process did not end',
    });
  });

  it('keeps its place over a kill of the daemon, before and after its process has ended', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation } = await live(made);
    // The kill came before the process was moved off the CPUs.
    hostAddon().setProcessAffinity(vod.process.ref.pid, schedulable.slice(0, 1));
    const second = await nextLife(made);
    expect(now(second, vod.id)).toMatchObject({ state: 'QUEUED', process: vod.process.ref });
    expect(hostAddon().getThreadAffinity(vod.process.ref.pid)).toEqual(schedulable);
    await vod.process.end();
    await ended(second, vod.id);
    const third = await nextLife(second);
    expect(now(third, vod.id).state).toBe('QUEUED');
    const session = await hold(third, vod.id, vod.token);
    const { reservation: said } = await session.heartbeat({ rung: 0, restarting: false, requeues: true });
    expect(said.state).toBe('QUEUED');
    const { id, token } = reservation;
    await third.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await third.time.pass(2_000);
    expect(now(third, vod.id).state).toBe('PENDING');
    third.check();
  });

  it('goes before VOD that came later, and after live that waits', async () => {
    const made = await host();
    const vod = await wrapper(made);
    const { reservation } = await live(made);
    await vod.process.end();
    await ended(made, vod.id);
    const later = made.reservations.reserve(
      call(CPUS * 1000, { channelClass: 'vod', cpuCount: CPUS, waitMs: 600_000 }),
      ME,
      FOREVER,
    );
    later.catch(() => {});
    await eventually('both wait', () => made.reservations.queued() === 2);
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(2_000);
    expect(now(made, vod.id).state).toBe('PENDING');
    expect(made.reservations.queued()).toBe(1);
  });

  it('can be released while it waits', async () => {
    const made = await host();
    const vod = await wrapper(made);
    await live(made);
    await made.reservations.release({ reservationId: vod.id, token: vod.token, reason: 'told to' }, ME);
    expect(now(made, vod.id)).toMatchObject({ state: 'RELEASED', reason: 'told to' });
    expect(made.reservations.queued()).toBe(0);
    made.check();
  });

  it('is told what to do when it attaches while it waits', async () => {
    const made = await host();
    const vod = await wrapper(made);
    await live(made);
    await expect(attach(made, vod.id, vod.token, sleeper())).rejects.toThrow(
      /start FFmpeg, and attach it, when it is PENDING/,
    );
  });

  it('is paused where its holder cannot start it anew, or nobody holds it', async () => {
    const made = await host();
    const vod = await wrapper(made, {}, false);
    await live(made);
    expect(now(made, vod.id).state).toBe('PAUSED');
    expect(vod.told).toEqual([]);
  });
});

describe('a PAUSED reservation', () => {
  const paused = async () => {
    const made = await host();
    const vod = await wrapper(made, {}, false);
    const { reservation } = await live(made);
    await eventually('it is stopped', () => stopped(vod.process.ref.pid));
    return { made, vod, first: reservation };
  };
  const roomIsBack = async (made: Made, { id, token }: { id: string; token: number }) => {
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await made.time.pass(6_000);
  };

  it('takes the process that its holder attaches again, and stays paused', async () => {
    const { made, vod, first } = await paused();
    const token = await attach(made, vod.id, vod.token, vod.process);
    expect(token).toBeGreaterThan(vod.token);
    expect(now(made, vod.id)).toMatchObject({ state: 'PAUSED', cpus: [], process: vod.process.ref });
    expect(stopped(vod.process.ref.pid)).toBe(true);
    await hold(made, vod.id, token);
    await roomIsBack(made, first);
    expect(now(made, vod.id).state).toBe('ACTIVE');
    await eventually('it goes on', () => !stopped(vod.process.ref.pid));
    made.check();
  });

  it('stops another process that takes the place of the first, which goes on as nobody’s', async () => {
    const { made, vod, first } = await paused();
    const next = sleeper();
    await attach(made, vod.id, vod.token, next);
    await eventually('the new one is stopped', () => stopped(next.ref.pid));
    await eventually('the old one goes on', () => !stopped(vod.process.ref.pid));
    expect(hostAddon().getThreadAffinity(vod.process.ref.pid)).toEqual(schedulable);
    process.kill(next.ref.pid, 'SIGCONT');
    await made.time.pass(2_000);
    await eventually('it is stopped again', () => stopped(next.ref.pid));
    await roomIsBack(made, first);
    expect(now(made, vod.id)).toMatchObject({ state: 'ACTIVE', process: next.ref });
    await eventually('the new one goes on', () => !stopped(next.ref.pid));
  });

  it('takes its holder back where the ledger lost the latest steps, and stays paused', async () => {
    const { made, vod } = await paused();
    const session = made.reservations.openSession(vod.id, vod.token + 50, ME, () => {});
    const { reservation } = await session.heartbeat({
      rung: 0,
      restarting: false,
      process: vod.process.ref,
    });
    expect(reservation).toMatchObject({ state: 'PAUSED', token: vod.token + 51 });
    expect(stopped(vod.process.ref.pid)).toBe(true);
    made.check();
  });

  it('answers a repeated Attach as before', async () => {
    const { made, vod } = await paused();
    const request = { reservationId: vod.id, token: vod.token, process: vod.process.ref };
    const twice = { ...request, idempotencyKey: 'the same' };
    const one = await made.reservations.attach(twice, ME);
    const other = await made.reservations.attach(twice, ME);
    expect(other.reservation).toEqual(one.reservation);
    expect(other.pin.repaired).toBe(0);
  });
});
