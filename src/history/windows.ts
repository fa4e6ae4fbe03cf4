import { BitReader, BitWriter } from './bits.js';
import {
  damaged,
  readTimes,
  readValues,
  reserve,
  type Samples,
  scaledIntegers,
  writeTimes,
  writeValues,
} from './chunk.js';

/** Lengths of the windows of roll-ups, the finest first. Each divides an hour and the next. */
export const WINDOW_MS = [10_000, 300_000] as const;
export type WindowMs = (typeof WINDOW_MS)[number];

/**
 * What windows of one length say of the samples in them, NaN left out; a window without samples is none. Sums rather than
 * means, so that the mean of several windows is that of their samples. p95 is the smallest value that is at least as
 * large as 95 % of the samples (nearest rank).
 *
 * On disk, in a frame: count (number); first time (number), times (as in a chunk); counts; 1 bit: 0 floats, 1 integers;
 * then four columns of values as in a chunk. Integers: decimal places (3 bits), then sum, floor of the mean less the
 * minimum, maximum less that floor, maximum less p95, all of that scale: what the level does is in the sums alone.
 * Floats: sum, min, max, p95.
 */
export interface Windows {
  /** Unix milliseconds of each window's beginning. */
  readonly at: Float64Array;
  readonly count: Float64Array;
  readonly sum: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
  readonly p95: Float64Array;
}

const MAX_WINDOWS = 3_600;
/** Sums of an hour of such integers are exact. */
const MAX_INTEGER = 2 ** 40;

/** Of samples in ascending order. */
export function windowsOf(
  samples: Samples,
  windowMs: number,
): { windows: Windows; places: number | undefined } {
  const { at, values } = withoutNaN(samples);
  const scaled = scaledIntegers(values, MAX_INTEGER);
  const numbers = scaled?.integers ?? values;
  const rows: number[][] = [];
  for (let from = 0; from < at.length; ) {
    const start = Math.floor(at[from]! / windowMs) * windowMs;
    let to = from;
    let sum = 0;
    while (to < at.length && at[to]! < start + windowMs) sum += numbers[to++]!;
    rows.push([start, to - from, sum, ...extremes(numbers.subarray(from, to))]);
    from = to;
  }
  const scale = 10 ** (scaled?.places ?? 0);
  const column = (i: number, by = scale) => Float64Array.from(rows, (row) => row[i]! / by);
  const windows = {
    at: column(0, 1),
    count: column(1, 1),
    sum: column(2),
    min: column(3),
    max: column(4),
    p95: column(5),
  };
  return { windows, places: scaled?.places };
}

function extremes(values: Float64Array): [min: number, max: number, p95: number] {
  let min = values[0]!;
  let max = min;
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return [min, max, percentile95(values, max)];
}

/** Reorders nothing. `max`: the largest of them, when it is known. */
export function percentile95(values: Float64Array, max?: number): number {
  const rank = Math.ceil(0.95 * values.length);
  if (max !== undefined && rank === values.length) return max;
  return values.slice().sort()[rank - 1] ?? Number.NaN;
}

function withoutNaN({ at, values }: Samples): Samples {
  if (!values.some(Number.isNaN)) return { at, values };
  return {
    at: at.filter((_, i) => !Number.isNaN(values[i]!)),
    values: values.filter((v) => !Number.isNaN(v)),
  };
}

export function encodeWindows({ windows, places }: ReturnType<typeof windowsOf>): Uint8Array {
  const { at, count, sum, min, max, p95 } = windows;
  const writer = new BitWriter(at.length * 6 + 32);
  writer.writeNumber(at.length);
  if (at.length === 0) return writer.finish();
  reserve(at.length);
  writer.writeNumber(at[0]!);
  writeTimes(writer, at);
  writeValues(writer, count);
  writer.write(places === undefined ? 0 : 1, 1);
  if (places === undefined) {
    for (const column of [sum, min, max, p95]) writeValues(writer, column);
    return writer.finish();
  }
  writer.write(places, 3);
  const scale = 10 ** places;
  const whole = (column: Float64Array) => column.map((value) => Math.round(value * scale) + 0);
  const [sums, least, most, top] = [whole(sum), whole(min), whole(max), whole(p95)];
  const floor = sums.map((n, i) => Math.floor(n / count[i]!) + 0);
  writeValues(writer, sums);
  writeValues(
    writer,
    floor.map((n, i) => n - least[i]!),
  );
  writeValues(
    writer,
    most.map((n, i) => n - floor[i]!),
  );
  writeValues(
    writer,
    most.map((n, i) => n - top[i]!),
  );
  return writer.finish();
}

/** Throws STORE_DAMAGED. */
export function decodeWindows(body: Uint8Array): Windows {
  const reader = new BitReader(body);
  const length = reader.readNumber();
  if (length > MAX_WINDOWS) throw damaged(`it claims ${length} windows, at most ${MAX_WINDOWS} fit`);
  const column = () => new Float64Array(length);
  const windows = {
    at: column(),
    count: column(),
    sum: column(),
    min: column(),
    max: column(),
    p95: column(),
  };
  if (length === 0) return windows;
  windows.at[0] = reader.readNumber();
  readTimes(reader, windows.at);
  readValues(reader, windows.count);
  const { count, sum, min, max, p95 } = windows;
  const places = reader.read(1) === 0 ? undefined : reader.read(3);
  for (const values of [sum, min, max, p95]) readValues(reader, values);
  if (reader.overrun) throw damaged('it ends early');
  if (places !== undefined) fromWhole(windows, 10 ** places, count);
  return windows;
}

function fromWhole({ sum, min, max, p95 }: Windows, scale: number, count: Float64Array): void {
  for (let i = 0; i < sum.length; i++) {
    const floor = Math.floor(sum[i]! / count[i]!);
    const most = floor + max[i]!;
    min[i] = (floor - min[i]!) / scale;
    max[i] = most / scale;
    p95[i] = (most - p95[i]!) / scale;
    sum[i] = sum[i]! / scale;
  }
}
