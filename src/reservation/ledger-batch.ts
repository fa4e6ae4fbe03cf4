import {
  type Answer,
  CENSUS_KEY,
  type Census,
  encode,
  type LedgerRecord,
  RECORD_PREFIX,
  toggle,
} from './ledger-format.js';
import type { StoreOperation } from './ledger-store.js';

/** Collects the operations of one batch and keeps the census in step with them. */
export class Batch {
  readonly sums = new Map<string, string | undefined>();
  readonly #operations = new Map<string, StoreOperation>();
  readonly #before: ReadonlyMap<string, string>;
  #census: { token: number; records: number; answers: number; digest: string };

  constructor(before: ReadonlyMap<string, string>, census: Census, token: number) {
    this.#before = before;
    this.#census = { ...census, token };
  }

  put(key: string, body: LedgerRecord | Answer): void {
    const { value, sum } = encode(key, body);
    this.#count(key, sum);
    this.#operations.set(key, { type: 'put', key, value });
  }

  remove(key: string): void {
    this.#count(key, undefined);
    this.#operations.set(key, { type: 'del', key });
  }

  finish(): { operations: StoreOperation[]; census: Census } {
    const value = encode(CENSUS_KEY, this.#census).value;
    return {
      operations: [...this.#operations.values(), { type: 'put', key: CENSUS_KEY, value }],
      census: this.#census,
    };
  }

  #count(key: string, sum: string | undefined): void {
    const before = this.sums.has(key) ? this.sums.get(key) : this.#before.get(key);
    const change = (sum === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    if (key.startsWith(RECORD_PREFIX)) this.#census.records += change;
    else this.#census.answers += change;
    if (before !== undefined) this.#census.digest = toggle(this.#census.digest, before);
    if (sum !== undefined) this.#census.digest = toggle(this.#census.digest, sum);
    this.sums.set(key, sum);
  }
}
