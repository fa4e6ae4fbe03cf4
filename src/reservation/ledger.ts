import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { hasEnded } from './lease.js';
import { Batch } from './ledger-batch.js';
import {
  type Answer,
  CENSUS_KEY,
  type Census,
  decode,
  type LedgerRecord,
  RECORD_PREFIX,
  recordKey,
} from './ledger-format.js';
import type { LedgerStore } from './ledger-store.js';
import { Retention } from './retention.js';

/** One indivisible change. */
export interface Mutation {
  readonly records?: readonly LedgerRecord[];
  /** `key` as made by answerKey(). */
  readonly answer?: { readonly key: string; readonly answer: Answer };
}

/** What opening found. */
export interface LedgerContents {
  readonly records: ReadonlyMap<string, { readonly record: LedgerRecord; readonly sum: string }>;
  /** By key, oldest first. */
  readonly answers: ReadonlyMap<string, { readonly fingerprint: string; atMs: number; sum: string }>;
  readonly census: Census;
}

/** Most changes that share one synced batch. */
const MAX_GROUP = 256;

interface Waiting {
  readonly mutation: Mutation;
  readonly removals: readonly string[];
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * The durable reservations. How they lie in the database: ledger-format.ts. How it is opened: ledger-open.ts.
 *
 * What is in memory is what is on the disk, at every moment that other code can see: memory changes when a synced
 * write has succeeded and not before. Writes are grouped: while one batch is being synced, the next collects, so a
 * hundred callers at once wait for two or three disk flushes, not for a hundred.
 *
 * After a failed write nobody knows what LevelDB's log holds. So the next write reopens the database first, and
 * carries, in the same batch, the present content of every key that a failed batch had touched.
 */
export class Ledger {
  readonly #store: LedgerStore;
  readonly #records = new Map<string, LedgerRecord>();
  readonly #live = new Map<string, LedgerRecord>();
  /** By record or answer key. */
  readonly #sums = new Map<string, string>();
  readonly #kept: Retention;
  readonly #gather: (() => Promise<void>) | undefined;
  #census: Census;
  #issued: number;
  #queue: Waiting[] = [];
  #drained: Promise<void> = Promise.resolve();
  #draining = false;
  #sweeping = false;
  #failedKeys = new Set<string>();
  #mustReopen = false;
  #closed = false;

  /** `gather` is awaited before each write: what is committed meanwhile goes with it. */
  constructor(
    store: LedgerStore,
    contents: LedgerContents,
    clock: Clock,
    keepEndedMs: () => number,
    gather?: () => Promise<void>,
  ) {
    this.#store = store;
    this.#gather = gather;
    this.#census = contents.census;
    this.#issued = contents.census.token;
    for (const [id, { record, sum }] of contents.records) {
      this.#records.set(id, record);
      if (!hasEnded(record.reservation.state)) this.#live.set(id, record);
      this.#sums.set(recordKey(id), sum);
    }
    for (const [key, { sum }] of contents.answers) this.#sums.set(key, sum);
    this.#kept = new Retention(contents, clock, keepEndedMs);
  }

  get(id: string): LedgerRecord | undefined {
    return this.#records.get(id);
  }

  records(): IterableIterator<LedgerRecord> {
    return this.#records.values();
  }

  /** Those that have not ended. Ended ones are many, and decisions ask often. */
  live(): IterableIterator<LedgerRecord> {
    return this.#live.values();
  }

  /** A fencing token above every one issued before. It is on the disk with the next commit. */
  nextToken(): number {
    this.#issued += 1;
    return this.#issued;
  }

  /** Makes every later token larger than this one. */
  raiseToken(token: number): void {
    this.#issued = Math.max(this.#issued, token);
  }

  /** Resolves when the change is on the disk; STORE_FAILED means that nothing changed. */
  commit(mutation: Mutation): Promise<void> {
    return this.#enqueue(mutation, []);
  }

  fingerprint(key: string): string | undefined {
    return this.#kept.fingerprint(key);
  }

  async answer(key: string): Promise<Answer | undefined> {
    if (this.#kept.fingerprint(key) === undefined) return undefined;
    let value: string | undefined;
    try {
      value = await this.#store.get(key);
    } catch (error) {
      throw storeFailed('could not be read', error);
    }
    const decoded = value === undefined ? undefined : decode<Answer>(key, value);
    return decoded?.ok ? decoded.body : undefined;
  }

  /** Removes what ended longer ago than leases.keep_ended_ms; returns how much that was. */
  async sweep(): Promise<number> {
    const removals = this.#kept.due();
    if (removals.length === 0) return 0;
    this.#sweeping = true;
    try {
      await this.#enqueue({}, removals);
    } finally {
      this.#sweeping = false;
    }
    return removals.length;
  }

  /** Waits for the writes under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#drained;
    await this.#store.close();
  }

  #enqueue(mutation: Mutation, removals: readonly string[]): Promise<void> {
    if (this.#closed) return Promise.reject(storeFailed('is closed', undefined));
    return new Promise((resolve, reject) => {
      this.#queue.push({ mutation, removals, resolve, reject });
      if (!this.#draining) this.#drained = this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    while (this.#queue.length > 0) {
      if (this.#gather !== undefined) await this.#gather();
      const group = this.#queue.splice(0, MAX_GROUP);
      try {
        await this.#write(group);
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#draining = false;
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    if (this.#mustReopen) await this.#reopen();
    const batch = new Batch(this.#sums, this.#census, this.#issued);
    for (const key of this.#failedKeys) this.#restore(batch, key);
    for (const { mutation, removals } of group) {
      for (const record of mutation.records ?? []) batch.put(recordKey(record.reservation.id), record);
      if (mutation.answer !== undefined) batch.put(mutation.answer.key, mutation.answer.answer);
      for (const key of removals) batch.remove(key);
    }
    const { operations, census } = batch.finish();
    try {
      await this.#store.batch(operations, { sync: true });
    } catch (error) {
      this.#mustReopen = true;
      for (const { key } of operations) if (key !== CENSUS_KEY) this.#failedKeys.add(key);
      throw storeFailed('could not be written; nothing was changed', error);
    }
    this.#failedKeys.clear();
    this.#census = census;
    for (const [key, sum] of batch.sums) {
      if (sum === undefined) this.#sums.delete(key);
      else this.#sums.set(key, sum);
    }
    for (const { mutation, removals } of group) this.#remember(mutation, removals);
    if (!this.#sweeping && this.#kept.tooMany) {
      // Best effort: what could not be removed now is removed by the next sweep.
      this.sweep().catch(() => {});
    }
  }

  /** A record's content is in memory. An answer's is not: it goes, as if its time were over. */
  #restore(batch: Batch, key: string): void {
    const record = this.#recordAt(key);
    if (record !== undefined) {
      batch.put(key, record);
      return;
    }
    this.#kept.forget(key);
    batch.remove(key);
  }

  #remember(mutation: Mutation, removals: readonly string[]): void {
    for (const record of mutation.records ?? []) {
      const { id, state } = record.reservation;
      this.#records.set(id, record);
      if (hasEnded(state)) {
        this.#live.delete(id);
        this.#kept.ended(id);
      } else {
        this.#live.set(id, record);
      }
    }
    if (mutation.answer !== undefined)
      this.#kept.answered(mutation.answer.key, mutation.answer.answer.fingerprint);
    for (const key of removals) {
      this.#kept.forget(key);
      const id = this.#recordAt(key)?.reservation.id;
      if (id === undefined) continue;
      this.#records.delete(id);
      this.#live.delete(id);
    }
  }

  #recordAt(key: string): LedgerRecord | undefined {
    return key.startsWith(RECORD_PREFIX) ? this.#records.get(key.slice(RECORD_PREFIX.length)) : undefined;
  }

  async #reopen(): Promise<void> {
    try {
      await this.#store.close();
      await this.#store.open();
      this.#mustReopen = false;
    } catch (error) {
      throw storeFailed('could not be reopened after a failed write; nothing was changed', error);
    }
  }
}

function storeFailed(what: string, cause: unknown): CorecastError {
  const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
  const why = cause === undefined ? '' : ` (${messageOf(inner)})`;
  return new CorecastError('STORE_FAILED', `the reservation ledger ${what}${why}`, { cause });
}
