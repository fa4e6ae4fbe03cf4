import type { Decision } from '../balancer/decision.js';
import { invalidField, isCorecastError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { levelCode } from './damage.js';
import type { HistoryDatabase, Operation } from './database.js';
import { readFailure } from './failures.js';
import { frameJson, unframeJson } from './frame.js';
import { type Key, orderedKey, orderOf, SECTION, sectionRange, textKey, textOf } from './keys.js';
import type { Run } from './records.js';
import { scan } from './scan.js';

export const MAX_RUN_SAMPLES = 720;
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const MAX_NAME_CHARS = 200;
/** Decisions are written at most this long after they fell. */
const GATHER_MS = 50;

interface DecisionEntry {
  readonly atMs: number;
  readonly id: string;
}

/** Decisions, runs and facts: framed JSON. Runs and facts are written at once, decisions with those that come within GATHER_MS. */
export class Documents {
  damaged = 0;
  readonly #database: HistoryDatabase;
  readonly #log: Log;
  /** Decisions whose write is under way, oldest first: who asks meanwhile is told. */
  readonly #arriving = new Map<Decision, Promise<void>>();
  #gathered: Promise<void> | undefined;

  constructor(database: HistoryDatabase, log: Log) {
    this.#database = database;
    this.#log = log;
  }

  async putDecision(decision: Decision): Promise<void> {
    requireName('decision.id', decision.id);
    if (decision.reservationId !== '') requireName('decision.reservationId', decision.reservationId);
    const kept = this.#putDecision(decision);
    this.#arriving.set(decision, kept);
    try {
      await kept;
    } finally {
      this.#arriving.delete(decision);
    }
  }

  async #putDecision(decision: Decision): Promise<void> {
    // Whoever waits for the decision itself is answered first, and those that come together are written together.
    this.#gathered ??= new Promise((resolve) => {
      setTimeout(() => {
        this.#gathered = undefined;
        resolve();
      }, GATHER_MS);
    });
    await this.#gathered;
    // An id belongs to one time: what is kept again with it takes its place.
    const operations: Operation[] = [
      put(orderedKey(SECTION.decision, decision.atMs, decision.id), decision, 'decision'),
      put(textKey(SECTION.decisionById, decision.id), decision.atMs, 'decision'),
    ];
    if (decision.reservationId !== '') {
      const entry: DecisionEntry = { atMs: decision.atMs, id: decision.id };
      operations.push(put(textKey(SECTION.decisionByReservation, decision.reservationId), entry, 'decision'));
    }
    await this.#database.write(operations);
  }

  /** Resolves when every decision on its way is written or given up. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#arriving.values());
  }

  async decision(by: { decisionId: string } | { reservationId: string }): Promise<Decision | undefined> {
    const arriving = [...this.#arriving.keys()].findLast((one) =>
      'decisionId' in by ? one.id === by.decisionId : one.reservationId === by.reservationId,
    );
    if (arriving !== undefined) return arriving;
    if ('decisionId' in by) {
      const atMs = await this.#get<number>(textKey(SECTION.decisionById, by.decisionId));
      return atMs === undefined ? undefined : this.#get(orderedKey(SECTION.decision, atMs, by.decisionId));
    }
    const entry = await this.#get<DecisionEntry>(textKey(SECTION.decisionByReservation, by.reservationId));
    return entry === undefined ? undefined : this.#get(orderedKey(SECTION.decision, entry.atMs, entry.id));
  }

  async putRun(run: Run): Promise<void> {
    requireName('run.id', run.id);
    if (run.samples.length > MAX_RUN_SAMPLES)
      throw invalidField('run.samples', run.samples.length, `at most ${MAX_RUN_SAMPLES} samples`);
    const before = await this.#get<number>(textKey(SECTION.runById, run.id));
    const operations: Operation[] = [];
    if (before !== undefined && before !== run.startedMs)
      operations.push({ type: 'del', key: orderedKey(SECTION.run, before, run.id) });
    operations.push(
      put(orderedKey(SECTION.run, run.startedMs, run.id), run, 'run'),
      put(textKey(SECTION.runById, run.id), run.startedMs, 'run'),
    );
    await this.#database.write(operations);
  }

  async run(id: string): Promise<Run | undefined> {
    const startedMs = await this.#get<number>(textKey(SECTION.runById, id));
    return startedMs === undefined ? undefined : this.#get(orderedKey(SECTION.run, startedMs, id));
  }

  async *runs(filter: { origin?: Run['origin']; sinceMs?: number } = {}): AsyncGenerator<Run> {
    const range = { ...sectionRange(SECTION.run), gte: orderedKey(SECTION.run, filter.sinceMs ?? 0) };
    // Runs are up to some 200 KB each.
    for await (const [key, value] of scan(this.#database.level, range, {
      page: 16,
      onDamage: this.#onDamage,
    })) {
      const run = this.#parse<Run>(key, value);
      if (run !== undefined && (filter.origin === undefined || run.origin === filter.origin)) yield run;
    }
  }

  getFact<T>(name: string): Promise<T | undefined> {
    return this.#get(textKey(SECTION.fact, name));
  }

  async putFact(name: string, value: unknown): Promise<void> {
    requireName('fact', name);
    const key = textKey(SECTION.fact, name);
    await this.#database.write([value === undefined ? { type: 'del', key } : put(key, value, 'fact')]);
  }

  /** Deletes that drop a decision or run and what points to it. */
  async removal(key: Key, value: Uint8Array): Promise<Operation[]> {
    const id = textOf(key.subarray(6));
    const operations: Operation[] = [{ type: 'del', key }];
    if (key[0] === SECTION.run.charCodeAt(0)) {
      operations.push({ type: 'del', key: textKey(SECTION.runById, id) });
      return operations;
    }
    operations.push({ type: 'del', key: textKey(SECTION.decisionById, id) });
    const reservationId = this.#parse<Decision>(key, value)?.reservationId;
    if (!reservationId) return operations;
    const index = textKey(SECTION.decisionByReservation, reservationId);
    // A later decision of the same reservation keeps its entry.
    if ((await this.#get<DecisionEntry>(index))?.id === id) operations.push({ type: 'del', key: index });
    return operations;
  }

  async #get<T>(key: Key): Promise<T | undefined> {
    try {
      const value = await this.#database.level.get(key);
      return value === undefined ? undefined : this.#parse<T>(key, value);
    } catch (error) {
      if (levelCode(error) !== 'LEVEL_CORRUPTION') throw readFailure(error);
      this.#onDamage(error, key);
      return undefined;
    }
  }

  #parse<T>(key: Key, value: Uint8Array): T | undefined {
    try {
      return unframeJson<T>(key, value);
    } catch (error) {
      if (!isCorecastError(error, 'STORE_DAMAGED') && !(error instanceof SyntaxError)) throw error;
      this.#onDamage(error, key);
      return undefined;
    }
  }

  #onDamage = (why: unknown, key?: Key): void => {
    this.damaged++;
    const where = key === undefined ? 'a stretch' : `${String.fromCharCode(key[0]!)} at ${orderOf(pad(key))}`;
    this.#log.warn({ err: why, key: where }, 'skipped a damaged history record');
  };
}

function put(key: Key, value: unknown, field: string): Operation {
  const framed = frameJson(key, value);
  if (framed.length > MAX_DOCUMENT_BYTES)
    throw invalidField(field, `${framed.length} bytes of JSON`, `at most ${MAX_DOCUMENT_BYTES} bytes`);
  return { type: 'put', key, value: framed };
}

function requireName(field: string, name: string): void {
  if (name.length < 1 || name.length > MAX_NAME_CHARS)
    throw invalidField(field, name, `1 to ${MAX_NAME_CHARS} characters`);
}

function pad(key: Key): Key {
  return key.length >= 7 ? key : Buffer.concat([key, Buffer.alloc(7 - key.length)]);
}
