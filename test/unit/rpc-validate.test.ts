import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { parseNamespaceDepth, parsePeer } from '../../src/rpc/peer.js';
import { loadServices } from '../../src/rpc/proto.js';
import { groupId, takeInheritedSocket } from '../../src/rpc/unix-socket.js';
import * as validate from '../../src/rpc/validate.js';
import * as validateHistory from '../../src/rpc/validate-history.js';
import { SIGNATURE, SIGNATURE_MESSAGE } from '../support/control-answers.js';

const services = loadServices();

/** A request as the server decodes it from what a client sent. */
function received<Request>(
  method: { requestSerialize(message: never): Buffer; requestDeserialize(bytes: Buffer): Request },
  message: object,
): Request {
  return method.requestDeserialize(method.requestSerialize(message as never));
}

const reserve = (change: object) =>
  received(services.reservation.Reserve, {
    signature: SIGNATURE_MESSAGE,
    channelClass: 'CHANNEL_CLASS_LIVE',
    idempotencyKey: 'k',
    ...change,
  });

function violations(check: () => unknown): string[] {
  try {
    check();
  } catch (error) {
    if (!isCorecastError(error, 'INVALID_ARGUMENT')) throw error;
    return (error.details.violations ?? []).map((one) => one.description);
  }
  return [];
}

const fields = (check: () => unknown) => violations(check).map((text) => text.split(' ', 1)[0]);

describe('a Reserve request', () => {
  it('becomes the domain request, with the defaults that the proto states', () => {
    expect(validate.reserveRequest(reserve({}))).toEqual({
      signature: SIGNATURE,
      channelClass: 'live',
      priority: 50,
      exclusive: false,
      cpuCount: 0,
      name: '',
      waitMs: 0,
      startTimeoutMs: 0,
      idempotencyKey: 'k',
      ladderRungs: 0,
    });
    expect(validate.reserveRequest(reserve({ priority: 0 })).priority).toBe(0);
  });

  it.each([
    [{ priority: 101 }, 'priority is 101; expected a whole number from 0 to 100'],
    [{ priority: 2 ** 32 - 1 }, 'priority is 4294967295; expected a whole number from 0 to 100'],
    [{ cpuCount: 8_193 }, 'cpu_count is 8193; expected a whole number from 0 to 8192'],
    [{ waitMs: 86_400_001 }, 'wait_ms is 86400001; expected a whole number from 0 to 86400000'],
    [
      { startTimeoutMs: 99 },
      'start_timeout_ms is 99; expected a whole number from 100 to 600000, or 0 for the default',
    ],
    [{ ladderRungs: 17 }, 'ladder_rungs is 17; expected a whole number from 0 to 16'],
    [
      { idempotencyKey: '' },
      'idempotency_key is ""; expected 1 to 128 characters, none of them control characters',
    ],
    [
      { name: 'a\u001b[2J' },
      'name is "a\\u001b[2J"; expected 0 to 200 characters, none of them control characters',
    ],
    [
      { channelClass: 0 },
      'channel_class is "CHANNEL_CLASS_UNSPECIFIED"; expected CHANNEL_CLASS_LIVE or CHANNEL_CLASS_VOD',
    ],
    [{ channelClass: 77 }, 'channel_class is 77; expected CHANNEL_CLASS_LIVE or CHANNEL_CLASS_VOD'],
    [{ signature: null }, 'signature is missing'],
    [{ signature: { outputs: SIGNATURE_MESSAGE.outputs } }, 'signature.input is missing'],
  ])('with %j is refused by name and value', (change, description) => {
    expect(violations(() => validate.reserveRequest(reserve(change)))).toEqual([description]);
  });

  it('counts characters, not bytes or UTF-16 units', () => {
    const name = '\ud83d\ude00'.repeat(200);
    expect(validate.reserveRequest(reserve({ name })).name).toBe(name);
    expect(fields(() => validate.reserveRequest(reserve({ name: `${name}x` })))).toEqual(['name']);
  });

  it('has its signature checked by the forecast, with paths into the request', () => {
    const [output] = SIGNATURE_MESSAGE.outputs;
    const wrong = {
      input: { ...SIGNATURE_MESSAGE.input, codec: 'mp9', width: 0, fps: Number.NaN },
      outputs: [output, { ...output, preset: 'ultraslow', bitrateBps: 5e9 }],
      complexity: { spatial: Number.POSITIVE_INFINITY },
    };
    expect(fields(() => validate.reserveRequest(reserve({ signature: wrong })))).toEqual([
      'signature.input.codec',
      'signature.input.width',
      'signature.input.fps',
      'signature.outputs[1].bitrate_bps',
      'preset',
      'signature.complexity.spatial',
    ]);
  });

  it('names an output without a rate, except for a copy', () => {
    const { bitrateBps: _, ...output } = SIGNATURE_MESSAGE.outputs[0]!;
    const of = (one: object) => reserve({ signature: { ...SIGNATURE_MESSAGE, outputs: [one] } });
    expect(fields(() => validate.reserveRequest(of(output)))).toEqual(['signature.outputs[0].rate']);
    const copy = validate.reserveRequest(of({ ...output, encoder: 'copy', preset: '' }));
    expect(copy.signature.outputs[0]?.rate).toEqual({ bitrateBps: SIGNATURE.input.bitrateBps });
    expect(validate.reserveRequest(of({ ...output, crf: 0 })).signature.outputs[0]?.rate).toEqual({ crf: 0 });
  });

  it('lists everything that is wrong at once', () => {
    const request = reserve({ priority: 500, waitMs: 1e12, name: 'x'.repeat(201), signature: null });
    expect(fields(() => validate.reserveRequest(request))).toEqual([
      'signature',
      'priority',
      'name',
      'wait_ms',
    ]);
  });
});

describe('other requests', () => {
  it('state what is missing or out of range', () => {
    const attach = received(services.reservation.Attach, { idempotencyKey: 'x'.repeat(129) });
    expect(fields(() => validate.attachRequest(attach))).toEqual([
      'process',
      'reservation_id',
      'token',
      'idempotency_key',
    ]);
    const pid = received(services.reservation.Attach, {
      process: { pid: 2 ** 31 },
      reservationId: 'r',
      token: 1,
    });
    expect(fields(() => validate.attachRequest(pid))).toEqual(['process.pid', 'idempotency_key']);
    const explain = received(services.reservation.Explain, {});
    expect(fields(() => validate.explainRequest(explain))).toEqual(['of']);
    const release = received(services.reservation.Release, {
      reservationId: 'r',
      token: 1,
      reason: 'x'.repeat(201),
    });
    expect(fields(() => validate.releaseRequest(release))).toEqual(['reason']);
    const train = received(services.model.TrainModel, { maxEpochs: 10_001 });
    expect(fields(() => validate.trainRequest(train))).toEqual(['max_epochs']);
    const runs = received(services.history.ListRuns, { origin: 'dead' });
    expect(fields(() => validateHistory.runsFilter(runs))).toEqual(['origin']);
    const history = received(services.history.QueryHistory, { series: 'a', fromMs: 10, toMs: 5 });
    expect(fields(() => validateHistory.historyQuery(history, 100))).toEqual(['to_ms']);
    const ingress = received(services.host.ReportIngress, {});
    expect(fields(() => validate.ingressRequest(ingress, 1))).toEqual(['reports']);
    const many = received(services.host.ReportIngress, { reports: Array(1_001).fill({ stream: 's' }) });
    expect(fields(() => validate.ingressRequest(many, 1))).toEqual(['reports']);
    expect(fields(() => validate.modelId(''))).toEqual(['model_id']);
  });

  it('take now for a time that is not given', () => {
    const history = received(services.history.QueryHistory, { series: 'a.*' });
    expect(validateHistory.historyQuery(history, 100)).toEqual({
      series: 'a.*',
      fromMs: 0,
      toMs: 100,
      stepMs: 0,
      aggregate: 'mean',
    });
    const ingress = received(services.host.ReportIngress, {
      reports: [{ stream: 's' }, { stream: 't', atMs: 7 }],
    });
    expect(validate.ingressRequest(ingress, 100).map((report) => report.atMs)).toEqual([100, 7]);
    const train = validate.trainRequest(received(services.model.TrainModel, {}));
    expect(train).toEqual({ seed: 1, maxEpochs: 0, promotion: 'shadow', fromScratch: false });
    const now = received(services.model.TrainModel, { promotion: 'PROMOTION_POLICY_NOW', fromScratch: true });
    expect(validate.trainRequest(now)).toMatchObject({ promotion: 'now', fromScratch: true });
    const steps = received(services.model.ListModelSteps, {});
    expect(validate.stepsRequest(steps)).toEqual({ modelId: '', limit: 100 });
    const many = received(services.model.ListModelSteps, { limit: 2_001 });
    expect(fields(() => validate.stepsRequest(many))).toEqual(['limit']);
  });

  it('never fail in any other way, whatever bytes arrive', () => {
    const checks: [{ requestDeserialize(bytes: Buffer): unknown }, (message: never) => unknown][] = [
      [services.reservation.Reserve, validate.reserveRequest],
      [services.reservation.Predict, validate.predictRequest],
      [services.reservation.Attach, validate.attachRequest],
      [services.reservation.Session, validate.sessionRequest],
      [services.history.QueryHistory, (message) => validateHistory.historyQuery(message, 1)],
      [services.host.ReportIngress, (message) => validate.ingressRequest(message, 1)],
    ];
    const valid = services.reservation.Reserve.requestSerialize({ signature: SIGNATURE_MESSAGE } as never);
    const flips = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(flips, fc.nat(checks.length - 1), (changes, i) => {
        const bytes = Buffer.from(valid);
        for (const [at, value] of changes) bytes[at] = value;
        const [method, check] = checks[i]!;
        const message = method.requestDeserialize(bytes);
        if (typeof message !== 'symbol') violations(() => check(message as never));
      }),
      { numRuns: 500 },
    );
  });
});

describe('what the kernel and systemd say', () => {
  it('is read from text', () => {
    expect(parsePeer('uid=1000,gid=100,pid=7')).toEqual({ uid: 1000, gid: 100, pid: 7 });
    for (const text of ['127.0.0.1:5000', 'unknown', '', 'uid=0,gid=0,pid=1:80', ' uid=0,gid=0,pid=1']) {
      expect(parsePeer(text).uid).toBe(-1);
    }
    expect(parseNamespaceDepth('Name:\tx\nNSpid:\t412\t7\t1\nNSpgid:\t412\n')).toBe(3);
    expect(parseNamespaceDepth('Name:\tx\n')).toBe(0);
  });

  it('finds groups by name and number', () => {
    const file = 'root:x:0:\ncorecast:x:977:alice,bob\n';
    expect(groupId('corecast', file)).toBe(977);
    expect(groupId('1234', file)).toBe(1234);
    expect(() => groupId('core', file)).toThrow('daemon.socket_group is "core"');
  });

  it('takes a passed socket only if it is meant for this process, and once', () => {
    const env = { LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'x', PATH: '/bin' };
    expect(takeInheritedSocket({ ...env }, 41)).toBeUndefined();
    expect(takeInheritedSocket(env, 42)).toBe(3);
    expect(env).toEqual({ PATH: '/bin' });
    expect(takeInheritedSocket(env, 42)).toBeUndefined();
    expect(() => takeInheritedSocket({ LISTEN_PID: '42', LISTEN_FDS: '2' }, 42)).toThrow('2 sockets');
  });
});
