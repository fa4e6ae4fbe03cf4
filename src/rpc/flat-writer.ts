import protobuf from 'protobufjs/light.js';

const FIRST_BYTES = 16 * 1024;
/** A varint of 64 bits. */
const MOST_VARINT_BYTES = 10;
/** Characters; less than 128, so that a byte holds the length. */
const SHORT = 48;

/**
 * Protobuf's wire format, straight into one buffer that is kept from message to message. protobufjs' own writer first makes a
 * list of what it will write, an object a number: for an answer to Reserve that was more than the rest of the call leaves to
 * the garbage collector. A message inside another is written behind one byte for its length, and moved up where that takes more.
 *
 * One message at a time, written in one turn: reset() begins it, finish() copies it out.
 */
export class FlatWriter extends protobuf.Writer {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #view = viewOf(this.#bytes);
  #at = 0;
  readonly #starts: number[] = [];

  override uint32(value: number): this {
    this.#reserve(MOST_VARINT_BYTES);
    this.#varint(value >>> 0);
    return this;
  }

  override int32(value: number): this {
    // The wire extends the sign of a negative one to 64 bits.
    return value < 0 ? this.int64(value) : this.uint32(value);
  }

  override sint32(value: number): this {
    return this.uint32(((value << 1) ^ (value >> 31)) >>> 0);
  }

  override uint64(value: Parameters<protobuf.Writer['uint64']>[0]): this {
    return this.#varint64(protobuf.util.LongBits.from(value));
  }

  override int64(value: Parameters<protobuf.Writer['int64']>[0]): this {
    return this.#varint64(protobuf.util.LongBits.from(value));
  }

  override sint64(value: Parameters<protobuf.Writer['sint64']>[0]): this {
    return this.#varint64(protobuf.util.LongBits.from(value).zzEncode());
  }

  override bool(value: boolean): this {
    return this.uint32(value ? 1 : 0);
  }

  override fixed32(value: number): this {
    this.#reserve(4);
    this.#at = this.#bytes.writeUInt32LE(value >>> 0, this.#at);
    return this;
  }

  override sfixed32(value: number): this {
    return this.fixed32(value);
  }

  override fixed64(value: Parameters<protobuf.Writer['fixed64']>[0]): this {
    const { lo, hi } = protobuf.util.LongBits.from(value);
    return this.fixed32(lo).fixed32(hi);
  }

  override sfixed64(value: Parameters<protobuf.Writer['sfixed64']>[0]): this {
    return this.fixed64(value);
  }

  override float(value: number): this {
    this.#reserve(4);
    this.#view.setFloat32(this.#at, value, true);
    this.#at += 4;
    return this;
  }

  override double(value: number): this {
    this.#reserve(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
    return this;
  }

  override bytes(value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : value;
    this.uint32(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  override string(value: string): this {
    if (value.length <= SHORT && this.#ascii(value)) return this;
    const length = Buffer.byteLength(value);
    this.uint32(length);
    this.#reserve(length);
    this.#at += this.#bytes.write(value, this.#at, length, 'utf8');
    return this;
  }

  override fork(): this {
    this.#reserve(1);
    this.#starts.push(this.#at);
    this.#at++;
    return this;
  }

  override ldelim(): this {
    const start = this.#starts.pop()!;
    const length = this.#at - start - 1;
    const more = varintBytes(length) - 1;
    if (more > 0) {
      this.#reserve(more);
      this.#bytes.copyWithin(start + 1 + more, start + 1, this.#at);
    }
    this.#at = start;
    this.#varint(length);
    this.#at += length;
    return this;
  }

  override reset(): this {
    this.#at = 0;
    this.#starts.length = 0;
    return this;
  }

  override finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#at));
  }

  /** Most strings are short and of one byte a character: two calls into native code would take longer. */
  #ascii(value: string): boolean {
    const { length } = value;
    this.#reserve(1 + length);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = length;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at++] = code;
    }
    this.#at = at;
    return true;
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#at + count));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }

  #varint64({ lo, hi }: { lo: number; hi: number }): this {
    this.#reserve(MOST_VARINT_BYTES);
    let [low, high] = [lo >>> 0, hi >>> 0];
    while (high > 0) {
      this.#bytes[this.#at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#varint(low);
    return this;
  }

  /** There is room for it. */
  #varint(value: number): void {
    let left = value;
    while (left > 0x7f) {
      this.#bytes[this.#at++] = (left & 0x7f) | 0x80;
      left >>>= 7;
    }
    this.#bytes[this.#at++] = left;
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let left = value; left > 0x7f; left >>>= 7) bytes++;
  return bytes;
}
