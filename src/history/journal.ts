import { decodeColumns, encodeColumns, type Samples } from './chunk.js';
import { frame, unframe } from './frame.js';

/**
 * One journal record a flush: which series had their open chunk written as a chunk in the same batch, then the new samples
 * of all open chunks. Replaying the records in order gives the open chunks back.
 *
 *   u32 number of sealed series, u32 series id each,
 *   then for each piece: u32 series id, u32 length, columns (chunk.ts)
 *
 * All little-endian, in a frame (frame.ts) of version 1.
 */
export interface JournalRecord {
  readonly sealed: readonly number[];
  readonly pieces: readonly { readonly series: number; readonly samples: Samples }[];
}

const VERSION = 1;

export function encodeJournal({ sealed, pieces }: JournalRecord): Uint8Array {
  const head = Buffer.alloc(4 + 4 * sealed.length);
  head.writeUInt32LE(sealed.length, 0);
  for (const [i, id] of sealed.entries()) head.writeUInt32LE(id, 4 + 4 * i);
  const parts: Uint8Array[] = [head];
  for (const { series, samples } of pieces) {
    const columns = encodeColumns(samples);
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32LE(series, 0);
    prefix.writeUInt32LE(columns.length, 4);
    parts.push(prefix, columns);
  }
  return frame(VERSION, Buffer.concat(parts));
}

/** Throws STORE_DAMAGED. */
export function decodeJournal(framed: Uint8Array): JournalRecord {
  const bytes = unframe(VERSION, framed);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const sealedCount = view.getUint32(0, true);
  const sealed = Array.from({ length: sealedCount }, (_, i) => view.getUint32(4 + 4 * i, true));
  const pieces: { series: number; samples: Samples }[] = [];
  for (let offset = 4 + 4 * sealedCount; offset < bytes.length; ) {
    const length = view.getUint32(offset + 4, true);
    const columns = bytes.subarray(offset + 8, offset + 8 + length);
    pieces.push({ series: view.getUint32(offset, true), samples: decodeColumns(columns) });
    offset += 8 + length;
  }
  return { sealed, pieces };
}
