import type { BitReader, BitWriter } from './bits.js';

/**
 * Gorilla's value code (Pelkonen et al., VLDB 2015, section 4.1.2): the first double in full, then the XOR with the one
 * before: "0" for none, "10" and the meaningful bits where they lie within the window of the last "11", which brings
 * its own: leading zeros (5 bits), length less one (6 bits), bits.
 */
export function writeXor(writer: BitWriter, values: Float64Array): void {
  const words = new Words();
  let [high, low] = words.of(values[0]!);
  writeWord(writer, high);
  writeWord(writer, low);
  let leading = -1;
  let trailing = 0;
  for (let i = 1; i < values.length; i++) {
    const [nextHigh, nextLow] = words.of(values[i]!);
    const xorHigh = (nextHigh ^ high) >>> 0;
    const xorLow = (nextLow ^ low) >>> 0;
    high = nextHigh;
    low = nextLow;
    if (xorHigh === 0 && xorLow === 0) {
      writer.write(0, 1);
      continue;
    }
    const zerosBefore = Math.min(31, xorHigh === 0 ? 32 + Math.clz32(xorLow) : Math.clz32(xorHigh));
    const zerosAfter = xorLow === 0 ? 32 + trailingZeros(xorHigh) : trailingZeros(xorLow);
    if (leading >= 0 && zerosBefore >= leading && zerosAfter >= trailing) {
      writer.write(0b10, 2);
    } else {
      leading = zerosBefore;
      trailing = zerosAfter;
      writer.write(0b11, 2);
      writer.write(leading, 5);
      writer.write(64 - leading - trailing - 1, 6);
    }
    writeMiddle(writer, xorHigh, xorLow, leading, trailing);
  }
}

export function readXor(reader: BitReader, values: Float64Array): void {
  const words = new Words();
  let high = readWord(reader);
  let low = readWord(reader);
  values[0] = words.toDouble(high, low);
  let leading = 0;
  let trailing = 0;
  for (let i = 1; i < values.length; i++) {
    if (reader.read(1) === 1) {
      if (reader.read(1) === 1) {
        leading = reader.read(5);
        trailing = 64 - leading - (reader.read(6) + 1);
      }
      const [xorHigh, xorLow] = readMiddle(reader, leading, trailing);
      high = (high ^ xorHigh) >>> 0;
      low = (low ^ xorLow) >>> 0;
    }
    values[i] = words.toDouble(high, low);
  }
}

/** Bits leading..63-trailing of a 64-bit word, bit 0 being the highest. */
function writeMiddle(writer: BitWriter, high: number, low: number, leading: number, trailing: number): void {
  const highWidth = Math.max(0, 32 - leading - Math.max(0, trailing - 32));
  if (highWidth > 0) writer.writeWide((trailing > 32 ? high >>> (trailing - 32) : high) >>> 0, highWidth);
  if (trailing >= 32) return;
  // leading is at most 31, so the whole low word above the trailing zeros is meaningful.
  writer.writeWide(low >>> trailing, 32 - trailing);
}

function readMiddle(reader: BitReader, leading: number, trailing: number): readonly [number, number] {
  const highWidth = Math.max(0, 32 - leading - Math.max(0, trailing - 32));
  const high = reader.readWide(highWidth);
  if (trailing >= 32) return [(high << (trailing - 32)) >>> 0, 0];
  return [high, (reader.readWide(32 - Math.max(0, trailing)) << Math.max(0, trailing)) >>> 0];
}

function writeWord(writer: BitWriter, word: number): void {
  writer.writeWide(word, 32);
}

function readWord(reader: BitReader): number {
  return reader.readWide(32);
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** A double as two 32-bit words. */
class Words {
  readonly #double = new DataView(new ArrayBuffer(8));

  of(value: number): readonly [number, number] {
    this.#double.setFloat64(0, value);
    return [this.#double.getUint32(0), this.#double.getUint32(4)];
  }

  toDouble(high: number, low: number): number {
    this.#double.setUint32(0, high);
    this.#double.setUint32(4, low);
    return this.#double.getFloat64(0);
  }
}
