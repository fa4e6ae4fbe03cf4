import { CorecastError } from '../lib/errors.js';
import { BitReader, BitWriter } from './bits.js';
import { digits, readRice, unzigzag, writeRice, zigzag } from './rice.js';
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
 * In a frame (frame.ts), as bits: count (number), first time (number), divisor of the steps (number), time predictor
 * (1 bit: 0 usual step, then its zigzag (number); 1 step before), times (Rice); value kind (1 bit: 0 XOR, 1 integers).
 * Integers: decimal places (3 bits), first (zigzag, number), divisor (number), predictor (1 bit: 0 value before; 1 mean,
 * then its zigzag (number)), values (Rice)
 */
export interface Samples {
  /** Unix milliseconds, whole; 0 to MAX_AT_MS. */
  readonly at: Float64Array;
  readonly values: Float64Array;
}

export const MAX_AT_MS = 2 ** 47;
/** Samples in one chunk at most. */
export const MAX_COUNT = 65_535;
const MAX_PLACES = 6;
/** Keeps differences and their zigzag exact in a double. */
const MAX_INTEGER = 2 ** 50;

export function encodeColumns(samples: Samples): Uint8Array {
  const writer = new BitWriter(samples.at.length * 2 + 32);
  writeColumns(writer, samples);
  return writer.finish();
}

export function writeColumns(writer: BitWriter, { at, values }: Samples): void {
  const count = at.length;
  writer.writeNumber(count);
  if (count === 0) return;
  reserve(count);
  writer.writeNumber(at[0]!);
  writeTimes(writer, at);
  writeValues(writer, values);
}

/** `values` is not empty, and no longer than reserve() was told. */
export function writeValues(writer: BitWriter, values: Float64Array): void {
  const places = asIntegers(values);
  writer.write(places === undefined ? 0 : 1, 1);
  if (places === undefined) writeXor(writer, values);
  else writeIntegers(writer, places, values.length);
}

export function readValues(reader: BitReader, values: Float64Array): void {
  if (reader.read(1) === 0) readXor(reader, values);
  else readIntegers(reader, values);
}

/** Throws STORE_DAMAGED when these are no columns; changed bytes are the frame's to find. */
export function decodeColumns(body: Uint8Array): Samples {
  const reader = new BitReader(body);
  const count = reader.readNumber();
  if (count > MAX_COUNT) throw damaged(`it claims ${count} samples, at most ${MAX_COUNT} fit`);
  const at = new Float64Array(count);
  const values = new Float64Array(count);
  if (count > 0) {
    at[0] = reader.readNumber();
    readTimes(reader, at);
    readValues(reader, values);
  }
  if (reader.overrun) throw damaged('it ends early');
  return { at, values };
}

/** All but the first time. */
export function writeTimes(writer: BitWriter, at: Float64Array): void {
  const { column: step, fromOne: fromUsual, fromOther: fromBefore } = scratch;
  const steps = at.length - 1;
  for (let i = 0; i < steps; i++) step[i] = at[i + 1]! - at[i]!;
  const divisor = commonDivisor(step, steps);
  const usual = usualOf(step, steps) / divisor;
  let before = 0;
  let usualDigits = 0;
  let beforeDigits = 0;
  for (let i = 0; i < steps; i++) {
    const n = step[i]! / divisor;
    const a = zigzag(n - usual);
    const b = zigzag(n - before);
    before = n;
    fromUsual[i] = a;
    fromBefore[i] = b;
    usualDigits += digits(a);
    beforeDigits += digits(b);
  }
  writer.writeNumber(divisor);
  if (usualDigits <= beforeDigits) {
    writer.write(0, 1);
    writer.writeNumber(zigzag(usual));
    writeRice(writer, fromUsual, steps);
  } else {
    writer.write(1, 1);
    writeRice(writer, fromBefore, steps);
  }
}

/** The median of a few: a gap does not move it. */
function usualOf(step: Float64Array, steps: number): number {
  const count = Math.min(few.length, steps);
  // Inserted one by one in order: sorting so few any other way costs more than encoding them.
  for (let i = 0; i < count; i++) {
    const one = step[Math.floor((i * steps) / few.length)]!;
    let place = i;
    for (; place > 0 && few[place - 1]! > one; place--) few[place] = few[place - 1]!;
    few[place] = one;
  }
  return count === 0 ? 0 : few[count >> 1]!;
}

const few = new Float64Array(9);

export function readTimes(reader: BitReader, at: Float64Array): void {
  const divisor = reader.readNumber();
  const fromBefore = reader.read(1) === 1;
  let step = fromBefore ? 0 : unzigzag(reader.readNumber());
  readRice(reader, at, 1);
  for (let i = 1; i < at.length; i++) {
    const delta = step + unzigzag(at[i]!);
    at[i] = at[i - 1]! + delta * divisor;
    if (fromBefore) step = delta;
  }
}

/**
 * Puts the values into scratch.column as whole multiples of 10^-places and returns the places; undefined when a double
 * would change on the way back.
 */
function asIntegers(values: Float64Array): number | undefined {
  const { column } = scratch;
  let places = 0;
  let scale = 1;
  for (let i = 0; i < values.length; ) {
    const value = values[i]!;
    const scaled = Math.round(value * scale);
    // NaN and infinities fail the comparisons.
    if (Math.abs(scaled) <= MAX_INTEGER && scaled / scale === value) {
      if (value === 0 && Object.is(value, -0)) return undefined;
      column[i++] = scaled;
    } else {
      if (++places > MAX_PLACES) return undefined;
      scale *= 10;
      i = 0;
    }
  }
  return places;
}

function writeIntegers(writer: BitWriter, places: number, count: number): void {
  const { column, fromOne: fromBefore, fromOther: fromMean } = scratch;
  const first = column[0]!;
  const rest = count - 1;
  for (let i = 0; i < rest; i++) column[i] = column[i + 1]! - first;
  const divisor = commonDivisor(column, rest);
  let sum = 0;
  for (let i = 0; i < rest; i++) {
    column[i] = column[i]! / divisor;
    sum += column[i]!;
  }
  const mean = rest === 0 ? 0 : Math.round(sum / rest);
  let before = 0;
  let beforeDigits = 0;
  let meanDigits = 0;
  for (let i = 0; i < rest; i++) {
    const n = column[i]!;
    const a = zigzag(n - before);
    const b = zigzag(n - mean);
    before = n;
    fromBefore[i] = a;
    fromMean[i] = b;
    beforeDigits += digits(a);
    meanDigits += digits(b);
  }
  writer.write(places, 3);
  writer.writeNumber(zigzag(first));
  writer.writeNumber(divisor);
  if (beforeDigits <= meanDigits) {
    writer.write(0, 1);
    writeRice(writer, fromBefore, rest);
  } else {
    writer.write(1, 1);
    writer.writeNumber(zigzag(mean));
    writeRice(writer, fromMean, rest);
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

/** The values as whole multiples of 10^-places; undefined when a double would change on the way back, or one is large. */
export function scaledIntegers(
  values: Float64Array,
  most: number,
): { places: number; integers: Float64Array } | undefined {
  reserve(values.length);
  const places = asIntegers(values);
  if (places === undefined) return undefined;
  const integers = scratch.column.slice(0, values.length);
  return integers.every((n) => Math.abs(n) <= most) ? { places, integers } : undefined;
}

/** The largest number that divides all; memory sizes move in pages, ticks in tens of milliseconds. 1 for all zeros. */
function commonDivisor(column: Float64Array, count: number): number {
  let divisor = 0;
  for (let i = 0; i < count && divisor !== 1; i++) {
    const n = Math.abs(column[i]!);
    // The remainder of 32-bit integers is many times faster than that of doubles.
    divisor =
      n <= MAX_INT32 && divisor <= MAX_INT32 ? divisorOfSmall(divisor | 0, n | 0) : divisorOf(divisor, n);
  }
  return divisor === 0 ? 1 : divisor;
}

const MAX_INT32 = 0x7fffffff;

function divisorOfSmall(first: number, second: number): number {
  let a = first | 0;
  let b = second | 0;
  while (b !== 0) {
    const rest = (a % b) | 0;
    a = b;
    b = rest;
  }
  return a;
}

function divisorOf(first: number, second: number): number {
  let a = first;
  let b = second;
  while (b !== 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/** Columns that each encoding uses anew: allocating them would cost more than filling them. */
const scratch = {
  column: new Float64Array(512),
  fromOne: new Float64Array(512),
  fromOther: new Float64Array(512),
};

/** Makes room for columns of so many numbers. */
export function reserve(count: number): void {
  if (count <= scratch.column.length) return;
  const size = Math.max(count, 2 * scratch.column.length);
  for (const name of ['column', 'fromOne', 'fromOther'] as const) scratch[name] = new Float64Array(size);
}

export function damaged(why: string): CorecastError {
  return new CorecastError('STORE_DAMAGED', `history chunk is damaged: ${why}`);
}
