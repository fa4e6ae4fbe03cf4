import { cpSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import { createSignals } from '../../src/pinning/signals.js';
import { PATIENCE_MS } from '../../src/reservation/queue.js';
import type { ReserveCall } from '../../src/rpc/control.js';
import { eventually, ManualTime } from '../support/manual-time.js';
import { call, FOREVER, ME, realHost, sleeper, type World, world } from '../support/reservation-world.js';

const PAUSE_MS = 5_000;
const { length: CPUS } = realHost().schedulable;
let keys = 0;

/** As the kernel says: 'S' for asleep, 'T' for stopped. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2)[0]!;
}

/** A signal is taken when the process gets its turn next. */
const stops = (pid: number) => eventually('it is stopped', () => stateOf(pid) === 'T');
const runs = (pid: number) => eventually('it goes on', () => stateOf(pid) !== 'T');

async function host(options: Parameters<typeof world>[0] = {}): Promise<World & { time: ManualTime }> {
  const time = new ManualTime();
  const made = await world({ time, ...options });
  made.knobs.topology = realHost();
  return { ...made, time };
}

async function nextLife(before: World & { time: ManualTime }): Promise<World & { time: ManualTime }> {
  const directory = `${before.directory}-${++keys}`;
  cpSync(before.directory, directory, { recursive: true });
  await before.stop();
  const next = await world({ directory, time: before.time, ids: `life${keys}-` });
  next.knobs.topology = before.knobs.topology;
  await next.reservations.reconcile();
  return { ...next, time: before.time };
}

async function running(made: World, milli: number, fields: Partial<ReserveCall>) {
  const { reservation } = await made.reservations.reserve(call(milli, fields), ME, FOREVER);
  const process = sleeper();
  const idempotencyKey = `attach${++keys}`;
  const attach = {
    reservationId: reservation.id,
    token: reservation.token,
    process: process.ref,
    idempotencyKey,
  };
  return { process, reservation: (await made.reservations.attach(attach, ME)).reservation };
}

const vod = (made: World, fields: Partial<ReserveCall> = {}) =>
  running(made, CPUS * 1000, { channelClass: 'vod', cpuCount: CPUS, ...fields });

const live = (made: World, milli = CPUS * 1000, fields: Partial<ReserveCall> = {}) =>
  made.reservations.reserve(call(milli, { cpuCount: CPUS, startTimeoutMs: 600_000, ...fields }), ME, FOREVER);

const stateIn = ({ reservations }: World, id: string) => reservations.get(id)?.state;

describe('a live channel that is late beside VOD', () => {
  const SHARES = Array.from({ length: CPUS }, () => 1_000);

  it('grows over it in one write: the VOD is stopped, and goes on when the channel ends', async (ctx) => {
    if (CPUS < 2) return ctx.skip('one CPU: VOD and live cannot be beside each other');
    const made = await host({ config: { sharing: { enabled: false } } });
    const late = await running(made, 300, { name: 'news', cpuCount: 1 });
    const rest = await running(made, (CPUS - 1) * 1_000, { channelClass: 'vod', cpuCount: CPUS - 1 });
    expect(made.reservations.couldGrowOverVod(late.reservation.id, SHARES)).toBe(true);
    expect(stateIn(made, rest.reservation.id)).toBe('ACTIVE');
    const grown = await made.reservations.growOverVod(late.reservation.id, SHARES, 'speed 0.80');
    expect(grown).toMatchObject({ state: 'ACTIVE', reason: 'speed 0.80' });
    expect(grown!.cpus.map(({ shareMilli }) => shareMilli)).toEqual(SHARES);
    expect(made.reservations.get(rest.reservation.id)).toMatchObject({
      state: 'PAUSED',
      reason: `paused: makes room for live "news" (${late.reservation.id}), which is late`,
    });
    await stops(rest.process.ref.pid);
    expect(hostAddon().getThreadAffinity(late.process.ref.pid)).toEqual(made.knobs.topology.schedulable);
    made.check();
    await late.process.end();
    await eventually('the CPUs are free', () => stateIn(made, late.reservation.id) === 'RELEASED');
    await made.time.pass(PAUSE_MS + 1_000);
    await eventually('it goes on', () => stateIn(made, rest.reservation.id) === 'ACTIVE');
    await runs(rest.process.ref.pid);
  });

  it('does not where VOD may not be asked, for VOD, or beside live', async () => {
    const made = await host({ config: { preemption: { vod: 'none' }, sharing: { enabled: false } } });
    const late = await running(made, 300, { cpuCount: 1 });
    const other = await running(made, 300, { channelClass: 'vod', cpuCount: 1 });
    expect(await made.reservations.growOverVod(late.reservation.id, SHARES, '')).toBeUndefined();
    const beside = await host({ config: { sharing: { enabled: false } } });
    const [a] = [await running(beside, 300, { cpuCount: 1 }), await running(beside, 900, { cpuCount: 1 })];
    expect(await beside.reservations.growOverVod(a.reservation.id, SHARES, '')).toBeUndefined();
    expect(await made.reservations.growOverVod(other.reservation.id, SHARES, '')).toBeUndefined();
    expect(made.reservations.get(other.reservation.id)?.state).toBe('ACTIVE');
  });
});

describe('live that does not fit beside VOD', () => {
  it('gets its CPUs at once; the VOD is stopped, says why, and goes on where it was when there is room', async () => {
    const made = await host();
    const paused = await vod(made, { name: 'archive' });
    const { id } = paused.reservation;
    const { reservation, decision } = await live(made, CPUS * 1000, { name: 'news' });
    expect(reservation.cpus).toHaveLength(CPUS);
    expect(decision.outcome).toBe('ACCEPTED');
    const reason = decision.reasons.find(({ code }) => code === 'PREEMPTED');
    expect(reason).toMatchObject({ passed: true, needed: 1 });
    expect(reason?.text).toContain(`VOD ${id} (priority 50) is paused`);
    await stops(paused.process.ref.pid);
    expect(made.reservations.get(id)).toMatchObject({
      state: 'PAUSED',
      cpus: [],
      pausedFrom: paused.reservation.cpus,
    });
    const event = made.events.find((one) => one.event === 'paused');
    expect(event?.reason).toContain(`live channel ${reservation.id} (news)`);
    made.check();

    await made.reservations.release(
      { reservationId: reservation.id, token: reservation.token, reason: '' },
      ME,
    );
    await made.time.pass(PAUSE_MS + 1_000);
    expect(made.reservations.get(id)).toMatchObject({ state: 'ACTIVE', cpus: paused.reservation.cpus });
    expect(made.reservations.get(id)).not.toHaveProperty('pausedFrom');
    await runs(paused.process.ref.pid);
    expect(made.events.map((one) => one.event)).toContain('resumed');
    made.check();
  });

  it.skipIf(CPUS < 2)('gets only what it needs: the VOD goes on with fewer CPUs, or beside it', async () => {
    const made = await host();
    const { reservation, process } = await vod(made);
    const { decision } = await live(made, 700, { cpuCount: 1 });
    expect(decision.reasons.find(({ code }) => code === 'PREEMPTED')?.text).toContain('shrinks');
    const now = made.reservations.get(reservation.id);
    expect(now?.state).toBe('ACTIVE');
    expect(now?.cpus).toHaveLength(CPUS - 1);
    expect(hostAddon().getThreadAffinity(process.ref.pid)).toEqual(now?.cpus.map(({ cpu }) => cpu));
    await runs(process.ref.pid);
    made.check();
  });

  it('is refused as before where policy is none, and where it may only move', async () => {
    for (const policy of ['none', 'move'] as const) {
      const made = await host({ config: { preemption: { vod: policy } } });
      const { process } = await vod(made);
      await expect(live(made)).rejects.toSatisfy((error) => isCorecastError(error, 'NO_CAPACITY'));
      await runs(process.ref.pid);
    }
  });

  it('is refused where the daemon may not stop the process', async () => {
    const forbid = () => {
      throw Object.assign(new Error('kill EPERM'), { code: 'EPERM', syscall: 'kill' });
    };
    const made = await host({ deps: { signals: createSignals(hostAddon(), forbid) } });
    await vod(made);
    await expect(live(made)).rejects.toSatisfy((error) => isCorecastError(error, 'NO_CAPACITY'));
    made.check();
  });

  it('does not stop other live, nor VOD for VOD', async () => {
    const made = await host();
    await running(made, CPUS * 1000, { cpuCount: CPUS });
    await expect(live(made)).rejects.toThrow(/refused/);
    const other = await host();
    await vod(other);
    await expect(live(other, CPUS * 1000, { channelClass: 'vod' })).rejects.toThrow(/refused/);
  });

  it('is told by Predict what would happen, and nothing happens', async () => {
    const made = await host();
    const { process, reservation } = await vod(made);
    const decision = await made.reservations.predict(call(CPUS * 1000, { cpuCount: CPUS }));
    expect(decision.outcome).toBe('ACCEPTED');
    expect(decision.reasons.map(({ code }) => code)).toContain('PREEMPTED');
    expect(stateIn(made, reservation.id)).toBe('ACTIVE');
    await runs(process.ref.pid);
  });
});

describe('paused VOD', () => {
  it('stays stopped over a kill of the daemon, also where the kill came before the signal', async () => {
    const made = await host();
    const { process, reservation } = await vod(made);
    const { reservation: first } = await live(made);
    globalThis.process.kill(process.ref.pid, 'SIGCONT');
    const next = await nextLife(made);
    expect(stateIn(next, reservation.id)).toBe('PAUSED');
    await stops(process.ref.pid);
    await next.reservations.release({ reservationId: first.id, token: first.token, reason: '' }, ME);
    await next.time.pass(PAUSE_MS + 1_000);
    expect(stateIn(next, reservation.id)).toBe('ACTIVE');
    await runs(process.ref.pid);
  });

  it('goes on after a kill that came between the record and the signal', async () => {
    const made = await host();
    const { process, reservation } = await vod(made);
    const { reservation: first } = await live(made);
    await made.reservations.release({ reservationId: first.id, token: first.token, reason: '' }, ME);
    await made.time.pass(PAUSE_MS + 1_000);
    expect(stateIn(made, reservation.id)).toBe('ACTIVE');
    globalThis.process.kill(process.ref.pid, 'SIGSTOP');
    await stops(process.ref.pid);
    await nextLife(made);
    await runs(process.ref.pid);
  });

  it('is stopped again when somebody else lets it go on', async () => {
    const made = await host();
    const { process } = await vod(made);
    await live(made);
    globalThis.process.kill(process.ref.pid, 'SIGCONT');
    await made.time.pass(2_000);
    await stops(process.ref.pid);
  });

  it('goes on when it is released: nobody would let it go on later', async () => {
    const made = await host();
    const { process, reservation } = await vod(made);
    await live(made);
    const { id, token } = reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    expect(stateIn(made, id)).toBe('RELEASED');
    await runs(process.ref.pid);
    await made.time.pass(3_000);
    await runs(process.ref.pid);
  });

  it('ends when its process does', async () => {
    const made = await host();
    const { process, reservation } = await vod(made);
    await live(made);
    await process.end();
    await eventually('it is released', () => stateIn(made, reservation.id) === 'RELEASED');
    made.check();
  });

  it.skipIf(CPUS < 2)('takes fewer CPUs once it has waited long', async () => {
    const made = await host();
    const { reservation } = await vod(made);
    const { reservation: first } = await live(made);
    await made.reservations.resize(first.id, first.cpus.slice(1), 'shrunk', 'for a test');
    await made.time.pass(PAUSE_MS + 1_000);
    expect(stateIn(made, reservation.id)).toBe('PAUSED');
    await made.time.pass(PATIENCE_MS);
    expect(made.reservations.get(reservation.id)).toMatchObject({ state: 'ACTIVE' });
    expect(made.reservations.get(reservation.id)?.cpus).toHaveLength(1);
    made.check();
  });

  it('goes before VOD that waits for its start, and after live that waits', async () => {
    const made = await host();
    const { reservation } = await vod(made);
    const { reservation: first } = await live(made);
    const waiting = made.reservations.reserve(
      call(CPUS * 1000, { channelClass: 'vod', cpuCount: CPUS, waitMs: 600_000, priority: 90 }),
      ME,
      FOREVER,
    );
    waiting.catch(() => {});
    await eventually('it waits', () => made.reservations.queued() === 1);
    await made.time.pass(PATIENCE_MS + 1_000);
    await made.reservations.release({ reservationId: first.id, token: first.token, reason: '' }, ME);
    await made.time.pass(2_000);
    expect(stateIn(made, reservation.id)).toBe('ACTIVE');
    expect(made.reservations.queued()).toBe(1);
  });
});

describe('a channel for which enough is free, but not in one place', () => {
  it.skipIf(CPUS < 2)('gets it after others have moved together, as far as the budget allows', async () => {
    for (const migrations of [0, 1]) {
      const made = await host({ config: { preemption: { migrations } } });
      const [one, two] = [
        await running(made, 300, { cpuCount: 1 }),
        await running(made, 300, { cpuCount: 1 }),
      ];
      const [cpu0, cpu1] = realHost().schedulable;
      for (const [reservation, cpu] of [
        [one.reservation, cpu0!],
        [two.reservation, cpu1!],
      ] as const) {
        await made.reservations.resize(reservation.id, [{ cpu, shareMilli: 300 }], 'moved', 'for a test');
      }
      for (const cpu of realHost().schedulable.slice(2)) {
        const { reservation } = await running(made, 300, { cpuCount: 1 });
        await made.reservations.resize(reservation.id, [{ cpu, shareMilli: 300 }], 'moved', 'for a test');
      }
      const wanted = live(made, 1000, { cpuCount: 1 });
      if (migrations === 0) {
        await expect(wanted).rejects.toThrow(/refused/);
        continue;
      }
      const { reservation, decision } = await wanted;
      expect(decision.reasons.find(({ code }) => code === 'DEFRAGMENTED')?.text).toMatch(/moves from CPUs/);
      expect(reservation.cpus).toHaveLength(1);
      const moved = [one, two].filter(({ process }) =>
        hostAddon()
          .getThreadAffinity(process.ref.pid)
          .every((cpu) => cpu !== reservation.cpus[0]!.cpu),
      );
      expect(moved).toHaveLength(2);
      expect(
        made.events.filter(({ event, reason }) => event === 'moved' && /makes room/.test(reason)),
      ).toHaveLength(1);
      made.check();
    }
  });
});

it('never counts a CPU twice while room changes hands, nor when the write fails', async () => {
  const made = await host();
  made.knobs.topology = realHost();
  const { process, reservation } = await vod(made);
  const commit = made.ledger.commit.bind(made.ledger);
  let over = 0;
  Object.assign(made.ledger, {
    commit: async (mutation: Parameters<typeof commit>[0]) => {
      for (const milli of made.reservations.occupancy().milli.values()) if (milli > 1000) over++;
      if ((mutation.records?.length ?? 0) > 1) throw new Error('the disk is full');
      return commit(mutation);
    },
  });
  await expect(live(made)).rejects.toThrow('the disk is full');
  expect(over).toBe(0);
  expect(stateIn(made, reservation.id)).toBe('ACTIVE');
  await runs(process.ref.pid);
  expect(made.reservations.occupancy().milli.size).toBe(CPUS);
  made.check();
});
