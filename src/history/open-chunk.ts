import type { Samples } from './chunk.js';

/** Samples in a full chunk: eight minutes at one a second. */
export const CHUNK_SAMPLES = 480;
/** A chunk never spans more, so a query knows how far back a chunk that reaches into its range can begin. */
export const CHUNK_SPAN_MS = 600_000;

/** The samples of one series that are not a chunk yet. */
export class OpenChunk {
  count = 0;
  /** How many of them (the first ones) the journal has. */
  journaled = 0;
  /** Journal record of the first one; meaningless while journaled is 0. */
  firstRecord = 0;
  /** Given up for want of room. */
  dropped = false;
  readonly openedMs: number;
  readonly #capacity: number;
  #at = new Float64Array(16);
  #values = new Float64Array(16);

  /** `openedMs` is monotonic. */
  constructor(capacity: number, openedMs: number) {
    this.#capacity = capacity;
    this.openedMs = openedMs;
  }

  /** Times ascend within a chunk: where the wall clock jumped back, another chunk begins. */
  accepts(atMs: number): boolean {
    if (this.count === 0) return true;
    if (this.count >= this.#capacity) return false;
    return atMs >= this.#at[this.count - 1]! && atMs - this.#at[0]! <= CHUNK_SPAN_MS;
  }

  push(atMs: number, value: number): void {
    if (this.count === this.#at.length) {
      this.#at = grown(this.#at);
      this.#values = grown(this.#values);
    }
    this.#at[this.count] = atMs;
    this.#values[this.count++] = value;
  }

  get startMs(): number {
    return this.#at[0]!;
  }

  /** 0 when empty. */
  get endMs(): number {
    return this.count === 0 ? 0 : this.#at[this.count - 1]!;
  }

  /** A view: valid until the next push. */
  samples(from = 0): Samples {
    return { at: this.#at.subarray(from, this.count), values: this.#values.subarray(from, this.count) };
  }
}

function grown(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column);
  return larger;
}
