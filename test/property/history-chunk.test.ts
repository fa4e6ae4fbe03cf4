import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32, crc32ByTable, crc32c, crc32cOfPrefixes } from '../../src/history/checksum.js';
import { decodeColumns, encodeColumns, MAX_AT_MS, type Samples } from '../../src/history/chunk.js';
import { frame, unframe } from '../../src/history/frame.js';
import { decodeWindows, encodeWindows, windowsOf } from '../../src/history/windows.js';

const KEY = Buffer.from('c123');
const encodeChunk = (samples: Samples) => frame(KEY, encodeColumns(samples));
const decodeChunk = (bytes: Uint8Array) => decodeColumns(unframe(KEY, bytes));

const time = fc.integer({ min: 0, max: MAX_AT_MS });
const decimal = (places: number) =>
  fc.integer({ min: -(10 ** 9), max: 10 ** 9 }).map((n) => n / 10 ** places);
const value = fc.oneof(
  fc.double(),
  fc.constantFrom(Number.NaN, Infinity, -Infinity, 0, -0, Number.MIN_VALUE, Number.MAX_VALUE, 2 ** 53),
);

function samplesOf(at: readonly number[], values: readonly number[]): Samples {
  const count = Math.min(at.length, values.length);
  return { at: Float64Array.from(at.slice(0, count)), values: Float64Array.from(values.slice(0, count)) };
}

function comesBack(samples: Samples): void {
  const back = decodeChunk(encodeChunk(samples));
  expect(back.at.length).toBe(samples.at.length);
  for (let i = 0; i < samples.at.length; i++) {
    expect(back.at[i]).toBe(samples.at[i]);
    if (!Object.is(back.values[i], samples.values[i])) expect(back.values[i]).toBe(samples.values[i]);
  }
}

test('any times, backwards too, and any doubles, NaN, infinities and -0 too, come back as they were', () => {
  fc.assert(
    fc.property(fc.array(time, { maxLength: 80 }), fc.array(value, { maxLength: 80 }), (at, values) =>
      comesBack(samplesOf(at, values)),
    ),
    { numRuns: 500 },
  );
});

test('decimals at a steady tick with jitter and gaps come back as they were', () => {
  const tick = fc.record({ jitter: fc.integer({ min: -3, max: 3 }), gap: fc.constantFrom(0, 0, 0, 0, 5000) });
  fc.assert(
    fc.property(
      time,
      fc.array(tick, { minLength: 1, maxLength: 300 }),
      fc
        .integer({ min: 0, max: 6 })
        .chain((places) => fc.array(decimal(places), { minLength: 1, maxLength: 300 })),
      (start, ticks, values) => {
        let now = Math.min(start, MAX_AT_MS / 2);
        const at = ticks.map(({ jitter, gap }) => {
          now += 1000 + gap;
          return now + jitter;
        });
        comesBack(samplesOf(at, values));
      },
    ),
    { numRuns: 300 },
  );
});

test('a chunk with any byte changed, cut or added is refused, never misread', () => {
  const samples = samplesOf(
    Array.from({ length: 60 }, (_, i) => 1_700_000_000_000 + i * 1000),
    Array.from({ length: 60 }, (_, i) => Math.round(1000 * Math.sin(i)) / 1000),
  );
  const bytes = encodeChunk(samples);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (index, flip) => {
      const changed = bytes.slice();
      changed[index]! ^= flip;
      expect(() => decodeChunk(changed)).toThrow(/damaged/);
      expect(() => decodeChunk(bytes.slice(0, index))).toThrow(/damaged/);
      expect(() => decodeChunk(Uint8Array.from([...bytes, flip]))).toThrow(/damaged/);
    }),
  );
});

test('bytes that nobody wrote never crash the decoder', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const framed = frame(KEY, bytes);
      try {
        expect(decodeChunk(framed).at.length).toBeLessThanOrEqual(65_535);
      } catch (error) {
        expect(String(error)).toMatch(/damaged/);
      }
      try {
        expect(decodeWindows(bytes).at.length).toBeLessThanOrEqual(3_600);
      } catch (error) {
        expect(String(error)).toMatch(/damaged/);
      }
    }),
    { numRuns: 2000 },
  );
});

test('both checksums agree, in one go and in two', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (head, tail) => {
      const whole = crc32(Buffer.concat([head, tail]));
      expect(crc32ByTable(tail, crc32ByTable(head))).toBe(whole);
      expect(crc32(tail, crc32(head))).toBe(whole);
    }),
  );
});

test('CRC-32C gives the check value of RFC 3720, whole and by prefixes', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
      expect([...crc32cOfPrefixes(bytes)].at(-1)).toBe(crc32c(bytes));
    }),
  );
});

/** The plainest way to say what a window holds. */
function summary(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    count: values.length,
    min: sorted[0],
    max: sorted.at(-1),
    p95: sorted[Math.ceil(0.95 * sorted.length) - 1],
  };
}

test('windows hold what is in them: count, least, largest and p95 exactly, the sum as floats add', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3_599_999 }), { minLength: 1, maxLength: 400 }),
      fc.oneof(decimal(3), decimal(0), fc.double({ min: -1e12, max: 1e12, noNaN: true })),
      fc.constantFrom(10_000, 300_000),
      (offsets, first, windowMs) => {
        const at = [...offsets].sort((a, b) => a - b).map((offset) => 1_760_000_400_000 + offset);
        const values = at.map((_, i) =>
          i % 7 === 3 ? Number.NaN : Math.round(first * 1000 + ((i * 37) % 101)) / 1000,
        );
        const windows = decodeWindows(encodeWindows(windowsOf(samplesOf(at, values), windowMs)));
        const expected = new Map<number, number[]>();
        for (const [i, value] of values.entries()) {
          if (Number.isNaN(value)) continue;
          const start = Math.floor(at[i]! / windowMs) * windowMs;
          expected.set(start, [...(expected.get(start) ?? []), value]);
        }
        expect([...windows.at]).toEqual([...expected.keys()]);
        for (const [i, inside] of [...expected.values()].entries()) {
          const { count, min, max, p95, sum } = windows;
          expect({ count: count[i], min: min[i], max: max[i], p95: p95[i] }).toEqual(summary(inside));
          const plain = inside.reduce((a, b) => a + b, 0);
          expect(Math.abs(sum[i]! - plain)).toBeLessThanOrEqual(
            1e-9 * Math.max(1, Math.abs(plain), Math.abs(first) * count[i]!),
          );
        }
      },
    ),
    { numRuns: 300 },
  );
});
