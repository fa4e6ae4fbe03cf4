import { CorecastError } from '../lib/errors.js';
import { crc32 } from './checksum.js';

/**
 * The frame around every value but chunks (which have the same one): byte 0 the version of the value's layout, bytes 1-4
 * CRC-32 of the rest, little-endian. LevelDB verifies no checksum on reads, so a flipped byte on disk shows here.
 */
const HEADER = 5;
const JSON_VERSION = 1;

export function frame(version: number, body: Uint8Array): Uint8Array {
  const framed = Buffer.allocUnsafe(HEADER + body.length);
  framed[0] = version;
  framed.writeUInt32LE(crc32(body), 1);
  framed.set(body, HEADER);
  return framed;
}

/** Throws STORE_DAMAGED. */
export function unframe(version: number, framed: Uint8Array): Uint8Array {
  if (framed.length < HEADER) throw damaged(`it has ${framed.length} bytes`);
  if (framed[0] !== version) throw damaged(`its layout is ${framed[0]}, this corecast reads ${version}`);
  const body = framed.subarray(HEADER);
  const stored = new DataView(framed.buffer, framed.byteOffset).getUint32(1, true);
  if (crc32(body) !== stored) throw damaged('its checksum does not match');
  return body;
}

export function frameJson(value: unknown): Uint8Array {
  return frame(JSON_VERSION, Buffer.from(JSON.stringify(value), 'utf8'));
}

export function unframeJson<T>(framed: Uint8Array): T {
  const body = unframe(JSON_VERSION, framed);
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')) as T;
}

function damaged(why: string): CorecastError {
  return new CorecastError('STORE_DAMAGED', `history record is damaged: ${why}`);
}
