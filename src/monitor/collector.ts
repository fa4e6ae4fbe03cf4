import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';

export interface CollectorMetrics {
  readonly name: string;
  readonly successes: number;
  readonly failures: number;
  /** Runs that took longer than the limit, successful or not. */
  readonly timeouts: number;
  /** Ticks it was left out of because it had taken too long. */
  readonly skipped: number;
  readonly lastMs: number;
  readonly totalMs: number;
  /** Empty while it works. */
  readonly failing: string;
}

export interface CollectorContext {
  readonly monotonicMs: () => number;
  readonly log: Log;
  /**
   * A read of /proc or /sys cannot be interrupted, and some wait in the kernel for a device or a lock: a collector that took
   * longer than this is left out of the next ticks, twice as many each time it does so again.
   */
  readonly limitMs: number;
}

/** The most ticks that a slow collector is left out of. */
const MOST_SKIPPED = 64;

/** Runs one collector: what it throws stays here, is counted and said once until it works again. */
export class Collector<T> {
  readonly #name: string;
  readonly #collect: (elapsedS: number) => T;
  readonly #context: CollectorContext;
  #last: T;
  #successes = 0;
  #failures = 0;
  #timeouts = 0;
  #skipped = 0;
  #lastMs = 0;
  #totalMs = 0;
  #failing = '';
  /** Ticks it was left out of after the latest timeout, and those still to come. */
  #skip = 0;
  #skipsLeft = 0;
  /** Seconds since its last run. */
  #sinceS = 0;

  /** `initial` is the value until the first success; after a failure the last good value stands. */
  constructor(name: string, initial: T, collect: (elapsedS: number) => T, context: CollectorContext) {
    this.#name = name;
    this.#last = initial;
    this.#collect = collect;
    this.#context = context;
  }

  run(elapsedS: number): T {
    this.#sinceS += elapsedS;
    if (this.#skipsLeft > 0) {
      this.#skipsLeft--;
      this.#skipped++;
      return this.#last;
    }
    const { monotonicMs, log } = this.#context;
    const startMs = monotonicMs();
    try {
      this.#last = this.#collect(this.#sinceS);
      this.#successes++;
      if (this.#failing !== '') log.info({ collector: this.#name }, 'the collector works again');
      this.#failing = '';
    } catch (error) {
      this.#failures++;
      if (this.#failing === '')
        log.warn({ collector: this.#name, err: error }, 'a collector fails; its last value stands meanwhile');
      this.#failing = messageOf(error);
    }
    this.#sinceS = 0;
    this.#lastMs = monotonicMs() - startMs;
    this.#totalMs += this.#lastMs;
    this.#heed(this.#lastMs);
    return this.#last;
  }

  metrics(): CollectorMetrics {
    return {
      name: this.#name,
      successes: this.#successes,
      failures: this.#failures,
      timeouts: this.#timeouts,
      skipped: this.#skipped,
      lastMs: this.#lastMs,
      totalMs: this.#totalMs,
      failing: this.#failing,
    };
  }

  #heed(tookMs: number): void {
    const { limitMs, log } = this.#context;
    if (tookMs <= limitMs) {
      this.#skip = 0;
      return;
    }
    this.#timeouts++;
    this.#skip = Math.min(MOST_SKIPPED, Math.max(1, this.#skip * 2));
    this.#skipsLeft = this.#skip;
    if (this.#skip === 1)
      log.warn(
        { collector: this.#name, tookMs: Math.round(tookMs), limitMs },
        'a collector is too slow; it is left out of some ticks',
      );
  }
}
