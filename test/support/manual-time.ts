import type { Clock } from '../../src/lib/clock.js';
import type { Scheduler } from '../../src/reservation/scheduler.js';

/** Time that passes when a test says so; the wall clock can jump on its own. */
export class ManualTime implements Clock, Scheduler {
  #monotonicMs = 1_000;
  #wallOffsetMs = 1_800_000_000_000;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  nowMs(): number {
    return this.#monotonicMs + this.#wallOffsetMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  setTimer(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + Math.max(0, delayMs), run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  jumpWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Runs every timer that falls due, in order, and lets what it started come to rest. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms;
    for (;;) {
      const next = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
      next.run();
      await settled();
    }
    this.#monotonicMs = untilMs;
    await settled();
  }
}

/** Time enough for some synced writes to this machine's disk. */
export async function settled(ms = 15): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for what must come, by asking; throws with `what` when it does not. */
export async function eventually(what: string, holds: () => boolean, withinMs = 5_000): Promise<void> {
  const until = Date.now() + withinMs;
  while (!holds()) {
    if (Date.now() > until) throw new Error(`did not happen within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
