import type { Clock } from '../lib/clock.js';
import type { Scheduler } from './scheduler.js';

/**
 * At most one deadline for each name, on monotonic time: the wall clock may jump without anything ending early or late.
 * Moving a deadline further away, as each heartbeat does, touches no timer: the old one fires, sees, and waits for the rest.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #armed = new Map<
    string,
    { atMs: number; timerAtMs: number; run: () => void; clear: () => void }
  >();

  constructor(clock: Clock, scheduler: Scheduler) {
    this.#clock = clock;
    this.#scheduler = scheduler;
  }

  set(name: string, delayMs: number, run: () => void): void {
    const atMs = this.#clock.monotonicMs() + delayMs;
    const armed = this.#armed.get(name);
    if (armed !== undefined && armed.timerAtMs <= atMs) {
      armed.atMs = atMs;
      armed.run = run;
      return;
    }
    armed?.clear();
    this.#start(name, { atMs, timerAtMs: atMs, run, clear: () => {} });
  }

  /** Milliseconds left; undefined when none is set. */
  remainingMs(name: string): number | undefined {
    const armed = this.#armed.get(name);
    return armed === undefined ? undefined : Math.max(0, armed.atMs - this.#clock.monotonicMs());
  }

  /** Milliseconds until the first of these; undefined when none is set. */
  soonestMs(names: Iterable<string>): number | undefined {
    let soonest = Number.POSITIVE_INFINITY;
    for (const name of names) soonest = Math.min(soonest, this.#armed.get(name)?.atMs ?? soonest);
    return soonest === Number.POSITIVE_INFINITY
      ? undefined
      : Math.max(0, soonest - this.#clock.monotonicMs());
  }

  clear(name: string): void {
    this.#armed.get(name)?.clear();
    this.#armed.delete(name);
  }

  clearAll(): void {
    for (const name of [...this.#armed.keys()]) this.clear(name);
  }

  #start(name: string, armed: { atMs: number; timerAtMs: number; run: () => void; clear: () => void }): void {
    armed.timerAtMs = armed.atMs;
    armed.clear = this.#scheduler.setTimer(armed.atMs - this.#clock.monotonicMs(), () => {
      // Half a millisecond of grace: timers of whole milliseconds may fire a fraction early.
      if (armed.atMs - this.#clock.monotonicMs() > 0.5) {
        this.#start(name, armed);
        return;
      }
      this.#armed.delete(name);
      armed.run();
    });
    this.#armed.set(name, armed);
  }
}
