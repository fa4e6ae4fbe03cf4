import type { Clock } from '../lib/clock.js';

/** Calls back at start + n * interval on the monotonic clock, so that late ticks do not push later ones. */
export class Ticker {
  ticks = 0;
  /** Ticks that fell due while an earlier one was late. */
  missed = 0;
  #intervalMs: number;
  readonly #clock: Clock;
  readonly #onTick: () => void;
  #timer: NodeJS.Timeout | undefined;
  #startMs = 0;
  #next = 1;

  constructor(intervalMs: number, clock: Clock, onTick: () => void) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#onTick = onTick;
  }

  start(): void {
    this.stop();
    this.#startMs = this.#clock.monotonicMs();
    this.#next = 1;
    this.#arm();
  }

  /** The beat goes on from the last tick, so that a change neither drops one nor adds one. */
  setInterval(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return;
    this.#startMs += (this.#next - 1) * this.#intervalMs;
    this.#next = 1;
    this.#intervalMs = intervalMs;
    if (this.#timer === undefined) return;
    // Of a shorter beat several may be past already: those were not owed, and are not missed.
    const sinceMs = this.#clock.monotonicMs() - this.#startMs;
    this.#next = Math.max(1, Math.floor(sinceMs / intervalMs));
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const dueMs = this.#startMs + this.#next * this.#intervalMs;
    // Timers fire at whole milliseconds, rounded down: never ask for less than what is left.
    this.#timer = setTimeout(() => this.#fire(), Math.max(0, Math.ceil(dueMs - this.#clock.monotonicMs())));
  }

  #fire(): void {
    const due = Math.floor((this.#clock.monotonicMs() - this.#startMs) / this.#intervalMs);
    if (due >= this.#next) {
      this.missed += due - this.#next;
      this.#next = due + 1;
      this.ticks++;
      this.#onTick();
    }
    if (this.#timer !== undefined) this.#arm();
  }
}
