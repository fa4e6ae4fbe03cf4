import * as zlib from 'node:zlib';

/** CRC-32 (ISO 3309), going on from `before`. zlib has it from Node 20.15 on; the table serves the Node 20 before. */
export const crc32: (bytes: Uint8Array, before?: number) => number =
  typeof zlib.crc32 === 'function' ? (bytes, before) => zlib.crc32(bytes, before) : crc32ByTable;

const ISO = 0xedb88320;
const CASTAGNOLI = 0x82f63b78;

let table: Int32Array | undefined;

export function crc32ByTable(bytes: Uint8Array, before = 0): number {
  table ??= tableOf(ISO);
  let crc = ~before;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

let slices: Int32Array[] | undefined;

/** CRC-32C (RFC 3720), with which LevelDB marks its blocks; eight bytes a step, some 1 GB/s. */
export function crc32c(bytes: Uint8Array): number {
  slices ??= slicesOf(CASTAGNOLI);
  const [s0, s1, s2, s3, s4, s5, s6, s7] = slices as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  let crc = -1;
  let i = 0;
  for (const last = bytes.length - 8; i <= last; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      s7[crc & 0xff]! ^
      s6[(crc >>> 8) & 0xff]! ^
      s5[(crc >>> 16) & 0xff]! ^
      s4[crc >>> 24]! ^
      s3[bytes[i + 4]!]! ^
      s2[bytes[i + 5]!]! ^
      s1[bytes[i + 6]!]! ^
      s0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = s0[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** For each length of a prefix of `bytes`, in turn: the CRC-32C of so many bytes. */
export function* crc32cOfPrefixes(bytes: Uint8Array): Generator<number> {
  slices ??= slicesOf(CASTAGNOLI);
  const first = slices[0]!;
  let crc = -1;
  for (const byte of bytes) {
    crc = first[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
    yield ~crc >>> 0;
  }
}

/** As LevelDB writes a checksum (util/crc32c.h, Mask): a checksum of data with checksums in it would be weak. */
export function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function tableOf(polynomial: number): Int32Array {
  return Int32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? polynomial ^ (c >>> 1) : c >>> 1;
    return c;
  });
}

/** slices[k][n]: what byte n contributes when k more bytes follow it. */
function slicesOf(polynomial: number): Int32Array[] {
  const made = [tableOf(polynomial)];
  for (let k = 1; k < 8; k++)
    made.push(made[k - 1]!.map((before) => (before >>> 8) ^ made[0]![before & 0xff]!));
  return made;
}
