import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { Level } from 'level';
import { CorecastError, invalidField } from '../lib/errors.js';
import { bytesIn } from './damage.js';
import type { Db, Operation } from './database.js';
import { readFailure } from './failures.js';
import { writeFormat } from './format.js';
import type { BackupReport } from './history.js';
import { scan } from './scan.js';

const BATCH_BYTES = 1024 * 1024;
const EVERYTHING = { gte: Buffer.of(0), lt: Buffer.of(0xff) };

/**
 * Copies a snapshot into DIR, record by record, while the database goes on. It is written beside, as DIR.partial, and
 * renamed when it is complete: what has the name is a whole backup. Damaged stretches are left out, as readers do.
 */
export async function backUp(
  level: Db,
  dir: string,
  onDamage: (why: unknown) => void,
): Promise<BackupReport> {
  await requireFree(dir);
  const partial = join(dirname(dir), `${basename(dir)}.partial`);
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true, mode: 0o750 });
    const records = await copy(level, join(partial, 'db'), onDamage);
    await writeFormat(partial);
    await rename(partial, dir);
    return { dir, records, bytes: await bytesIn(join(dir, 'db')) };
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => {});
    if (error instanceof CorecastError) throw error;
    throw new CorecastError('STORE_FAILED', `the backup to ${dir} failed: ${readFailure(error).message}`, {
      cause: error,
    });
  }
}

async function requireFree(dir: string): Promise<void> {
  if (!isAbsolute(dir)) throw invalidField('dir', dir, 'an absolute path');
  const taken = await stat(dir).then(
    () => true,
    () => false,
  );
  if (taken) throw invalidField('dir', dir, 'a path that does not exist yet');
}

async function copy(level: Db, to: string, onDamage: (why: unknown) => void): Promise<number> {
  const options = { keyEncoding: 'view', valueEncoding: 'view' } as const;
  const target = new Level<Uint8Array, Uint8Array>(to, options) as unknown as Db;
  const snapshot = level.snapshot();
  let records = 0;
  try {
    await target.open();
    let batch: Operation[] = [];
    let bytes = 0;
    for await (const [key, value] of scan(level, EVERYTHING, { snapshot, onDamage })) {
      batch.push({ type: 'put', key, value });
      bytes += key.length + value.length;
      records++;
      if (bytes < BATCH_BYTES) continue;
      await target.batch(batch as Operation[], { sync: false });
      batch = [];
      bytes = 0;
    }
    // The last write is synced, and with it the log that it stands in; tables are synced when they are made.
    await target.batch(batch as Operation[], { sync: true });
    return records;
  } finally {
    await snapshot.close();
    await target.close();
  }
}
