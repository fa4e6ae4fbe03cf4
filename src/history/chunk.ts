import { CorecastError } from '../lib/errors.js';
import { BitReader, BitWriter } from './bits.js';
import { crc32 } from './checksum.js';
import { readRice, riceCost, unzigzag, writeRice, zigzag } from './rice.js';
import { readXor, writeXor } from './xor.js';

/**
 * A run of samples of one series, compressed without loss. Both columns keep what differs from a prediction:
 *
 *   times   from the usual step between two samples, or from the step before (delta of delta, as in Gorilla, Facebook
 *           2015), whichever is shorter
 *   values  where all are decimals of at most six places (most measurements are: sample.ts rounds to what a sensor can
 *           tell), as integers of that scale over their common divisor, from the value before or from the mean; else
 *           Gorilla's XOR of neighbouring doubles, which keeps NaN, infinities and -0 too
 *
 * What remains is small integers, Rice coded (rice.ts). A constant column costs nothing.
 *
 *   byte 0      1, the version of this layout
 *   bytes 1-4   CRC-32 of the rest, little-endian
 *   bytes 5-    the columns as bits: count (number), first time (number), time predictor (1 bit: 0 usual step, then its
 *               zigzag (number); 1 step before), times (Rice); value kind (1 bit: 0 XOR, 1 integers).
 *               Integers: decimal places (3 bits), first (zigzag, number), divisor (number), predictor (1 bit: 0 value
 *               before; 1 mean, then its zigzag (number)), values (Rice)
 */
export interface Samples {
  /** Unix milliseconds, whole; 0 to MAX_AT_MS. */
  readonly at: Float64Array;
  readonly values: Float64Array;
}

export const MAX_AT_MS = 2 ** 47;
/** Samples in one chunk at most. */
export const MAX_COUNT = 65_535;
const VERSION = 1;
const HEADER = 5;
const MAX_PLACES = 6;
/** Keeps differences and their zigzag exact in a double. */
const MAX_INTEGER = 2 ** 50;

export function encodeChunk(samples: Samples): Uint8Array {
  const body = encodeColumns(samples);
  const chunk = new Uint8Array(HEADER + body.length);
  chunk.set(body, HEADER);
  chunk[0] = VERSION;
  new DataView(chunk.buffer).setUint32(1, crc32(body), true);
  return chunk;
}

/** Throws STORE_DAMAGED when the bytes are not those that were written. */
export function decodeChunk(bytes: Uint8Array): Samples {
  if (bytes.length < HEADER) throw damaged(`it has ${bytes.length} bytes, at least ${HEADER} are needed`);
  if (bytes[0] !== VERSION) throw damaged(`its layout is ${bytes[0]}, this corecast reads ${VERSION}`);
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1, true);
  const body = bytes.subarray(HEADER);
  if (crc32(body) !== stored) throw damaged('its checksum does not match');
  return decodeColumns(body);
}

/** The columns alone, for records that carry a checksum of their own. */
export function encodeColumns({ at, values }: Samples): Uint8Array {
  const writer = new BitWriter(at.length * 3 + 32);
  writer.writeNumber(at.length);
  if (at.length === 0) return writer.finish();
  writer.writeNumber(at[0]!);
  writeTimes(writer, at);
  const integers = asIntegers(values);
  writer.write(integers === undefined ? 0 : 1, 1);
  if (integers === undefined) writeXor(writer, values);
  else writeIntegers(writer, integers);
  return writer.finish();
}

export function decodeColumns(body: Uint8Array): Samples {
  const reader = new BitReader(body);
  const count = reader.readNumber();
  if (count > MAX_COUNT) throw damaged(`it claims ${count} samples, at most ${MAX_COUNT} fit`);
  const at = new Float64Array(count);
  const values = new Float64Array(count);
  if (count > 0) {
    at[0] = reader.readNumber();
    readTimes(reader, at);
    if (reader.read(1) === 0) readXor(reader, values);
    else readIntegers(reader, values);
  }
  if (reader.overrun) throw damaged('it ends early');
  return { at, values };
}

function writeTimes(writer: BitWriter, at: Float64Array): void {
  const steps = at.length - 1;
  const fromUsual = new Float64Array(steps);
  const fromBefore = new Float64Array(steps);
  const usual = steps === 0 ? 0 : Math.round((at[steps]! - at[0]!) / steps);
  let before = 0;
  for (let i = 0; i < steps; i++) {
    const step = at[i + 1]! - at[i]!;
    fromUsual[i] = zigzag(step - usual);
    fromBefore[i] = zigzag(step - before);
    before = step;
  }
  const usualCost = riceCost(fromUsual);
  const beforeCost = riceCost(fromBefore);
  if (usualCost.bits <= beforeCost.bits) {
    writer.write(0, 1);
    writer.writeNumber(zigzag(usual));
    writeRice(writer, fromUsual, usualCost.k);
  } else {
    writer.write(1, 1);
    writeRice(writer, fromBefore, beforeCost.k);
  }
}

function readTimes(reader: BitReader, at: Float64Array): void {
  const fromBefore = reader.read(1) === 1;
  let step = fromBefore ? 0 : unzigzag(reader.readNumber());
  readRice(reader, at, 1);
  for (let i = 1; i < at.length; i++) {
    const delta = step + unzigzag(at[i]!);
    at[i] = at[i - 1]! + delta;
    if (fromBefore) step = delta;
  }
}

interface Integers {
  readonly places: number;
  readonly column: Float64Array;
}

/** The values as whole multiples of 10^-places, or undefined when a double would change on the way back. */
function asIntegers(values: Float64Array): Integers | undefined {
  let places = 0;
  for (let i = 0; i < values.length; ) {
    const value = values[i]!;
    if (Object.is(value, -0) || !Number.isFinite(value)) return undefined;
    const scaled = Math.round(value * 10 ** places);
    if (Math.abs(scaled) <= MAX_INTEGER && scaled / 10 ** places === value) i++;
    else if (++places > MAX_PLACES) return undefined;
  }
  const scale = 10 ** places;
  const column = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const scaled = Math.round(values[i]! * scale);
    if (Math.abs(scaled) > MAX_INTEGER || scaled / scale !== values[i]) return undefined;
    column[i] = scaled;
  }
  return { places, column };
}

function writeIntegers(writer: BitWriter, { places, column }: Integers): void {
  const first = column[0]!;
  const divisor = commonDivisor(column, first);
  const fromBefore = new Float64Array(column.length - 1);
  const fromMean = new Float64Array(column.length - 1);
  let sum = 0;
  for (let i = 1; i < column.length; i++) sum += (column[i]! - first) / divisor;
  const mean = column.length === 1 ? 0 : Math.round(sum / (column.length - 1));
  let before = 0;
  for (let i = 1; i < column.length; i++) {
    const n = (column[i]! - first) / divisor;
    fromBefore[i - 1] = zigzag(n - before);
    fromMean[i - 1] = zigzag(n - mean);
    before = n;
  }
  const beforeCost = riceCost(fromBefore);
  const meanCost = riceCost(fromMean);
  writer.write(places, 3);
  writer.writeNumber(zigzag(first));
  writer.writeNumber(divisor);
  if (beforeCost.bits <= meanCost.bits) {
    writer.write(0, 1);
    writeRice(writer, fromBefore, beforeCost.k);
  } else {
    writer.write(1, 1);
    writer.writeNumber(zigzag(mean));
    writeRice(writer, fromMean, meanCost.k);
  }
}

function readIntegers(reader: BitReader, values: Float64Array): void {
  const scale = 10 ** reader.read(3);
  const first = unzigzag(reader.readNumber());
  const divisor = reader.readNumber();
  const fromMean = reader.read(1) === 1;
  const mean = fromMean ? unzigzag(reader.readNumber()) : 0;
  readRice(reader, values, 1);
  let before = mean;
  for (let i = 1; i < values.length; i++) {
    const n = before + unzigzag(values[i]!);
    if (!fromMean) before = n;
    values[i] = (first + n * divisor) / scale;
  }
  values[0] = first / scale;
}

/** The largest number that divides all distances from the first value; memory sizes move in pages. */
function commonDivisor(column: Float64Array, first: number): number {
  let divisor = 0;
  for (let i = 1; i < column.length && divisor !== 1; i++) {
    let a = Math.abs(column[i]! - first);
    while (a !== 0) [divisor, a] = [a, divisor % a];
  }
  return divisor === 0 ? 1 : divisor;
}

function damaged(why: string): CorecastError {
  return new CorecastError('STORE_DAMAGED', `history chunk is damaged: ${why}`);
}
