import { crc32c, masked } from './checksum.js';

/** LevelDB's log format (its doc/log_format.md), which the write-ahead log and the manifest have. */
const BLOCK = 32_768;
const HEADER = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

export interface LogRecords {
  readonly records: readonly Uint8Array[];
  /** Bytes that were passed over: what follows damage up to the next block. A torn end is none, each kill leaves one. */
  readonly damagedBytes: number;
  /** Bytes of a record that the end of the file cuts. */
  readonly tornBytes: number;
}

export function readLog(bytes: Uint8Array): LogRecords {
  const records: Uint8Array[] = [];
  let damagedBytes = 0;
  let tornBytes = 0;
  let parts: Uint8Array[] = [];
  for (let block = 0; block < bytes.length; block += BLOCK) {
    const end = Math.min(block + BLOCK, bytes.length);
    for (let at = block; at + HEADER <= end; ) {
      const length = bytes[at + 4]! | (bytes[at + 5]! << 8);
      const type = bytes[at + 6]!;
      const next = at + HEADER + length;
      if (type === 0 && length === 0) break; // room that was never written
      if (next > end && end === bytes.length) {
        tornBytes += end - at;
        break;
      }
      if (next > end || masked(crc32c(bytes.subarray(at + 6, next))) !== word(bytes, at)) {
        damagedBytes += end - at;
        parts = [];
        break;
      }
      if (type === FULL || type === FIRST) parts = [];
      parts.push(bytes.subarray(at + HEADER, next));
      if (type === FULL || type === LAST) {
        records.push(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
        parts = [];
      }
      at = next;
    }
  }
  return { records, damagedBytes, tornBytes };
}

export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** Reads LevelDB's varints; `overrun` turns true past the end. */
export class Varints {
  at: number;
  overrun = false;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get done(): boolean {
    return this.overrun || this.at >= this.#bytes.length;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 63; scale *= 128) {
      if (this.at >= this.#bytes.length) break;
      const byte = this.#bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 128) return value;
    }
    this.overrun = true;
    return 0;
  }

  slice(): Uint8Array {
    return this.take(this.next());
  }

  take(length: number): Uint8Array {
    const start = this.at;
    this.at += length;
    if (this.at > this.#bytes.length) this.overrun = true;
    return this.#bytes.subarray(start, Math.min(this.at, this.#bytes.length));
  }
}
