/** How long a process is watched closely from its start, or from when something is amiss. */
const CLOSELY_MS = 10_000;
/** From one deviation to the next of one process, so that a channel that never keeps up does not cost for ever. */
const AGAIN_MS = 60_000;

/** The host: how long, and from one time to the next. A burst is seen by then, and what lasts needs no haste. */
const HOST_CLOSELY_MS = 2_000;
const HOST_AGAIN_MS = 10_000;

/**
 * Which processes are watched closely now: those that start, and those that deviate. While there is one the monitor ticks
 * faster, and reads all its threads each tick.
 */
export class Attention {
  readonly #nowMs: () => number;
  /** By process: when the close watch began. */
  readonly #begunMs = new Map<number, number>();
  /** By process: when it was last found amiss. */
  readonly #amissMs = new Map<number, number>();
  readonly #closely = new Set<number>();
  #hostMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get any(): boolean {
    return this.#closely.size > 0 || this.#nowMs() - this.#hostMs < HOST_CLOSELY_MS;
  }

  /** Something is amiss with the host itself. */
  host(): void {
    if (this.#nowMs() - this.#hostMs >= HOST_AGAIN_MS) this.#hostMs = this.#nowMs();
  }

  /** The process starts; one that soon deviates is watched again all the same. */
  start(pid: number): void {
    this.#begunMs.set(pid, this.#nowMs());
    this.#closely.add(pid);
  }

  /** Something is amiss with it. True when a close watch begins with this call. */
  begin(pid: number): boolean {
    // What an encoder does to start looks amiss, and must not use up the attention of the next minute.
    if (this.#closely.has(pid)) return false;
    const amissMs = this.#amissMs.get(pid);
    const nowMs = this.#nowMs();
    if (amissMs !== undefined && nowMs - amissMs < AGAIN_MS) return false;
    this.#amissMs.set(pid, nowMs);
    this.start(pid);
    return true;
  }

  /** Ends the close watches that are over; returns their processes. */
  ended(): readonly number[] {
    const over = [...this.#closely].filter((pid) => this.#nowMs() - this.#begunMs.get(pid)! >= CLOSELY_MS);
    for (const pid of over) this.#closely.delete(pid);
    return over;
  }

  forget(pid: number): void {
    this.#begunMs.delete(pid);
    this.#amissMs.delete(pid);
    this.#closely.delete(pid);
  }
}
