import { type BitReader, type BitWriter, ESCAPE_ZEROS } from './bits.js';

/**
 * Rice codes (Rice and Plaunt 1971) for a column of non-negative integers below 2^53: quotient by 2^k in unary, then the
 * k low bits. The k that makes the column shortest is searched, so the code follows each series' own noise. A quotient of
 * ESCAPE_ZEROS or more is an outlier: as many zeros, then the number in full.
 */
const ALL_ZERO = 63;
const MAX_K = 52;
const ESCAPE_BITS = ESCAPE_ZEROS + 53;
const MAX_INT32 = 0x7fffffff;

/** Writes the first `count` numbers. */
export function writeRice(writer: BitWriter, column: Float64Array, count: number): void {
  const k = bestK(column, count);
  writer.write(k, 6);
  if (k === ALL_ZERO) return;
  const unit = 2 ** k;
  for (let i = 0; i < count; i++) {
    const n = column[i]!;
    const quotient = Math.floor(n / unit);
    if (quotient >= ESCAPE_ZEROS) {
      writer.write(0, ESCAPE_ZEROS);
      writer.writeWide(n, 53);
    } else if (quotient + 1 + k <= 24) {
      writer.write(unit + (n - quotient * unit), quotient + 1 + k);
    } else {
      writer.write(1, quotient + 1);
      writer.writeWide(n - quotient * unit, k);
    }
  }
}

/** Fills `column` from index `from` on. */
export function readRice(reader: BitReader, column: Float64Array, from: number): void {
  const k = reader.read(6);
  if (k === ALL_ZERO) {
    column.fill(0, from);
    return;
  }
  const unit = 2 ** k;
  for (let i = from; i < column.length; ) {
    // As far as words of 25 bits hold whole codes, then one code that may be longer.
    if (k <= 12) i = reader.readShortCodes(column, i, k);
    if (i === column.length) return;
    const quotient = reader.readZeros();
    column[i++] = quotient === ESCAPE_ZEROS ? reader.readWide(53) : quotient * unit + reader.readWide(k);
  }
}

export function zigzag(n: number): number {
  return n >= 0 ? n * 2 : -n * 2 - 1;
}

export function unzigzag(n: number): number {
  if (n <= MAX_INT32) return (n >>> 1) ^ -(n & 1);
  // Bit operations are of 32 bits, numbers of 53.
  return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
}

/** Binary digits of a non-negative integer below 2^53: about what it costs, and no outlier counts for much. */
export function digits(n: number): number {
  return n <= MAX_INT32 ? 32 - Math.clz32(n) : 63 - Math.clz32(n / MAX_INT32);
}

function bestK(column: Float64Array, count: number): number {
  let sum = 0;
  let largest = 0;
  for (let i = 0; i < count; i++) {
    const n = column[i]!;
    sum += digits(n);
    if (n > largest) largest = n;
  }
  if (largest === 0) return ALL_ZERO;
  const cost = largest <= MAX_INT32 ? costOfSmall : costOf;
  let best = Math.max(0, Math.min(MAX_K, Math.round(sum / count) - 1));
  let bits = cost(column, count, best);
  for (const direction of [-1, 1]) {
    for (let k = best + direction; k >= 0 && k <= MAX_K; k += direction) {
      const other = cost(column, count, k);
      if (other >= bits) break;
      best = k;
      bits = other;
    }
  }
  return best;
}

function costOfSmall(column: Float64Array, count: number, k: number): number {
  let bits = 0;
  for (let i = 0; i < count; i++) {
    const quotient = k > 31 ? 0 : (column[i]! | 0) >>> k;
    bits += quotient >= ESCAPE_ZEROS ? ESCAPE_BITS : quotient + 1 + k;
  }
  return bits;
}

function costOf(column: Float64Array, count: number, k: number): number {
  const unit = 2 ** k;
  let bits = 0;
  for (let i = 0; i < count; i++) {
    const quotient = Math.floor(column[i]! / unit);
    bits += quotient >= ESCAPE_ZEROS ? ESCAPE_BITS : quotient + 1 + k;
  }
  return bits;
}
