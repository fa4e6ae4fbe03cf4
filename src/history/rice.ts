import { type BitReader, type BitWriter, ESCAPE_ZEROS } from './bits.js';

/**
 * Rice codes (Rice and Plaunt 1971) for a column of non-negative integers below 2^53: quotient by 2^k in unary, then the
 * k low bits. The k that makes the column shortest is searched, so the code follows each series' own noise. A quotient of
 * ESCAPE_ZEROS or more is an outlier: as many zeros, then the number in full.
 */
const ALL_ZERO = 63;
const MAX_K = 52;
const ESCAPE_BITS = ESCAPE_ZEROS + 53;

/** Bits that `writeRice` will use. */
export function riceCost(column: Float64Array): { k: number; bits: number } {
  let sum = 0;
  for (const n of column) sum += n;
  if (sum === 0) return { k: ALL_ZERO, bits: 6 };
  // The optimum for a geometric distribution is within one of this.
  const guess = Math.max(0, Math.min(MAX_K, Math.round(Math.log2((sum / column.length) * Math.LN2 + 1e-9))));
  let best = { k: guess, bits: costWith(column, guess) };
  // Outliers pull the mean up: follow the slope downwards as long as it pays.
  for (const direction of [-1, 1]) {
    for (let k = guess + direction; k >= 0 && k <= MAX_K; k += direction) {
      const bits = costWith(column, k);
      if (bits >= best.bits) break;
      best = { k, bits };
    }
  }
  return best;
}

export function writeRice(writer: BitWriter, column: Float64Array, k = riceCost(column).k): void {
  writer.write(k, 6);
  if (k === ALL_ZERO) return;
  const unit = 2 ** k;
  for (const n of column) {
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
  const narrow = k <= 24;
  for (let i = from; i < column.length; i++) {
    const quotient = reader.readZeros();
    if (quotient === ESCAPE_ZEROS) column[i] = reader.readWide(53);
    else column[i] = quotient * unit + (narrow ? reader.read(k) : reader.readWide(k));
  }
}

export function zigzag(n: number): number {
  return n >= 0 ? n * 2 : -n * 2 - 1;
}

export function unzigzag(n: number): number {
  // % and / rather than bit operations: numbers go up to 2^53.
  return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
}

function costWith(column: Float64Array, k: number): number {
  const unit = 2 ** k;
  let bits = 6;
  for (const n of column) {
    const quotient = Math.floor(n / unit);
    bits += quotient >= ESCAPE_ZEROS ? ESCAPE_BITS : quotient + 1 + k;
  }
  return bits;
}
