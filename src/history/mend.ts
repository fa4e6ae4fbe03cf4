import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { isCorecastError } from '../lib/errors.js';
import { type Damage, filesIn, isTable } from './damage.js';
import type { Db, Operation } from './database.js';
import { unframe } from './frame.js';
import { checkTable, entriesOf, type TableEntry } from './table-file.js';

const PUTS_PER_WRITE = 500;

/**
 * Makes a damaged database one that opens. What is damaged goes to `aside`; when the manifest cannot be relied on LevelDB
 * builds a new one from the tables that are left (and puts aside what it replaced).
 */
export async function takeOutDamaged(location: string, aside: string, damage: Damage): Promise<void> {
  await mkdir(aside, { recursive: true, mode: 0o750 });
  for (const name of damage.tables) await rename(join(location, name), join(aside, name));
  if (!damage.repair) return;
  const left = await filesIn(location);
  if (left.some((name) => /\.(ldb|sst|log)$/.test(name))) await ClassicLevel.repair(location);
  // Nothing to build a manifest from: the database begins anew.
  else for (const name of left) await rename(join(location, name), join(aside, name));
  const lost = join(location, 'lost');
  for (const name of await filesIn(lost)) await rename(join(lost, name), join(aside, name));
  await rm(lost, { recursive: true, force: true });
}

/**
 * Puts what can still be read of the tables in `aside` back: entries in blocks whose checksum is right, where no other
 * table has a newer one of the same key. Returns how many.
 */
export async function putBackReadable(
  level: Db,
  location: string,
  aside: string,
  tables: readonly string[],
): Promise<number> {
  const readable = new Map<string, TableEntry>();
  for (const name of tables)
    for (const entry of entriesIn(await readFile(join(aside, name)))) {
      const known = readable.get(textOfKey(entry.key));
      if (known === undefined || known.sequence < entry.sequence) readable.set(textOfKey(entry.key), entry);
    }
  await dropOutdated(readable, location);
  const operations = [...readable.values()]
    .filter(isWhole)
    .map(({ key, value }): Operation => ({ type: 'put', key, value }));
  for (let i = 0; i < operations.length; i += PUTS_PER_WRITE)
    await level.batch(operations.slice(i, i + PUTS_PER_WRITE) as Operation[]);
  return operations.length;
}

async function dropOutdated(readable: Map<string, TableEntry>, location: string): Promise<void> {
  if (readable.size === 0) return;
  for (const name of (await filesIn(location)).filter(isTable)) {
    // A compaction may have removed it meanwhile.
    const bytes = await readFile(join(location, name)).catch(() => new Uint8Array(0));
    for (const { key, sequence } of entriesIn(bytes)) {
      const text = textOfKey(key);
      if (sequence >= (readable.get(text)?.sequence ?? Number.POSITIVE_INFINITY)) readable.delete(text);
    }
  }
}

function* entriesIn(table: Uint8Array): Generator<TableEntry> {
  for (const block of checkTable(table).blocks) yield* entriesOf(table, block);
}

function isWhole({ key, value, deleted }: TableEntry): boolean {
  if (deleted) return false;
  try {
    unframe(key, value);
    return true;
  } catch (error) {
    if (isCorecastError(error, 'STORE_DAMAGED')) return false;
    throw error;
  }
}

function textOfKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
