import { decodeColumns, encodeColumns, type Samples } from './chunk.js';
import { frame, unframe } from './frame.js';

/**
 * One journal record a flush: which series had their open chunk written as a chunk in the same batch, then the new samples
 * of all open chunks. Replaying the records in order gives the open chunks back.
 *
 *   u32 number of seals, for each: u32 series id, u32 how many of its journaled samples (the oldest) the chunk took,
 *   then for each piece: u32 series id, u32 length, columns (chunk.ts)
 *
 * All little-endian, in a frame (frame.ts) of version 1.
 */
export interface JournalRecord {
  readonly seals: readonly { readonly series: number; readonly count: number }[];
  readonly pieces: readonly { readonly series: number; readonly samples: Samples }[];
}

const VERSION = 1;

export function encodeJournal({ seals, pieces }: JournalRecord): Uint8Array {
  const head = Buffer.alloc(4 + 8 * seals.length);
  head.writeUInt32LE(seals.length, 0);
  for (const [i, { series, count }] of seals.entries()) {
    head.writeUInt32LE(series, 4 + 8 * i);
    head.writeUInt32LE(count, 8 + 8 * i);
  }
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
  const sealCount = view.getUint32(0, true);
  const seals = Array.from({ length: sealCount }, (_, i) => ({
    series: view.getUint32(4 + 8 * i, true),
    count: view.getUint32(8 + 8 * i, true),
  }));
  const pieces: { series: number; samples: Samples }[] = [];
  for (let offset = 4 + 8 * sealCount; offset < bytes.length; ) {
    const length = view.getUint32(offset + 4, true);
    const columns = bytes.subarray(offset + 8, offset + 8 + length);
    pieces.push({ series: view.getUint32(offset, true), samples: decodeColumns(columns) });
    offset += 8 + length;
  }
  return { seals, pieces };
}
