import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Damage {
  readonly why: string;
}

/** Last 8 bytes of every LevelDB table (leveldb doc/table_format.md). */
const TABLE_MAGIC = '57fb808b247547db';
const FOOTER_BYTES = 48;

/**
 * What LevelDB itself notices too late: it opens lazily, so a table that was cut or added to fails each read and, at
 * some compaction, every write; and without CURRENT it begins a new database over the tables of the old one.
 */
export async function damageOfTables(location: string): Promise<Damage | undefined> {
  const files = await readdir(location).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const tables = files.filter((name) => /^\d+\.(ldb|sst)$/.test(name));
  const manifests = files.filter((name) => name.startsWith('MANIFEST-'));
  if (!files.includes('CURRENT') && tables.length + manifests.length > 0)
    return { why: 'CURRENT is missing' };
  for (const name of tables) {
    const ending = await lastBytes(join(location, name), FOOTER_BYTES);
    if (ending.length < FOOTER_BYTES || ending.subarray(-8).toString('hex') !== TABLE_MAGIC)
      return { why: `table ${name} does not end as a table does: it was cut or added to` };
  }
  return undefined;
}

/** The LEVEL_* code that lies deepest among the causes. */
export function levelCode(error: unknown): string | undefined {
  let code: string | undefined;
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    const own = (inner as NodeJS.ErrnoException).code;
    if (typeof own === 'string' && own.startsWith('LEVEL_')) code = own;
  }
  return code;
}

export function isLocked(error: unknown): boolean {
  return levelCode(error) === 'LEVEL_LOCKED';
}

async function lastBytes(path: string, count: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(count, size));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    return bytes;
  } finally {
    await file.close();
  }
}
