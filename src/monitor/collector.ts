import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';

export interface CollectorMetrics {
  readonly name: string;
  readonly successes: number;
  readonly failures: number;
  readonly lastMs: number;
  readonly totalMs: number;
  /** Empty while it works. */
  readonly failing: string;
}

/** Runs one collector: what it throws stays here, is counted and said once until it works again. */
export class Collector<T> {
  readonly #name: string;
  readonly #collect: (elapsedS: number) => T;
  readonly #monotonicMs: () => number;
  readonly #log: Log;
  #last: T;
  #successes = 0;
  #failures = 0;
  #lastMs = 0;
  #totalMs = 0;
  #failing = '';

  /** `initial` is the value until the first success; after a failure the last good value stands. */
  constructor(
    name: string,
    initial: T,
    collect: (elapsedS: number) => T,
    { monotonicMs, log }: { monotonicMs: () => number; log: Log },
  ) {
    this.#name = name;
    this.#last = initial;
    this.#collect = collect;
    this.#monotonicMs = monotonicMs;
    this.#log = log;
  }

  run(elapsedS: number): T {
    const startMs = this.#monotonicMs();
    try {
      this.#last = this.#collect(elapsedS);
      this.#successes++;
      if (this.#failing !== '') this.#log.info({ collector: this.#name }, 'the collector works again');
      this.#failing = '';
    } catch (error) {
      this.#failures++;
      if (this.#failing === '')
        this.#log.warn(
          { collector: this.#name, err: error },
          'a collector fails; its last value stands meanwhile',
        );
      this.#failing = messageOf(error);
    }
    this.#lastMs = this.#monotonicMs() - startMs;
    this.#totalMs += this.#lastMs;
    return this.#last;
  }

  metrics(): CollectorMetrics {
    return {
      name: this.#name,
      successes: this.#successes,
      failures: this.#failures,
      lastMs: this.#lastMs,
      totalMs: this.#totalMs,
      failing: this.#failing,
    };
  }
}
