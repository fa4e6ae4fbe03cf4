/** Bits, most significant first, into bytes that grow. */
export class BitWriter {
  #bytes: Uint8Array;
  #length = 0;
  /** The last #bits (0-7) bits that do not fill a byte yet. */
  #acc = 0;
  #bits = 0;

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** The low `width` (0-24) bits of a non-negative value. */
  write(value: number, width: number): void {
    let bits = this.#bits + width;
    const acc = (this.#acc << width) | value;
    if (this.#length + 4 > this.#bytes.length) this.#grow();
    while (bits >= 8) {
      bits -= 8;
      this.#bytes[this.#length++] = acc >>> bits;
    }
    this.#acc = acc & ((1 << bits) - 1);
    this.#bits = bits;
  }

  /** The low `width` (0-53) bits of a non-negative integer. */
  writeWide(value: number, width: number): void {
    if (width <= 24) {
      this.write(value, width);
      return;
    }
    const high = Math.floor(value / 0x1000000);
    if (width > 48) {
      this.write(Math.floor(high / 0x1000000), width - 48);
      this.write(high % 0x1000000, 24);
    } else {
      this.write(high, width - 24);
    }
    this.write(value % 0x1000000, 24);
  }

  /** A non-negative integer below 2^53 as its length (6 bits) and that many bits. */
  writeNumber(value: number): void {
    const high = Math.floor(value / 0x100000000);
    const width = high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value >>> 0);
    this.write(width, 6);
    this.writeWide(value, width);
  }

  /** Fills the last byte up with zeros; returns the bytes so far. */
  align(): number {
    if (this.#bits > 0) this.write(0, 8 - this.#bits);
    return this.#length;
  }

  /** 32 bits, little-endian, at a byte boundary. */
  writeWord(value: number): void {
    if (this.#length + 4 > this.#bytes.length) this.#grow();
    this.#length += 4;
    this.patchWord(this.#length - 4, value);
  }

  /** Replaces what writeWord() wrote at a byte. */
  patchWord(at: number, value: number): void {
    this.#bytes[at] = value;
    this.#bytes[at + 1] = value >>> 8;
    this.#bytes[at + 2] = value >>> 16;
    this.#bytes[at + 3] = value >>> 24;
  }

  /** What was written, the last byte filled up with zeros. */
  finish(): Uint8Array {
    const length = this.align();
    return this.#bytes.slice(0, length);
  }

  /** Empty again, with the room that it has. */
  reset(): void {
    this.#length = 0;
    this.#acc = 0;
    this.#bits = 0;
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2 + 8);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}

/** Leading zeros of a prefix code that say "the number follows in full". */
export const ESCAPE_ZEROS = 24;

/** Reads what BitWriter wrote. Past the end it reads zeros and `overrun` turns true. */
export class BitReader {
  readonly #bytes: Uint8Array;
  #next: number;
  /** Valid bits at the top of a 32-bit word. */
  #acc = 0;
  #bits = 0;

  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bytes;
    this.#next = offset;
  }

  get overrun(): boolean {
    return this.#next - (this.#bits >> 3) > this.#bytes.length;
  }

  /** 0-24 bits. */
  read(width: number): number {
    if (width === 0) return 0;
    this.#fill();
    const value = this.#acc >>> (32 - width);
    this.#acc <<= width;
    this.#bits -= width;
    return value;
  }

  /** 0-53 bits. */
  readWide(width: number): number {
    if (width <= 24) return this.read(width);
    const high = width > 48 ? this.read(width - 48) * 0x1000000 + this.read(24) : this.read(width - 24);
    return high * 0x1000000 + this.read(24);
  }

  readNumber(): number {
    return this.readWide(Math.min(53, this.read(6)));
  }

  /** Zeros before the next one, which is consumed too; ESCAPE_ZEROS (without a one) when there are as many. */
  readZeros(): number {
    this.#fill();
    const zeros = Math.clz32(this.#acc);
    if (zeros >= ESCAPE_ZEROS) {
      this.#acc <<= ESCAPE_ZEROS;
      this.#bits -= ESCAPE_ZEROS;
      return ESCAPE_ZEROS;
    }
    // Two shifts: a shift by 32 is a shift by 0.
    this.#acc = (this.#acc << zeros) << 1;
    this.#bits -= zeros + 1;
    return zeros;
  }

  /**
   * Rice codes with `k` (0-12) low bits into `column` from index `i` on, as long as each has fewer than 13 zeros: nearly all
   * of them. Returns the index of the first that is not read. All state is in local variables: this is the loop of queries.
   */
  readShortCodes(column: Float64Array, i: number, k: number): number {
    const bytes = this.#bytes;
    let acc = this.#acc;
    let bits = this.#bits;
    let next = this.#next;
    let index = i;
    for (; index < column.length; index++) {
      while (bits <= 24) {
        acc |= (next < bytes.length ? bytes[next]! : 0) << (24 - bits);
        next++;
        bits += 8;
      }
      const zeros = Math.clz32(acc);
      if (zeros > 12) break;
      const width = zeros + 1 + k;
      // The one that ends the zeros comes to stand on top, the low bits after it.
      column[index] = (((acc << zeros) >>> (31 - k)) & ((1 << k) - 1)) + (zeros << k);
      acc = width === 32 ? 0 : acc << width;
      bits -= width;
    }
    this.#acc = acc;
    this.#bits = bits;
    this.#next = next;
    return index;
  }

  #fill(): void {
    while (this.#bits <= 24) {
      const byte = this.#next < this.#bytes.length ? this.#bytes[this.#next]! : 0;
      this.#next++;
      this.#acc |= byte << (24 - this.#bits);
      this.#bits += 8;
    }
  }
}
