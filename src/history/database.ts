import { mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ClassicLevel } from 'classic-level';
import { Level } from 'level';
import type { Clock } from '../lib/clock.js';
import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { type Damage, damageOfTables, isLocked, levelCode } from './damage.js';
import { FORMAT, readFormat, writeFormat } from './format.js';
import type { Key } from './keys.js';

/** level's own type leaves out what only its LevelDB backend has: compactRange, approximateSize. */
export type Db = ClassicLevel<Uint8Array, Uint8Array>;
export type Put = { readonly type: 'put'; readonly key: Key; readonly value: Uint8Array };
export type Operation = Put | { readonly type: 'del'; readonly key: Key };

/** Damaged databases that are kept beside the one in use; older ones are removed. */
const KEPT_ASIDE = 2;
/** What LevelDB may need to open: its write buffer as a table, a manifest, a log. */
const ROOM_TO_OPEN_BYTES = 8 * 1024 * 1024;
const REOPEN_EVERY_MS = 5_000;

/** Writes that wait for the one under way: they go together. */
interface Group {
  readonly operations: Operation[];
  sync: boolean;
  readonly done: Promise<void>;
}

/**
 * One LevelDB directory, made to outlive a full disk and damage. After a failed write LevelDB's log is torn at its end,
 * and what it takes after that would not be found again, so nothing is written before it was opened anew; before that
 * there must be room for it. Damage found on opening or by a compaction sets the directory aside and starts a fresh one.
 */
export class HistoryDatabase {
  readonly report: string[] = [];
  /** Grows with each fresh database: what was written before is not in this one. */
  generation = 0;
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
    const damage = await database.#tryOpen();
    if (damage !== undefined) await database.#setAside(damage);
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

  async sizeBytes(): Promise<number> {
    let bytes = 0;
    for (const file of await readdir(this.#location)) {
      // A file may be compacted away meanwhile.
      bytes += await stat(join(this.#location, file)).then(
        ({ size }) => size,
        () => 0,
      );
    }
    return bytes;
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

  get #location(): string {
    return join(this.#dir, 'db');
  }

  async #write(operations: readonly Operation[], sync: boolean): Promise<void> {
    if (this.#closed) throw unavailable(this.#dir, 'it is closed');
    if (this.#failing) await this.#reopen();
    try {
      await this.level.batch(operations as Operation[], { sync });
    } catch (error) {
      this.writeFailures++;
      if (levelCode(error) === 'LEVEL_CORRUPTION') await this.#setAside({ why: messageOf(error) });
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
    const damage = await this.#tryOpen();
    if (damage !== undefined) await this.#setAside(damage);
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

  async #tryOpen(): Promise<Damage | undefined> {
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o750 });
      const format = await readFormat(this.#dir);
      if (format === 'damaged') return { why: 'its FORMAT file is missing or unreadable' };
      if (format === 'new') await writeFormat(this.#dir);
      else if (format > FORMAT) throw newerFormat(this.#dir, format);
      const damage = await damageOfTables(this.#location);
      if (damage !== undefined) return damage;
      const options = { keyEncoding: 'view', valueEncoding: 'view' } as const;
      const level = new Level<Uint8Array, Uint8Array>(this.#location, options) as unknown as Db;
      await level.open();
      this.#level = level;
      return undefined;
    } catch (error) {
      if (isCorecastError(error)) throw error;
      if (isLocked(error))
        throw failed(this.#dir, error, 'another process holds it: is a corecastd running?');
      const code = levelCode(error);
      // A table or manifest that the others name is gone.
      const gone = code === 'LEVEL_IO_ERROR' && /No such file/.test(innermost(error));
      if (code === 'LEVEL_CORRUPTION' || gone) return { why: innermost(error) };
      throw failed(this.#dir, error);
    }
  }

  /** For damage that only a reader of the records can see. */
  replaceDamaged(why: string): Promise<void> {
    // What comes from here on goes into the fresh one.
    this.#next = undefined;
    const result = this.#writes.then(() => this.#setAside({ why }));
    this.#writes = result.catch(() => {});
    return result;
  }

  async #setAside({ why }: Damage): Promise<void> {
    await this.#level?.close().catch(() => {});
    this.#level = undefined;
    const stamp = new Date(this.#clock.nowMs()).toISOString().replace(/[-:]|\.\d+/g, '');
    try {
      const aside = await freeName(`${this.#dir}.damaged-${stamp}`);
      await rename(this.#dir, aside);
      const sentence = `the history in ${this.#dir} was damaged (${why}); it was set aside as ${aside} and a fresh one started`;
      this.report.push(sentence);
      this.#log.error({ dir: this.#dir, aside, why }, sentence);
      await this.#pruneAside();
    } catch (error) {
      throw failed(this.#dir, error, 'the damaged history could not be set aside');
    }
    this.generation++;
    const damage = await this.#tryOpen();
    if (damage !== undefined)
      throw failed(this.#dir, new Error(damage.why), 'a fresh history is damaged too');
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

/** What a failed read is to the caller. */
export function readFailure(error: unknown): CorecastError {
  if (isCorecastError(error)) return error;
  return new CorecastError('STORE_FAILED', `the history could not be read: ${innermost(error)}`, {
    cause: error,
  });
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

function innermost(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return messageOf(inner);
}

function newerFormat(dir: string, format: number): CorecastError {
  return new CorecastError(
    'STORE_FAILED',
    `the history in ${dir} has format ${format}, this corecast reads formats up to ${FORMAT}; ` +
      'run a newer corecast, or move the directory away to begin anew (nothing was changed)',
  );
}

function unavailable(dir: string, why: string): CorecastError {
  return new CorecastError('STORE_FAILED', `the history in ${dir} is not available: ${why}`);
}

function failed(dir: string, error: unknown, hint = 'is the disk full or read-only?'): CorecastError {
  return new CorecastError('STORE_FAILED', `the history in ${dir} failed: ${innermost(error)}; ${hint}`, {
    cause: error,
  });
}
