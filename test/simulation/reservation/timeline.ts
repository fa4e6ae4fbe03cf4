import type { Clock } from '../../../src/lib/clock.js';

interface Happening {
  readonly atMs: number;
  readonly run: () => void;
}

/** Simulated time: what is to happen, in order, and nothing that waits for real. */
export class Timeline implements Clock {
  #nowMs = 1_000;
  #wallOffsetMs = 1_800_000_000_000;
  /** Latest first, so that the next one is at the end; equal times in the order in which they were asked for. */
  readonly #coming: Happening[] = [];
  wallJumped = false;

  monotonicMs(): number {
    return this.#nowMs;
  }

  nowMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  jumpWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.wallJumped = true;
  }

  /** The returned function takes it back. */
  after(delayMs: number, run: () => void): () => void {
    const happening = { atMs: this.#nowMs + Math.max(0, delayMs), run };
    let at = this.#coming.length;
    while (at > 0 && this.#coming[at - 1]!.atMs <= happening.atMs) at--;
    this.#coming.splice(at, 0, happening);
    return () => {
      const index = this.#coming.indexOf(happening);
      if (index !== -1) this.#coming.splice(index, 1);
    };
  }

  /** Lets the next thing happen if it is due by then; otherwise only time passes, and false is returned. */
  next(untilMs: number): boolean {
    const happening = this.#coming.at(-1);
    if (happening === undefined || happening.atMs > untilMs) {
      this.#nowMs = Math.max(this.#nowMs, untilMs);
      return false;
    }
    this.#coming.pop();
    this.#nowMs = happening.atMs;
    happening.run();
    return true;
  }
}
