import { snappyUncompress } from 'hyparquet';
import { crc32c, crc32cOfPrefixes, masked } from './checksum.js';
import { Varints, word } from './log-file.js';

/** LevelDB's table format (its doc/table_format.md). LevelDB checks none of its checksums when it reads; this does. */
const MAGIC = '57fb808b247547db';
const FOOTER = 48;
/** After each block: a byte that says how it is compressed, and the checksum of both. */
const TRAILER = 5;
const SNAPPY = 1;
const VALUE = 1;

export interface Handle {
  readonly offset: number;
  readonly size: number;
}

export interface TableEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly sequence: number;
  readonly deleted: boolean;
}

export interface Table {
  /** Data blocks whose checksum is right, in order. */
  readonly blocks: readonly Handle[];
  /** What is wrong, with its place in the file; empty for a sound table. */
  readonly problems: readonly string[];
}

/** Checks every byte. Where the index is lost the blocks are found one after another, up to the first damaged one. */
export function checkTable(bytes: Uint8Array): Table {
  const problems: string[] = [];
  const index = readIndex(bytes, problems);
  if (index === undefined) return { blocks: [...consecutiveBlocks(bytes)], problems };
  const blocks = index.filter((handle) => {
    if (isSound(bytes, handle)) return true;
    problems.push(`block at byte ${handle.offset} (${handle.size} bytes) does not match its checksum`);
    return false;
  });
  return { blocks, problems };
}

/** The entries of one sound block. */
export function* entriesOf(bytes: Uint8Array, handle: Handle): Generator<TableEntry> {
  for (const { key, value } of pairsOf(contentsOf(bytes, handle)) ?? []) {
    const tag = Buffer.from(key.buffer, key.byteOffset + key.length - 8, 8);
    yield {
      key: key.subarray(0, key.length - 8),
      value,
      sequence: tag.readUIntLE(1, 6),
      deleted: tag[0] !== VALUE,
    };
  }
}

/** undefined when the footer or a block that tells of others is damaged. */
function readIndex(bytes: Uint8Array, problems: string[]): Handle[] | undefined {
  const footer = bytes.subarray(Math.max(0, bytes.length - FOOTER));
  if (footer.length < FOOTER || Buffer.from(footer.subarray(-8)).toString('hex') !== MAGIC) {
    problems.push('it does not end as a table does: it was cut or added to');
    return undefined;
  }
  const numbers = new Varints(footer);
  const meta = readHandle(numbers);
  const index = readHandle(numbers);
  for (const [what, handle] of Object.entries({ 'index of filters': meta, index })) {
    if (!numbers.overrun && isSound(bytes, handle)) continue;
    problems.push(`its ${what} at byte ${handle.offset} does not match its checksum`);
    return undefined;
  }
  for (const filter of handlesOf(bytes, meta)) {
    if (isSound(bytes, filter)) continue;
    problems.push(`its filter at byte ${filter.offset} does not match its checksum`);
  }
  const blocks = handlesOf(bytes, index);
  const end = blocks.reduce((at, { offset, size }) => (at === offset ? offset + size + TRAILER : -1), 0);
  if (end >= 0) return blocks;
  problems.push('its index leaves out part of the file');
  return undefined;
}

function handlesOf(bytes: Uint8Array, of: Handle): Handle[] {
  return (pairsOf(contentsOf(bytes, of)) ?? []).map(({ value }) => readHandle(new Varints(value)));
}

function readHandle(numbers: Varints): Handle {
  return { offset: numbers.next(), size: numbers.next() };
}

function isSound(bytes: Uint8Array, { offset, size }: Handle): boolean {
  const end = offset + size + 1;
  return end + 4 <= bytes.length && masked(crc32c(bytes.subarray(offset, end))) === word(bytes, end);
}

/** Each block ends where a checksum follows that is right for all from the block's beginning. */
function* consecutiveBlocks(bytes: Uint8Array): Generator<Handle> {
  for (let offset = 0; offset < bytes.length; ) {
    const handle = blockFrom(bytes, offset);
    if (handle === undefined || !isDataBlock(bytes, handle)) return;
    yield handle;
    offset += handle.size + TRAILER;
  }
}

function blockFrom(bytes: Uint8Array, offset: number): Handle | undefined {
  let end = offset;
  for (const crc of crc32cOfPrefixes(bytes.subarray(offset))) {
    end++;
    if (end + 4 > bytes.length) return undefined;
    if (masked(crc) === word(bytes, end)) return { offset, size: end - 1 - offset };
  }
  return undefined;
}

/** Filters and indexes have other keys than data. */
function isDataBlock(bytes: Uint8Array, handle: Handle): boolean {
  const pairs = pairsOf(contentsOf(bytes, handle));
  return pairs?.every(({ key }) => key.length > 8 && key[key.length - 8]! <= VALUE) ?? false;
}

function contentsOf(bytes: Uint8Array, { offset, size }: Handle): Uint8Array {
  const stored = bytes.subarray(offset, offset + size);
  if (bytes[offset + size] !== SNAPPY) return stored;
  const plain = new Uint8Array(new Varints(stored).next());
  snappyUncompress(stored, plain);
  return plain;
}

/** undefined when these are no prefix-compressed pairs with restart points. */
function pairsOf(block: Uint8Array): { key: Uint8Array; value: Uint8Array }[] | undefined {
  if (block.length < 4) return undefined;
  const end = block.length - 4 - 4 * word(block, block.length - 4);
  if (end < 0) return undefined;
  const pairs: { key: Uint8Array; value: Uint8Array }[] = [];
  const reader = new Varints(block.subarray(0, end));
  let before: Uint8Array = new Uint8Array(0);
  while (!reader.done) {
    const shared = reader.next();
    const own = reader.next();
    const length = reader.next();
    if (shared > before.length) return undefined;
    const key = Buffer.concat([before.subarray(0, shared), reader.take(own)]);
    pairs.push({ key, value: reader.take(length) });
    before = key;
  }
  return reader.overrun ? undefined : pairs;
}
