import { existsSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** Grows when an older corecast could no longer read what this one writes. */
export const FORMAT = 2;
const PATTERN = /^corecast-history (\d{1,6})\n$/;

/** DIR/FORMAT stands outside LevelDB, so that a newer format is recognised without opening (and so changing) anything. */
export async function readFormat(dir: string): Promise<number | 'new' | 'damaged'> {
  const file = join(dir, 'FORMAT');
  if (!existsSync(file)) return existsSync(join(dir, 'db')) ? 'damaged' : 'new';
  const match = PATTERN.exec(await readFile(file, 'utf8'));
  const format = Number(match?.[1] ?? 0);
  return format >= 1 ? format : 'damaged';
}

export async function writeFormat(dir: string): Promise<void> {
  const draft = join(dir, 'FORMAT.new');
  const file = await open(draft, 'w', 0o640);
  try {
    await file.writeFile(`corecast-history ${FORMAT}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, join(dir, 'FORMAT'));
}
