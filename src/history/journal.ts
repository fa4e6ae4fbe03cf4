import { BitWriter } from './bits.js';
import { decodeColumns, type Samples, writeColumns } from './chunk.js';
import { frame, unframe } from './frame.js';
import type { Key } from './keys.js';

/**
 * One journal record a flush: which series had their open chunk written as a chunk in the same batch, then the new samples
 * of all open chunks. Replaying the records in order gives the open chunks back.
 *
 *   u32 number of seals, for each: u32 series id, u32 how many of its journaled samples (the oldest) the chunk took,
 *   then for each piece: u32 series id, u32 length, columns (chunk.ts)
 *
 * All little-endian, in a frame (frame.ts).
 */
export interface JournalRecord {
  readonly seals: readonly { readonly series: number; readonly count: number }[];
  readonly pieces: readonly { readonly series: number; readonly samples: Samples }[];
}

/** Used anew by each record: most pieces are a few samples, and a buffer for each would cost more than filling it. */
const writer = new BitWriter(64 * 1024);

export function encodeJournal(key: Key, { seals, pieces }: JournalRecord): Uint8Array {
  writer.reset();
  writer.writeWord(seals.length);
  for (const { series, count } of seals) {
    writer.writeWord(series);
    writer.writeWord(count);
  }
  for (const { series, samples } of pieces) {
    writer.writeWord(series);
    writer.writeWord(0);
    const start = writer.align();
    writeColumns(writer, samples);
    writer.patchWord(start - 4, writer.align() - start);
  }
  return frame(key, writer.finish());
}

/** Throws STORE_DAMAGED. */
export function decodeJournal(key: Key, framed: Uint8Array): JournalRecord {
  const bytes = unframe(key, framed);
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
