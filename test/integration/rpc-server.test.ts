import { credentials, makeGenericClientConstructor, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadServices } from '../../src/rpc/proto.js';
import { RESERVE, SIGNATURE, SIGNATURE_MESSAGE } from '../support/control-answers.js';
import { eventually, rpcServer } from '../support/rpc-server.js';

type Harness = Awaited<ReturnType<typeof rpcServer>>;

describe('the RPC server over a unix socket', () => {
  let rpc: Harness;
  beforeEach(async () => {
    rpc = await rpcServer();
  });
  afterEach(async () => {
    await rpc.stop();
  });

  it('hands a request to Control as it was sent, and the answer back', async () => {
    const client = await rpc.client();
    const { decision } = await client.predict({
      signature: SIGNATURE_MESSAGE,
      channelClass: 'CHANNEL_CLASS_VOD',
      cpuCount: 2,
    });
    expect(rpc.control.requests).toEqual([
      { signature: SIGNATURE, channelClass: 'vod', priority: 50, exclusive: false, cpuCount: 2 },
    ]);
    expect(decision).toMatchObject({
      outcome: 'OUTCOME_ACCEPTED',
      cpus: [{ cpu: 0, shareMilli: 1000 }],
      forecast: {
        source: 'FORECAST_SOURCE_COST_TABLE',
        horizons: [{ toSeconds: 10, demandCores: { q90: 0.7 } }],
      },
      signature: { outputs: [{ rate: 'bitrateBps', bitrateBps: 2_500_000 }], complexity: { spatial: 42.5 } },
      reasons: [{ code: 'FITS', passed: true }],
    });
  });

  it('takes a channel from Reserve through Attach and Session to Release', async () => {
    const client = await rpc.client();
    const { reservation } = await client.reserve(RESERVE);
    expect(reservation).toMatchObject({ id: 'r1', state: 'RESERVATION_STATE_PENDING', token: 1, uid: 0 });
    const lease = { reservationId: 'r1', token: 1 };
    const attached = await client.attach({ ...lease, process: { pid: process.pid }, idempotencyKey: 'a' });
    expect(attached).toMatchObject({
      repaired: 1,
      threads: [{ tid: process.pid, cpus: '0', verified: true }],
    });

    const session = client.session();
    const messages = session.messages[Symbol.asyncIterator]();
    await session.send({ ...lease, progress: { outTimeUs: 1_000_000, speed: 0.98, lagSeconds: -0.2 } });
    expect((await messages.next()).value).toMatchObject({
      leaseDeadlineMs: 1_700_000_020_000,
      directive: null,
      reservation: { id: 'r1' },
    });
    rpc.control.sendDirective?.({ kind: 'set_rung', rung: 2, reason: 'over forecast' });
    expect((await messages.next()).value).toMatchObject({
      directive: { kind: 'setRung', setRung: 2, reason: 'over forecast' },
    });
    session.end();
    expect((await messages.next()).done).toBe(true);
    expect(rpc.control.heartbeats).toMatchObject([{ rung: 0, restarting: false, progress: { speed: 0.98 } }]);
    expect(rpc.control.sessionsClosed).toBe(1);

    const { usage } = await client.release({ ...lease, reason: 'exit 0' });
    expect(usage).toMatchObject({ cpuSeconds: 12.5, horizons: [{ coveredQ90: 0.9 }] });
    const listed = await client.listReservations({ includeEnded: true });
    expect(listed.reservations).toMatchObject([{ state: 'RESERVATION_STATE_RELEASED', usageCores: 0.4 }]);
  });

  it('carries reasons, violations and retry times to the caller', async () => {
    const client = await rpc.client();
    for (let i = 0; i < 4; i++) await client.reserve(RESERVE);
    await expect(client.reserve(RESERVE)).rejects.toMatchObject({
      code: 'NO_CAPACITY',
      message: 'all 4 CPUs are reserved',
      details: { retryAfterMs: 1_500 },
    });
    const bad = client.reserve({ ...RESERVE, priority: 101, idempotencyKey: '', waitMs: 90_000_000 });
    await expect(bad).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: {
        violations: [
          { field: 'priority', description: expect.stringContaining('101') },
          { field: 'wait_ms', description: expect.stringContaining('90000000') },
          { field: 'idempotency_key' },
        ],
      },
    });
    await expect(client.explain({ decisionId: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps what went wrong inside from callers, who get an id of the log line', async () => {
    const client = await rpc.client();
    rpc.control.failure = () => new TypeError("secret path /var/x: cannot read 'y'");
    const error = await client.predict({ signature: SIGNATURE_MESSAGE, channelClass: 2 }).catch((e) => e);
    expect(error).toMatchObject({ code: 'INTERNAL', details: { metadata: { errorId: expect.any(String) } } });
    expect(error.message).not.toContain('secret');
  });

  it('survives error texts that HTTP/2 headers cannot carry', async () => {
    const client = await rpc.client();
    await expect(client.promoteModel({ modelId: '\ud83d\ude00'.repeat(60) })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('\ud83d\ude00'),
    });
    const name = '%\u00fc"'.repeat(66);
    await expect(client.promoteModel({ modelId: name })).rejects.toMatchObject({
      message: `no model ${name}`,
    });
  });

  it('takes a waiting request out of the queue when its caller cancels or runs out of time', async () => {
    const client = await rpc.client();
    for (let i = 0; i < 4; i++) await client.reserve(RESERVE);
    const cancel = new AbortController();
    const waiting = client.reserve({ ...RESERVE, waitMs: 60_000 }, { signal: cancel.signal });
    await eventually(() => rpc.control.waiting.size === 1, 'the request waits');
    cancel.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
    await eventually(() => rpc.control.waiting.size === 0, 'the queue is empty');

    const late = client.reserve({ ...RESERVE, waitMs: 50 }, { timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' });
    await eventually(() => rpc.control.waiting.size === 0, 'the queue is empty again');
    expect(rpc.control.watchers.size).toBe(0);
    expect(rpc.control.reservationsById.size).toBe(4);
  });

  it('refuses a message over the limit and keeps serving', async () => {
    const client = await rpc.client();
    const name = 'x'.repeat(rpc.config.limits.message_bytes);
    await expect(client.reserve({ ...RESERVE, name })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await expect(client.reserve(RESERVE)).resolves.toMatchObject({ reservation: { id: 'r1' } });
  });

  it('answers bytes that are no message with INVALID_ARGUMENT', async () => {
    const { reservation } = loadServices();
    const raw = {
      Predict: { ...reservation.Predict, requestSerialize: () => Buffer.from([0x0a, 0xff, 0xff, 0xff]) },
    };
    const Client = makeGenericClientConstructor(raw as never, 'raw');
    const client = new Client(`unix:${rpc.socket}`, credentials.createInsecure());
    const error = await new Promise<ServiceError | null>((resolve) => {
      (client['Predict'] as (request: object, done: (error: ServiceError | null) => void) => void)(
        {},
        resolve,
      );
    });
    client.close();
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it('ends a session that names another reservation, an old token or nonsense, and tells Control once', async () => {
    const client = await rpc.client();
    await client.reserve(RESERVE);
    await client.reserve(RESERVE);
    const attempt = async (...messages: object[]) => {
      const session = client.session();
      for (const message of messages) await session.send(message);
      for await (const _ of session.messages);
    };
    const good = { reservationId: 'r1', token: 1 };
    await expect(attempt(good, { reservationId: 'r2', token: 2 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(attempt({ ...good, token: 9 })).rejects.toMatchObject({ code: 'STALE_TOKEN' });
    await expect(attempt({ reservationId: 'r9', token: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(attempt(good, { ...good, progress: { speed: Number.NaN } })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { violations: [{ field: 'progress.speed' }] },
    });
    expect(rpc.control.sessionsOpen).toBe(2);
    expect(rpc.control.sessionsClosed).toBe(2);
  });

  it('tells Control when a holder vanishes without a word', async () => {
    const client = await rpc.client();
    await client.reserve(RESERVE);
    const session = client.session();
    const messages = session.messages[Symbol.asyncIterator]();
    await session.send({ reservationId: 'r1', token: 1 });
    await messages.next();
    client.close();
    session.cancel();
    await eventually(() => rpc.control.sessionsClosed === 1, 'the session closed');
  });

  it('lists the present reservations to a watcher, then tells every change', async () => {
    const client = await rpc.client();
    await client.reserve(RESERVE);
    const stop = new AbortController();
    const watch = client.watchReservations({ signal: stop.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ event: '', reservation: { id: 'r1' } });
    await client.reserve(RESERVE);
    await client.release({ reservationId: 'r1', token: 1, reason: 'exit 0' });
    expect((await watch.next()).value).toMatchObject({ event: 'reserved', reservation: { id: 'r2' } });
    expect((await watch.next()).value).toMatchObject({ event: 'released', reason: 'exit 0' });
    stop.abort();
    await expect(watch.next()).rejects.toMatchObject({ code: 'CANCELLED' });
    await eventually(() => rpc.control.watchers.size === 0, 'the watcher is gone');
  });

  it('cuts off a watcher that does not read, instead of remembering everything for it', async () => {
    const client = await rpc.client();
    const { reservation } = await client.reserve({ ...RESERVE, name: 'n'.repeat(200) });
    const watch = client.watchReservations()[Symbol.asyncIterator]();
    await watch.next();
    const stored = rpc.control.reservationsById.get(reservation?.id ?? '')!;
    // Far more than the socket, HTTP/2's window, grpc-js and the queue hold together.
    for (let i = 0; i < 20_000 && rpc.control.watchers.size > 0; i++) {
      rpc.control.change(stored, `change ${i}`);
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(rpc.control.watchers.size).toBe(0);
    const read = (async () => {
      while (!(await watch.next()).done);
    })();
    await expect(read).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('reads no more of the history than the caller takes, and stops when it leaves', async () => {
    const client = await rpc.client();
    const query = client.queryHistory({ series: 'host.busy' })[Symbol.asyncIterator]();
    const first = await query.next();
    expect(first.value).toMatchObject({ series: 'host.busy', unit: 'share' });
    expect(first.value.points).toHaveLength(4_096);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const made = rpc.control.pointsMade;
    expect(made).toBeLessThan(1_000_000);
    await query.return?.();
    await eventually(() => rpc.calls.some((call) => call.method === 'QueryHistory'), 'the call ended');
    expect(rpc.control.pointsMade).toBeLessThan(made + 200_000);
    const names: string[] = [];
    for await (const { series } of client.queryHistory({})) names.push(series);
    expect(names).toEqual(['host.busy', 'channel.r1.cores']);
  });

  it('streams training and stops it with its caller', async () => {
    const client = await rpc.client();
    const seen = [];
    for await (const progress of client.trainModel({ seed: 3, maxEpochs: 3 })) seen.push(progress);
    expect(seen).toHaveLength(3);
    expect(seen.at(-1)).toMatchObject({ epoch: 3, promoted: false, model: { id: 'baseline-1' } });
    for await (const { epoch } of client.trainModel({ maxEpochs: 10_000 })) if (epoch === 2) break;
    await eventually(() => rpc.control.trainingStopped, 'training stopped');
  });

  it('keeps calibration runs whole and gives them back', async () => {
    const client = await rpc.client();
    const run = {
      id: 'cal-1',
      origin: 'calibration',
      startedMs: 1_700_000_000_000,
      signature: SIGNATURE_MESSAGE,
      cpuCount: 2,
      cpuSeconds: 4,
      wallSeconds: 2.5,
      mediaSeconds: 5,
      coreUsage: [0.7, 0.9],
      hostLoad: 0.8,
      source: 'clip.mp4',
    };
    await client.recordRun({ run });
    expect(rpc.control.recorded[0]).toMatchObject({ samples: [{ atS: 2.5, demandCores: 0.8, speed: 2 }] });
    const runs = [];
    for await (const answer of client.listRuns({})) runs.push(answer.run);
    expect(runs).toMatchObject([{ ...run, signature: { input: SIGNATURE.input }, coreUsage: [0.9, 0.7] }]);
    await expect(client.recordRun({ run: { ...run, origin: 'live' } })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  it('stores ingress reports with a time and shows them with the host', async () => {
    const client = await rpc.client();
    const report = { stream: 'cam', bitrateBps: 4e6, queueLength: 3 };
    expect(await client.reportIngress({ reports: [report] })).toEqual({ accepted: 1 });
    const host = await client.getHost({});
    expect(host.ingress).toMatchObject([report]);
    expect(host.ingress[0]?.atMs).toBeGreaterThan(1_700_000_000_000);
    expect(host.cpus[1]).toMatchObject({ reservedMilli: 400, online: true, housekeeping: false });
    expect(host.calibration).toMatchObject({
      ...{ outcomes: 132, coverage90: 0.91 },
      alarms: [{ source: 'lstm', modelId: 'm1', family: 'x264', level: 1, sinceMs: 1_700_000_000_000 }],
    });
    const bad = client.reportIngress({
      reports: [report, { ...report, bitrateBps: Number.POSITIVE_INFINITY }],
    });
    await expect(bad).rejects.toMatchObject({
      details: { violations: [{ field: 'reports[1].bitrate_bps' }] },
    });
    expect(rpc.control.reports).toHaveLength(1);
  });

  it('counts every call by method and status', async () => {
    const client = await rpc.client();
    await client.listModels({});
    await client.explain({}).catch(() => {});
    expect(rpc.calls.map(({ method, code }) => [method, code])).toEqual([
      ['ListModels', 'OK'],
      ['Explain', 'INVALID_ARGUMENT'],
    ]);
  });
});
