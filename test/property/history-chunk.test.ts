import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32, crc32ByTable } from '../../src/history/checksum.js';
import { decodeChunk, encodeChunk, MAX_AT_MS, type Samples } from '../../src/history/chunk.js';

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
      const framed = new Uint8Array(5 + bytes.length);
      framed[0] = 1;
      framed.set(bytes, 5);
      new DataView(framed.buffer).setUint32(1, crc32(bytes), true);
      try {
        expect(decodeChunk(framed).at.length).toBeLessThanOrEqual(65_535);
      } catch (error) {
        expect(String(error)).toMatch(/damaged/);
      }
    }),
    { numRuns: 2000 },
  );
});

test('both checksums agree', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(crc32ByTable(bytes)).toBe(crc32(bytes));
    }),
  );
});
