import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readLog } from './log-file.js';
import { type Manifest, readManifest } from './manifest.js';
import { checkTable } from './table-file.js';

/** What is wrong with the files of a LevelDB directory. LevelDB opens lazily and would notice too late, or never. */
export interface Damage {
  /** One sentence for each thing found; empty for a sound database. */
  readonly why: readonly string[];
  /** Tables to take out and to read what can be read from: damaged ones, and ones that the manifest has forgotten. */
  readonly tables: readonly string[];
  /** The manifest can no longer be relied on: it is damaged, or counts on a table that is damaged or gone. */
  readonly repair: boolean;
  /** All of it is tables that the manifest does not know: also what a kill in the middle of a compaction leaves. */
  readonly onlyForgotten: boolean;
  /** Of the newest records, in the write-ahead log; LevelDB passes them over by itself. */
  readonly lostLogBytes: number;
}

/** More tables than this that the manifest does not know: it was cut, and the tables are all there is to go by. */
const MAX_FORGOTTEN = 8;

/** Reads every file and checks every checksum: some 2.5 ms a MB, 1.3 s for as much as the history may keep by default. */
export async function inspectFiles(location: string): Promise<Damage> {
  const files = await filesIn(location);
  const tables = files.filter(isTable);
  const problems = new Map<string, string>();
  for (const [name, [problem]] of await inspectTables(location))
    problems.set(name, `table ${name} is damaged: ${problem}`);
  let lostLogBytes = 0;
  for (const name of files.filter((name) => /^\d+\.log$/.test(name)))
    lostLogBytes += readLog(await readFile(join(location, name))).damagedBytes;
  const manifest = await currentManifest(location, files);
  return { ...judge(tables, problems, manifest), lostLogBytes };
}

/** What is wrong with each damaged table; also while the database is open. */
export async function inspectTables(location: string): Promise<Map<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>();
  for (const name of (await filesIn(location)).filter(isTable)) {
    // A compaction may remove it meanwhile.
    const bytes = await readFile(join(location, name)).catch(() => undefined);
    const problems = bytes === undefined ? [] : checkTable(bytes).problems;
    if (problems.length > 0) found.set(name, problems);
  }
  return found;
}

export function isTable(name: string): boolean {
  return /^\d+\.(ldb|sst)$/.test(name);
}

type Found = Omit<Damage, 'lostLogBytes'>;

function judge(tables: readonly string[], problems: Map<string, string>, manifest: Manifest | string): Found {
  if (typeof manifest === 'string') {
    const why = manifest === '' ? [] : [manifest];
    return {
      why: [...why, ...problems.values()],
      tables: [...problems.keys()],
      repair: manifest !== '',
      onlyForgotten: false,
    };
  }
  const numberOf = (name: string) => Number.parseInt(name, 10);
  const there = new Set(tables.map(numberOf));
  const missing = [...manifest.live].filter((number) => !there.has(number));
  const forgotten = tables.filter(
    (name) => !manifest.live.has(numberOf(name)) && !manifest.retired.has(numberOf(name)),
  );
  const damaged = [...problems.keys()].filter((name) => manifest.live.has(numberOf(name)));
  const rebuild = forgotten.length > MAX_FORGOTTEN;
  return {
    why: [
      ...damaged.map((name) => problems.get(name)!),
      ...missing.map((number) => `table ${number} is missing`),
      ...forgotten.map((name) => `table ${name} is not in the manifest`),
    ],
    tables: rebuild ? damaged : [...new Set([...damaged, ...forgotten])],
    repair: damaged.length > 0 || missing.length > 0 || rebuild,
    onlyForgotten: forgotten.length > 0 && damaged.length + missing.length === 0,
  };
}

/** The manifest that CURRENT names; what is wrong with either; '' for a directory without a database. */
async function currentManifest(location: string, files: readonly string[]): Promise<Manifest | string> {
  if (!files.includes('CURRENT'))
    return files.some((name) => /\.(ldb|sst|log)$|^MANIFEST-/.test(name)) ? 'CURRENT is missing' : '';
  const text = await readFile(join(location, 'CURRENT'), 'latin1');
  const name = /^(MANIFEST-\d+)\n$/.exec(text)?.[1];
  if (name === undefined) return 'CURRENT does not name a manifest';
  if (!files.includes(name)) return `${name}, which CURRENT names, is missing`;
  return readManifest(await readFile(join(location, name))) ?? `${name} is damaged`;
}

export async function filesIn(location: string): Promise<string[]> {
  return readdir(location).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

export async function bytesIn(location: string): Promise<number> {
  let bytes = 0;
  // A file may be compacted away meanwhile.
  for (const file of await filesIn(location))
    bytes += await stat(join(location, file)).then(
      ({ size }) => size,
      () => 0,
    );
  return bytes;
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
