import { mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ClassicLevel } from 'classic-level';
import { Level } from 'level';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { bytesIn, type Damage, inspectFiles, inspectTables, isLocked, levelCode } from './damage.js';
import { failed, innermost, newerFormat, readFailure, unavailable } from './failures.js';
import { FORMAT, readFormat, writeFormat } from './format.js';
import { type Key, metaKey, SECTION, sectionRange } from './keys.js';
import { putBackReadable, takeOutDamaged } from './mend.js';
import { parseMeta } from './meta.js';
import { reindex } from './reindex.js';

/** level's own type leaves out what only its LevelDB backend has: compactRange, approximateSize. */
export type Db = ClassicLevel<Uint8Array, Uint8Array>;
export type Put = { readonly type: 'put'; readonly key: Key; readonly value: Uint8Array };
export type Operation = Put | { readonly type: 'del'; readonly key: Key };

/** Damaged databases that are kept beside the one in use; older ones are removed. */
const KEPT_ASIDE = 2;
/** What LevelDB may need to open: its write buffer as a table, a manifest, a log. */
const ROOM_TO_OPEN_BYTES = 8 * 1024 * 1024;
const REOPEN_EVERY_MS = 5_000;
const FIRST_KEY: Key = Buffer.of(0);
const LAST_KEY: Key = Buffer.of(0xff);

/** Writes that wait for the one under way: they go together. */
interface Group {
  readonly operations: Operation[];
  sync: boolean;
  readonly done: Promise<void>;
}

/**
 * One LevelDB directory, made to outlive a full disk and damage. After a failed write LevelDB's log is torn at its end,
 * and what it takes after that would not be found again, so nothing is written before it was opened anew; before that
 * there must be room for it. On opening every checksum is checked: what is damaged is set aside, what can be read of it
 * is put back (mend.ts), and only a database that cannot be mended gives way to a fresh one.
 */
export class HistoryDatabase {
  readonly report: string[] = [];
  /** Grows when a database was mended or replaced: what was written before may not be in this one. */
  generation = 0;
  /** The database is not as it was left: its journal may hold what chunks hold, too. */
  mended = false;
  writeFailures = 0;
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #level: Db | undefined;
  #failing = false;
  #closed = false;
  #nextReopenMs = 0;
  #writes: Promise<unknown> = Promise.resolve();
  #next: Group | undefined;

  private constructor(dir: string, clock: Clock, log: Log) {
    this.#dir = dir;
    this.#clock = clock;
    this.#log = log;
  }

  /** Throws STORE_FAILED for a newer format, a lock held by another process or a directory that cannot be used. */
  static async open(dir: string, clock: Clock, log: Log): Promise<HistoryDatabase> {
    const database = new HistoryDatabase(dir, clock, log);
    await database.#openOrMend();
    return database;
  }

  get level(): Db {
    if (this.#level === undefined) throw unavailable(this.#dir, 'it is being opened again');
    return this.#level;
  }

  /** Applies all or nothing; survives the end of this process, and that of the machine when `sync`. Throws STORE_FAILED. */
  write(operations: readonly Operation[], sync = false): Promise<void> {
    this.#next ??= this.#openGroup();
    for (const operation of operations) this.#next.operations.push(operation);
    this.#next.sync ||= sync;
    return this.#next.done;
  }

  sizeBytes(): Promise<number> {
    return bytesIn(this.location);
  }

  /** Mends damaged tables, then rewrites all without what was deleted. Throws STORE_FAILED. */
  compact(): Promise<void> {
    const result = this.#writes.then(async () => {
      // LevelDB would carry some damage on, and stop at other.
      const [damaged] = await inspectTables(this.location);
      if (damaged !== undefined) await this.#mendRunning(`table ${damaged[0]} is damaged`);
      try {
        await this.level.compactRange(FIRST_KEY, LAST_KEY);
      } catch (error) {
        if (levelCode(error) !== 'LEVEL_CORRUPTION') throw readFailure(error);
        await this.#mendRunning(messageOf(error));
      }
    });
    this.#writes = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    await this.#writes;
    this.#closed = true;
    await this.#level?.close();
    this.#level = undefined;
  }

  #openGroup(): Group {
    const begin = (): Promise<void> => {
      if (this.#next === group) this.#next = undefined;
      return this.#write(group.operations, group.sync);
    };
    const group: Group = { operations: [], sync: false, done: this.#writes.then(begin) };
    this.#writes = group.done.catch(() => {});
    return group;
  }

  get location(): string {
    return join(this.#dir, 'db');
  }

  async #write(operations: readonly Operation[], sync: boolean): Promise<void> {
    if (this.#closed) throw unavailable(this.#dir, 'it is closed');
    if (this.#failing) await this.#reopen();
    try {
      await this.level.batch(operations as Operation[], { sync });
    } catch (error) {
      this.writeFailures++;
      if (levelCode(error) === 'LEVEL_CORRUPTION') await this.#mendRunning(messageOf(error));
      else this.#failing = true;
      throw failed(this.#dir, error);
    }
  }

  async #reopen(): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (now < this.#nextReopenMs) throw unavailable(this.#dir, 'a write failed before');
    this.#nextReopenMs = now + REOPEN_EVERY_MS;
    await this.#requireRoom();
    await this.#level?.close();
    this.#level = undefined;
    await this.#openOrMend();
    this.#failing = false;
    this.#nextReopenMs = 0;
  }

  /** statfs knows free space; quotas and file size limits show only when written to. */
  async #requireRoom(): Promise<void> {
    const probe = join(this.#dir, 'probe');
    try {
      const { bavail, bsize } = await statfs(this.#dir);
      if (bavail * bsize < ROOM_TO_OPEN_BYTES) throw new Error(`only ${bavail * bsize} bytes are free`);
      const file = await open(probe, 'w');
      try {
        await file.writeFile(Buffer.alloc(ROOM_TO_OPEN_BYTES / 2));
      } finally {
        await file.close();
      }
    } catch (error) {
      throw failed(this.#dir, error);
    } finally {
      await rm(probe, { force: true }).catch(() => {});
    }
  }

  async #openOrMend(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o750 }).catch((error) => {
      throw failed(this.#dir, error);
    });
    const format = await readFormat(this.#dir);
    if (typeof format === 'number' && format > FORMAT) throw newerFormat(this.#dir, format);
    const damage = await inspectFiles(this.location).catch((error) => {
      throw failed(this.#dir, error);
    });
    if (damage.lostLogBytes > 0)
      this.#say(
        `${damage.lostLogBytes} bytes of the newest records of the history in ${this.#dir} are damaged and lost`,
      );
    if (damage.why.length > 0) await this.#mend(damage);
    else {
      const refusal = await this.#openLevel();
      if (refusal !== undefined) await this.#mend({ ...damage, why: [refusal], repair: true });
    }
    await this.#settleFormat(format);
  }

  /** Format 1 has frames without the key in their checksum, which are read, too: migrating is writing the number. */
  async #settleFormat(format: number | 'new' | 'damaged'): Promise<void> {
    if (format === FORMAT) return;
    const written = parseMeta(await this.level.get(metaKey))?.format ?? 1;
    if (format === 'damaged' && written > FORMAT) {
      await this.#level?.close();
      this.#level = undefined;
      throw newerFormat(this.#dir, written);
    }
    if (format === 'damaged')
      this.#say(`the FORMAT file of the history in ${this.#dir} was unreadable; it is ${FORMAT}`);
    await writeFormat(this.#dir).catch((error) => {
      throw failed(this.#dir, error);
    });
  }

  /** Why LevelDB refuses the files as damaged; undefined when it is open. */
  async #openLevel(): Promise<string | undefined> {
    try {
      const options = { keyEncoding: 'view', valueEncoding: 'view' } as const;
      const level = new Level<Uint8Array, Uint8Array>(this.location, options) as unknown as Db;
      await level.open();
      this.#level = level;
      return undefined;
    } catch (error) {
      if (isLocked(error))
        throw failed(this.#dir, error, 'another process holds it: is a corecastd running?');
      const code = levelCode(error);
      // A table or manifest that the others name is gone.
      const gone = code === 'LEVEL_IO_ERROR' && /No such file/.test(innermost(error));
      if (code === 'LEVEL_CORRUPTION' || gone) return innermost(error);
      throw failed(this.#dir, error);
    }
  }

  /** What is not a chunk yet is in memory: the journal, of which older records may have come back, is not needed. */
  async #mendRunning(why: string): Promise<void> {
    await this.#level?.close().catch(() => {});
    this.#level = undefined;
    const damage = await inspectFiles(this.location);
    await this.#mend({ ...damage, why: damage.why.length > 0 ? damage.why : [why], repair: true });
    await this.level.clear(sectionRange(SECTION.journal));
  }

  async #mend(damage: Damage): Promise<void> {
    const stamp = new Date(this.#clock.nowMs()).toISOString().replace(/[-:]|\.\d+/g, '');
    const why = damage.why.join('; ');
    try {
      const aside = await freeName(`${this.#dir}.damaged-${stamp}`);
      await takeOutDamaged(this.location, aside, damage);
      let refusal = await this.#openLevel();
      let { repair } = damage;
      if (refusal !== undefined && !repair) {
        repair = true;
        await takeOutDamaged(this.location, aside, { ...damage, tables: [], repair });
        refusal = await this.#openLevel();
      }
      if (refusal !== undefined) await this.#startFresh(aside, `${why}; ${refusal}`);
      else {
        const saved = await putBackReadable(this.level, this.location, aside, damage.tables);
        if (saved === 0 && damage.onlyForgotten && !repair)
          return await rm(aside, { recursive: true, force: true });
        const [anything] = await this.level.keys({ limit: 1 }).all();
        const nameless = await reindex(this.level);
        this.#say(anything === undefined ? this.#fresh(aside, why) : this.#kept(aside, why, saved, nameless));
      }
      await this.#pruneAside();
    } catch (error) {
      throw failed(this.#dir, error, 'the damaged history could not be mended');
    }
    this.generation++;
    this.mended = true;
  }

  async #startFresh(aside: string, why: string): Promise<void> {
    await rename(this.location, join(aside, 'db'));
    this.#say(this.#fresh(aside, why));
    const refusal = await this.#openLevel();
    if (refusal !== undefined) throw new Error(`a fresh history is damaged too: ${refusal}`);
  }

  #fresh(aside: string, why: string): string {
    return `the history in ${this.#dir} was damaged (${why}); it was set aside as ${aside} and a fresh one started`;
  }

  #kept(aside: string, why: string, saved: number, nameless: number): string {
    const names = nameless === 0 ? '' : `, the names of ${nameless} series are lost`;
    return (
      `the history in ${this.#dir} was damaged (${why}); the damaged part was set aside as ${aside}, ` +
      `${saved} of its records could be read and are kept${names}; the rest is as it was`
    );
  }

  #say(sentence: string): void {
    this.report.push(sentence);
    this.#log.error({ dir: this.#dir }, sentence);
  }

  async #pruneAside(): Promise<void> {
    const parent = dirname(this.#dir);
    const prefix = `${basename(this.#dir)}.damaged-`;
    const aside = (await readdir(parent)).filter((name) => name.startsWith(prefix)).sort();
    for (const name of aside.slice(0, -KEPT_ASIDE)) {
      await rm(join(parent, name), { recursive: true, force: true });
      this.#log.warn({ removed: join(parent, name) }, 'removed the oldest damaged history');
    }
  }
}

/** Values by key; undefined also for those that lie in an unreadable block. */
export async function getEach(db: Db, keys: readonly Key[]): Promise<(Uint8Array | undefined)[]> {
  const unlessUnreadable = (error: unknown): undefined => {
    if (levelCode(error) !== 'LEVEL_CORRUPTION') throw error;
  };
  const values = await db.getMany([...keys]).catch(unlessUnreadable);
  return values ?? Promise.all(keys.map((key) => db.get(key).catch(unlessUnreadable)));
}

async function freeName(wanted: string): Promise<string> {
  for (let n = 1; ; n++) {
    const name = n === 1 ? wanted : `${wanted}-${n}`;
    const taken = await readdir(name).then(
      () => true,
      () => false,
    );
    if (!taken) return name;
  }
}
