import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromCallError } from '../../src/client/call-error.js';
import { CorecastError, ERROR_CODES } from '../../src/lib/errors.js';
import { silentLog } from '../../src/lib/log.js';
import { GRPC_STATUS, toGrpcStatus } from '../../src/rpc/error-map.js';
import { DETAILS_TRAILER, decodeStatusDetails, encodeStatusDetails } from '../../src/rpc/status-details.js';

const asSeenByClient = (error: unknown) =>
  fromCallError(Object.assign(new Error(), toGrpcStatus(error, silentLog)), '/run/x.sock');

describe('the error map', () => {
  it('has a failing status for every error code and for nothing else', () => {
    expect(Object.keys(GRPC_STATUS).sort()).toEqual([...ERROR_CODES].sort());
    for (const code of Object.values(GRPC_STATUS)) {
      expect(code).not.toBe(status.OK);
      expect(status[code]).toBeTypeOf('string');
    }
  });

  it.each(ERROR_CODES.filter((code) => code !== 'INTERNAL'))('carries %s to the client unchanged', (code) => {
    const error = new CorecastError(code, 'what is wrong', {
      violations: [{ field: 'a.b[0]', description: 'a.b[0] is 3; expected 4' }],
      retryAfterMs: 61_500,
      errno: 'EPERM',
      metadata: { reservation: 'r1' },
    });
    expect(asSeenByClient(error)).toMatchObject({
      code,
      message: 'what is wrong',
      details: {
        violations: [{ field: 'a.b[0]', description: 'a.b[0] is 3; expected 4' }],
        retryAfterMs: 61_500,
        errno: 'EPERM',
        metadata: { reservation: 'r1', errno: 'EPERM' },
      },
    });
  });

  it('logs a defect under the id that the client gets, and tells the client nothing else', () => {
    const lines: { errorId?: string }[] = [];
    const log = { ...silentLog, error: (fields: object) => void lines.push(fields) };
    for (const error of [new RangeError('secret'), new CorecastError('INTERNAL', 'secret'), 'secret']) {
      const answer = toGrpcStatus(error, log);
      expect(answer.code).toBe(status.INTERNAL);
      expect(JSON.stringify(answer)).not.toContain('secret');
      expect(answer.details).toContain(lines.at(-1)?.errorId);
    }
    expect(lines).toHaveLength(3);
  });

  it('bounds what it sends and never sends what a header cannot carry', () => {
    const text = '\ud800x\ud83d\ude00'.repeat(50_000);
    const violations = Array.from({ length: 5_000 }, () => ({ field: text, description: text }));
    const answer = toGrpcStatus(new CorecastError('INVALID_ARGUMENT', text, { violations }), silentLog);
    expect(() => encodeURI(answer.details)).not.toThrow();
    const trailer = answer.metadata.get(DETAILS_TRAILER)[0] as Buffer;
    expect(trailer.length + encodeURI(answer.details).length).toBeLessThan(32_768);
    expect(decodeStatusDetails(trailer)?.violations).toHaveLength(16);
  });
});

describe('status details', () => {
  it('come back as they went, for any text and any time', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 50 });
    const details = fc.record({
      code: fc.constantFrom(...ERROR_CODES),
      metadata: fc.dictionary(
        text.filter((key) => key !== '__proto__'),
        text,
        { maxKeys: 5, noNullPrototype: true },
      ),
      violations: fc.array(fc.record({ field: text, description: text }), { minLength: 1, maxLength: 5 }),
      retryAfterMs: fc.integer({ min: 1, max: 86_400_000 }),
    });
    fc.assert(
      fc.property(details, text, (value, message) => {
        expect(decodeStatusDetails(encodeStatusDetails(3, message, value))).toEqual(value);
      }),
      { numRuns: 50 },
    );
  });

  it('that are cut, foreign or noise are ignored', () => {
    const bytes = encodeStatusDetails(8, 'full', { code: 'NO_CAPACITY', metadata: {} });
    const foreign = Buffer.from(bytes.toString('latin1').replace('corecast', 'otherapp'), 'latin1');
    expect(decodeStatusDetails(foreign)).toBeUndefined();
    for (let cut = 1; cut < bytes.length; cut++) {
      expect(() => decodeStatusDetails(bytes.subarray(0, cut))).not.toThrow();
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        decodeStatusDetails(noise);
      }),
      { numRuns: 100 },
    );
  });

  it('are read by names and numbers that googleapis defines', () => {
    const bytes = encodeStatusDetails(8, 'm', { code: 'NO_CAPACITY', metadata: {}, retryAfterMs: 1_500 });
    // google.rpc.Status{1: 8, 2: "m", 3: Any{1: type_url, 2: value}}; RetryInfo{1: Duration{1: 1, 2: 500000000}}.
    const retry = Buffer.from([0x0a, 0x08, 0x08, 0x01, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]);
    expect(bytes.subarray(0, 5)).toEqual(Buffer.from([0x08, 0x08, 0x12, 0x01, 0x6d]));
    expect(bytes.includes(retry)).toBe(true);
    expect(bytes.includes('type.googleapis.com/google.rpc.ErrorInfo')).toBe(true);
  });
});

describe('what grpc-js itself reports', () => {
  it.each([
    [status.UNAVAILABLE, 'DAEMON_UNREACHABLE'],
    [status.DEADLINE_EXCEEDED, 'DAEMON_UNREACHABLE'],
    [status.CANCELLED, 'CANCELLED'],
    [status.RESOURCE_EXHAUSTED, 'LIMIT_EXCEEDED'],
    [status.UNIMPLEMENTED, 'INTERNAL'],
  ])('status %i becomes %s', (code, expected) => {
    const error = Object.assign(new Error('x'), { code, details: 'x' });
    expect(fromCallError(error, '/run/x.sock').code).toBe(expected);
  });

  it('names the socket and what to do when the daemon is away', () => {
    const error = Object.assign(new Error('x'), { code: status.UNAVAILABLE, details: 'gone' });
    expect(fromCallError(error, '/run/x.sock').message).toBe(
      'cannot reach corecastd at /run/x.sock: gone; is it running (systemctl status corecastd)?',
    );
  });
});
