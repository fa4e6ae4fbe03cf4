import { CorecastError } from '../lib/errors.js';
import { crc32 } from './checksum.js';
import type { Key } from './keys.js';

/**
 * The frame around every value: byte 0 the version of the frame, bytes 1-4 CRC-32 of the key and the body, little-endian,
 * then the body. The key is in the checksum because LevelDB verifies none on reads: a byte that flips in a key on disk
 * would otherwise put a sound value in another's place. Frames of version 1 (format 1) left the key out; they are read.
 */
const HEADER = 5;
const WITHOUT_KEY = 1;
const VERSION = 2;

export function frame(key: Key, body: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(HEADER + body.length);
  framed[0] = VERSION;
  framed.writeUInt32LE(crc32(body, crc32(key)), 1);
  framed.set(body, HEADER);
  return framed;
}

/** Throws STORE_DAMAGED. */
export function unframe(key: Key, framed: Uint8Array): Uint8Array {
  if (framed.length < HEADER) throw damaged(`it has ${framed.length} bytes, at least ${HEADER} are needed`);
  const version = framed[0];
  if (version !== VERSION && version !== WITHOUT_KEY)
    throw damaged(`its layout is ${version}, this corecast reads up to ${VERSION}`);
  const body = framed.subarray(HEADER);
  const stored = new DataView(framed.buffer, framed.byteOffset).getUint32(1, true);
  const sum = version === WITHOUT_KEY ? crc32(body) : crc32(body, crc32(key));
  if (sum !== stored) throw damaged('its checksum does not match');
  return body;
}

export function frameJson(key: Key, value: unknown): Uint8Array {
  return frame(key, Buffer.from(JSON.stringify(value), 'utf8'));
}

export function unframeJson<T>(key: Key, framed: Uint8Array): T {
  const body = unframe(key, framed);
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')) as T;
}

function damaged(why: string): CorecastError {
  return new CorecastError('STORE_DAMAGED', `history record is damaged: ${why}`);
}
