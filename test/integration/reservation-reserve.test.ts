import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { levelStore } from '../../src/reservation/ledger-store.js';
import type { Reservations } from '../../src/reservation/reservations.js';
import { temporaryDirectory } from '../support/ledger-records.js';
import { eventually, ManualTime, settled } from '../support/manual-time.js';
import { call, FOREVER, ME, STRANGER, world } from '../support/reservation-world.js';

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return isCorecastError(error) ? error.code : `not refused: ${String(error)}`;
}

async function waitDurably(reservations: Reservations, count: number): Promise<void> {
  const waiting = () => reservations.list(false).filter(({ state }) => state === 'QUEUED').length;
  await eventually(`${count} wait`, () => waiting() === count);
  await settled(30);
}

describe('Reserve', () => {
  it('answers with CPUs that are on the disk, and a decision that explains them', async () => {
    const { reservations, decisions, events, check } = await world();
    const { reservation, decision } = await reservations.reserve(call(1_500), ME, FOREVER);
    expect(reservation).toMatchObject({ state: 'PENDING', uid: ME.uid, token: 1, decisionId: decision.id });
    expect(reservation.cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0)).toBe(1_500);
    expect(decision).toMatchObject({
      outcome: 'ACCEPTED',
      reservationId: reservation.id,
      cpus: reservation.cpus,
    });
    expect(decisions.get(decision.id)).toEqual(decision);
    expect(reservations.get(reservation.id)).toEqual(reservation);
    expect(events).toEqual([{ reservation, event: 'reserved', reason: reservation.reason }]);
    check();
  });

  it('promises no CPU twice to a hundred callers at once', async () => {
    const { reservations, check } = await world({ cpus: 4 });
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => reservations.reserve(call(300, { cpuCount: 1 }), ME, FOREVER)),
    );
    // Three of 300 thousandths on each of four CPUs.
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(12);
    check();
    expect([...reservations.occupancy().milli.values()]).toEqual([900, 900, 900, 900]);
  });

  it('refuses what does not fit, says why and when to ask again, and keeps the decision', async () => {
    const { reservations, decisions, check } = await world({ cpus: 2 });
    await reservations.reserve(call(2_000), ME, FOREVER);
    const refused = await reservations.reserve(call(500), ME, FOREVER).catch((error: unknown) => error);
    if (!isCorecastError(refused, 'NO_CAPACITY')) throw refused;
    expect(refused.details.retryAfterMs).toBeGreaterThan(0);
    const kept = decisions.get(refused.details.metadata?.['decision_id'] ?? '');
    expect(kept).toMatchObject({ outcome: 'REFUSED', reservationId: '', cpus: [] });
    expect(refused.details.metadata?.['reason']).toBe(kept?.reasons.find(({ passed }) => !passed)?.code);
    expect(reservations.list(true)).toHaveLength(1);
    check();
  });

  it('changes nothing and says STORE_FAILED when the disk refuses', async () => {
    const directory = temporaryDirectory();
    const store = levelStore(directory);
    let full = false;
    const batch = store.batch.bind(store);
    store.batch = async (operations, options) => {
      if (full) throw new Error('IO error: No space left on device');
      await batch(operations, options);
    };
    const { reservations, check, ledger } = await world({ directory, createStore: () => store });
    full = true;
    expect(await codeOf(reservations.reserve(call(1_000, { idempotencyKey: 'k' }), ME, FOREVER))).toBe(
      'STORE_FAILED',
    );
    expect(reservations.list(true)).toEqual([]);
    expect(reservations.occupancy().milli.size).toBe(0);
    full = false;
    const { reservation } = await reservations.reserve(call(4_000, { idempotencyKey: 'k' }), ME, FOREVER);
    expect([...ledger.records()].map((record) => record.reservation)).toEqual([reservation]);
    check();
  });

  it('goes on when the history cannot keep the decision', async () => {
    const { reservations, knobs } = await world();
    knobs.decisionsFail = true;
    const request = call(100);
    const first = await reservations.reserve(request, ME, FOREVER);
    const again = await reservations.reserve(request, ME, FOREVER);
    // The ledger has the decision, without the candidates that were not chosen.
    expect(again).toEqual({ ...first, decision: { ...first.decision, candidates: [] } });
  });

  it('expires at its start deadline on monotonic time, and frees the CPUs', async () => {
    const time = new ManualTime();
    const { reservations, events } = await world({ time });
    const { reservation } = await reservations.reserve(call(1_000, { startTimeoutMs: 5_000 }), ME, FOREVER);
    expect(reservation.deadlineMs).toBe(time.nowMs() + 5_000);
    time.jumpWallClock(3_600_000);
    await time.pass(4_999);
    expect(reservations.get(reservation.id)?.state).toBe('PENDING');
    time.jumpWallClock(-7_200_000);
    await time.pass(1);
    await eventually('it expires', () => reservations.get(reservation.id)?.state === 'EXPIRED');
    expect(reservations.get(reservation.id)?.cpus).toEqual([]);
    expect(reservations.occupancy().milli.size).toBe(0);
    expect(events.at(-1)).toMatchObject({ event: 'expired', reason: 'not started within 5000 ms' });
  });

  it('expires later when the disk refuses at the deadline', async () => {
    const time = new ManualTime();
    const directory = temporaryDirectory();
    const store = levelStore(directory);
    const batch = store.batch.bind(store);
    let full = false;
    store.batch = async (operations, options) => {
      if (full) throw new Error('IO error: No space left on device');
      await batch(operations, options);
    };
    const { reservations } = await world({ time, directory, createStore: () => store });
    const { reservation } = await reservations.reserve(call(1_000), ME, FOREVER);
    full = true;
    await time.pass(15_000);
    expect(reservations.get(reservation.id)?.state).toBe('PENDING');
    full = false;
    for (let i = 0; i < 20 && reservations.get(reservation.id)?.state === 'PENDING'; i++)
      await time.pass(1_500);
    expect(reservations.get(reservation.id)?.state).toBe('EXPIRED');
  });

  it('limits what one uid may hold, waiting requests included', async () => {
    const { reservations } = await world({
      config: { limits: { headroom: 0, host_load: 1, channels_per_peer: 2 } },
    });
    const results = await Promise.all(
      Array.from({ length: 3 }, () => codeOf(reservations.reserve(call(100), ME, FOREVER))),
    );
    expect(results.filter((code) => code === 'LIMIT_EXCEEDED')).toHaveLength(1);
    await reservations.reserve(call(100), STRANGER, FOREVER);
  });

  it('predicts the same and changes nothing', async () => {
    const { reservations } = await world({ cpus: 2 });
    const predicted = await reservations.predict(call(1_200));
    expect(predicted).toMatchObject({ outcome: 'ACCEPTED', reservationId: '' });
    expect(reservations.list(true)).toEqual([]);
    const { decision } = await reservations.reserve(call(1_200), ME, FOREVER);
    expect(decision.cpus).toEqual(predicted.cpus);
    expect((await reservations.predict(call(1_900))).outcome).toBe('QUEUED');
  });
});

describe('the idempotency key of Reserve', () => {
  it('gives a retry the first answer, at once, later and after a restart', async () => {
    const directory = temporaryDirectory();
    const first = await world({ directory });
    const request = call(700);
    const [a, b] = await Promise.all([
      first.reservations.reserve(request, ME, FOREVER),
      first.reservations.reserve(request, ME, FOREVER),
    ]);
    expect(b).toEqual(a);
    expect(await first.reservations.reserve(request, ME, FOREVER)).toEqual(a);
    expect(first.reservations.list(true)).toHaveLength(1);
    await first.stop();
    const second = await world({ directory, ids: 's' });
    await second.reservations.reconcile();
    expect((await second.reservations.reserve(request, ME, FOREVER)).reservation).toEqual(a.reservation);
    expect(second.reservations.list(true)).toHaveLength(1);
  });

  it("is refused with another request, now or while the first is under way, but is another uid's own", async () => {
    const { reservations } = await world();
    const request = call(100, { idempotencyKey: 'mine' });
    const under = reservations.reserve(request, ME, FOREVER);
    const other = { ...request, priority: 99 };
    expect(await codeOf(reservations.reserve(other, ME, FOREVER))).toBe('IDEMPOTENCY_CONFLICT');
    await under;
    expect(await codeOf(reservations.reserve(other, ME, FOREVER))).toBe('IDEMPOTENCY_CONFLICT');
    await reservations.reserve(other, STRANGER, FOREVER);
    expect(reservations.list(false)).toHaveLength(2);
  });

  it('is free again after a refusal: the retry asks anew', async () => {
    const { reservations } = await world({ cpus: 1 });
    const { reservation } = await reservations.reserve(call(1_000), ME, FOREVER);
    const request = call(600);
    expect(await codeOf(reservations.reserve(request, ME, FOREVER))).toBe('NO_CAPACITY');
    await reservations.release({ reservationId: reservation.id, token: reservation.token, reason: '' }, ME);
    await reservations.reserve(request, ME, FOREVER);
  });
});

describe('the waiting room', () => {
  const waiting = (milli: number, fields = {}) => call(milli, { waitMs: 60_000, ...fields });

  it('admits in order of class, priority and age as room comes', async () => {
    const time = new ManualTime();
    const { reservations, check, events } = await world({ time, cpus: 1 });
    const holder = await reservations.reserve(call(1_000, { startTimeoutMs: 600_000 }), ME, FOREVER);
    const done: string[] = [];
    const ask = (name: string, fields: object) =>
      reservations
        .reserve(waiting(1_000, { name, startTimeoutMs: 600_000, ...fields }), ME, FOREVER)
        .then((reserved) => {
          done.push(name);
          return reserved;
        });
    const all = [
      ask('vod', { channelClass: 'vod', priority: 100 }),
      ask('low', { priority: 10 }),
      ask('high', { priority: 60 }),
    ];
    await waitDurably(reservations, 3);
    expect(reservations.list(false).filter(({ state }) => state === 'QUEUED')).toHaveLength(3);
    let last = holder.reservation;
    for (const name of ['high', 'low', 'vod']) {
      await reservations.release({ reservationId: last.id, token: last.token, reason: 'next' }, ME);
      await eventually(`${name} is admitted`, () => done.includes(name));
      check();
      last = reservations.list(false).find((one) => one.name === name)!;
      expect(last.state).toBe('PENDING');
    }
    expect(done).toEqual(['high', 'low', 'vod']);
    expect(events.filter(({ event }) => event === 'queued')).toHaveLength(3);
    await Promise.all(all);
  });

  it('lets a small one pass a large one for a while, then keeps the place', async () => {
    const time = new ManualTime();
    const { reservations } = await world({ time, cpus: 1 });
    const long = { startTimeoutMs: 600_000, waitMs: 600_000 };
    await reservations.reserve(call(700, long), ME, FOREVER);
    const large = reservations.reserve(call(900, long), ME, FOREVER).catch(() => {});
    await waitDurably(reservations, 1);
    await reservations.reserve(call(100), ME, FOREVER);
    await time.pass(31_000);
    expect(await codeOf(reservations.reserve(call(100), ME, FOREVER))).toBe('NO_CAPACITY');
    // Live is not held up by vod, nor by those it goes before.
    await reservations.reserve(call(100, { priority: 100 }), ME, FOREVER);
    await reservations.stop();
    await large;
  });

  it('ends at the deadline: EXPIRED, and the caller is told why and when to try again', async () => {
    const time = new ManualTime();
    const { reservations, decisions } = await world({ time, cpus: 1 });
    await reservations.reserve(call(1_000, { startTimeoutMs: 600_000 }), ME, FOREVER);
    const refused = reservations.reserve(waiting(1_000), ME, FOREVER).catch((error: unknown) => error);
    await waitDurably(reservations, 1);
    await time.pass(59_000);
    expect(reservations.queued()).toBe(1);
    await time.pass(2_000);
    const error = await refused;
    if (!isCorecastError(error, 'NO_CAPACITY')) throw error;
    expect(error.message).toMatch(/no room within 60000 ms/);
    expect(decisions.get(error.details.metadata?.['decision_id'] ?? '')?.outcome).toBe('REFUSED');
    expect(reservations.queued()).toBe(0);
    expect(reservations.list(true).map(({ state }) => state)).toEqual(['PENDING', 'EXPIRED']);
  });

  it('is left when the caller goes away, but not while a retry still waits', async () => {
    const { reservations } = await world({ cpus: 1 });
    const { reservation } = await reservations.reserve(call(1_000), ME, FOREVER);
    const request = waiting(500);
    const [first, second] = [new AbortController(), new AbortController()];
    const a = codeOf(reservations.reserve(request, ME, first.signal));
    const b = codeOf(reservations.reserve(request, ME, second.signal));
    await eventually('it waits', () => reservations.list(false).some(({ state }) => state === 'QUEUED'));
    first.abort();
    expect(await a).toBe('CANCELLED');
    await settled();
    expect(reservations.queued()).toBe(1);
    second.abort();
    expect(await b).toBe('CANCELLED');
    await eventually('it leaves', () => reservations.queued() === 0);
    expect(reservations.list(true).map(({ state }) => state)).toEqual(['PENDING', 'RELEASED']);
    await reservations.release({ reservationId: reservation.id, token: reservation.token, reason: '' }, ME);
    // The key is free: nothing was answered under it.
    expect((await reservations.reserve(request, ME, FOREVER)).reservation.state).toBe('PENDING');
  });

  it('has a limit', async () => {
    const { reservations } = await world({
      cpus: 1,
      config: { limits: { headroom: 0, host_load: 1, queue: 1 } },
    });
    await reservations.reserve(call(1_000), ME, FOREVER);
    const waits = reservations.reserve(waiting(500), ME, FOREVER).catch((error: unknown) => error);
    await eventually('it waits', () => reservations.queued() === 1);
    expect(await codeOf(reservations.reserve(waiting(500), ME, FOREVER))).toBe('QUEUE_FULL');
    await reservations.stop();
    expect(isCorecastError(await waits, 'CANCELLED')).toBe(true);
    expect(reservations.list(true).map(({ state }) => state)).toEqual(['PENDING', 'EXPIRED']);
  });

  it('notices room that comes without a release: limits and topology that change, a host that calms down', async () => {
    const time = new ManualTime();
    const { reservations, knobs } = await world({ time, cpus: 1 });
    knobs.closedReason = 'overloaded';
    const reserved = reservations.reserve(waiting(500), ME, FOREVER);
    await waitDurably(reservations, 1);
    knobs.closedReason = '';
    await time.pass(1_100);
    expect((await reserved).reservation.state).toBe('PENDING');
  });
});
