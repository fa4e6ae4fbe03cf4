import type { Clock } from '../lib/clock.js';
import { hasEnded } from './lease.js';
import type { LedgerContents } from './ledger.js';
import { recordKey } from './ledger-format.js';

/** Ended reservations and answers beyond these are removed before their time, the oldest first. */
const MAX_ENDED = 20_000;
const MAX_ANSWERS = 20_000;

/**
 * What the ledger keeps for a while only: reservations that ended, and first answers, for leases.keep_ended_ms. Ages are
 * counted on monotonic time; the wall clock counts only for the time in which no daemon ran, and at most for all of it.
 */
export class Retention {
  readonly #clock: Clock;
  readonly #keepMs: () => number;
  /** By record key, oldest first: when it ended. */
  readonly #ended = new Map<string, number>();
  /** By answer key, oldest first. */
  readonly #answers = new Map<string, { readonly fingerprint: string; readonly atMs: number }>();

  constructor({ records, answers }: LedgerContents, clock: Clock, keepMs: () => number) {
    this.#clock = clock;
    this.#keepMs = keepMs;
    const then = (wallMs: number) =>
      clock.monotonicMs() - Math.min(Math.max(0, clock.nowMs() - wallMs), keepMs());
    const ended = [...records.values()]
      .map(({ record }) => record.reservation)
      .filter(({ state }) => hasEnded(state))
      .sort((a, b) => a.changedMs - b.changedMs);
    for (const { id, changedMs } of ended) this.#ended.set(recordKey(id), then(changedMs));
    for (const [key, { fingerprint, atMs }] of answers) {
      this.#answers.set(key, { fingerprint, atMs: then(atMs) });
    }
  }

  ended(id: string): void {
    this.#ended.set(recordKey(id), this.#clock.monotonicMs());
  }

  answered(key: string, fingerprint: string): void {
    this.#answers.delete(key);
    this.#answers.set(key, { fingerprint, atMs: this.#clock.monotonicMs() });
  }

  fingerprint(key: string): string | undefined {
    return this.#answers.get(key)?.fingerprint;
  }

  forget(key: string): void {
    this.#ended.delete(key);
    this.#answers.delete(key);
  }

  get tooMany(): boolean {
    return this.#ended.size > MAX_ENDED || this.#answers.size > MAX_ANSWERS;
  }

  /** The keys whose time is over. */
  due(): string[] {
    const before = this.#clock.monotonicMs() - this.#keepMs();
    const keys: string[] = [];
    let left = this.#ended.size;
    for (const [key, atMs] of this.#ended) {
      if (atMs > before && left <= MAX_ENDED) break;
      keys.push(key);
      left--;
    }
    left = this.#answers.size;
    for (const [key, { atMs }] of this.#answers) {
      if (atMs > before && left <= MAX_ANSWERS) break;
      keys.push(key);
      left--;
    }
    return keys;
  }
}
