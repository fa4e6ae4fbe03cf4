import type { ChannelRequest } from '../rpc/control.js';

/** One priority point is worth this much waiting. */
const POINT_MS = 6_000;
/** A request that does not fit lets others pass for this long, then holds its place. */
export const PATIENCE_MS = 30_000;

export interface Waiter {
  readonly id: string;
  readonly request: Pick<ChannelRequest, 'channelClass' | 'priority'>;
  /** Monotonic milliseconds. */
  readonly sinceMs: number;
}

/**
 * Those who wait for room, in the order in which they get it.
 *
 * Live goes before vod: that is what the classes mean, so vod waits as long as live wants the room. Within a class the
 * one with the earlier *virtual arrival* goes first: the arrival less 6 s for each point of priority. So priority 100
 * goes before a priority 0 that came up to ten minutes earlier, and before none that came earlier than that: nobody
 * starves, and the order of two waiting requests never changes.
 *
 * When the first does not fit, a smaller one behind it may: it passes, for the first 30 s that the other has waited.
 * From then on the other holds its place, or a stream of small channels would keep a large one out for ever. Live is
 * never held up by vod.
 */
export class WaitingQueue<W extends Waiter> {
  /** In order. */
  readonly #waiters: W[] = [];

  get size(): number {
    return this.#waiters.length;
  }

  [Symbol.iterator](): Iterator<W> {
    return [...this.#waiters][Symbol.iterator]();
  }

  add(waiter: W): void {
    const at = this.#waiters.findIndex((other) => goesBefore(waiter, other));
    this.#waiters.splice(at === -1 ? this.#waiters.length : at, 0, waiter);
  }

  remove(waiter: W): boolean {
    const at = this.#waiters.indexOf(waiter);
    if (at !== -1) this.#waiters.splice(at, 1);
    return at !== -1;
  }

  has(waiter: W): boolean {
    return this.#waiters.includes(waiter);
  }

  /** How many hold a place before this one, waiting or just come. */
  ahead(candidate: Waiter, nowMs: number): number {
    let ahead = 0;
    for (const waiter of this.#waiters) {
      if (waiter === candidate || !goesBefore(waiter, candidate)) break;
      if (nowMs - waiter.sinceMs >= PATIENCE_MS) ahead++;
    }
    return ahead;
  }
}

/** Total: of two different waiters exactly one goes before the other. */
export function goesBefore(a: Waiter, b: Waiter): boolean {
  if (a.request.channelClass !== b.request.channelClass) return a.request.channelClass === 'live';
  const [arrivalA, arrivalB] = [virtualArrivalMs(a), virtualArrivalMs(b)];
  return arrivalA === arrivalB ? a.id < b.id : arrivalA < arrivalB;
}

function virtualArrivalMs({ sinceMs, request }: Waiter): number {
  return sinceMs - request.priority * POINT_MS;
}
