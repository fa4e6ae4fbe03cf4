import { isCorecastError, messageOf } from '../lib/errors.js';
import { fewerCpus, placed } from './allocator-make-room.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { Book } from './book.js';
import { cpusetOf, formatShares, milliOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import { PATIENCE_MS } from './queue.js';
import type { CpuShare, ProcessRef, Reservation } from './reservation.js';

/**
 * VOD whose processes are stopped. Each goes on when its CPUs, or after PATIENCE_MS fewer of them, are free again: the
 * highest priority first, of equals the oldest. They go before VOD that has not begun, and after live that waits.
 *
 * The order is as everywhere: written, then the kernel. After a kill in between the process is stopped although the ledger
 * has it ACTIVE; `wasPaused` tells the restart to let it go on (reconcile.ts). The other way round, PAUSED and running,
 * is put right here, at each look: also where somebody else let the process go on.
 */
export class Paused {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #lifetimes: Lifetimes;
  /** By id: since when, monotonic milliseconds. */
  readonly #since = new Map<string, number>();
  /** ACTIVE again, but the kernel would not let it go on yet. */
  readonly #halted = new Map<string, ProcessRef>();

  constructor(deps: ReservationDeps, book: Book, lifetimes: Lifetimes) {
    this.#deps = deps;
    this.#book = book;
    this.#lifetimes = lifetimes;
    for (const { reservation } of book.ledger.live()) this.#note(reservation);
    book.onChange(({ reservation }) => this.#note(reservation));
  }

  get size(): number {
    return this.#since.size + this.#halted.size;
  }

  /** How many hold their place before VOD that waits. */
  ahead(): number {
    const now = this.#deps.clock.monotonicMs();
    let ahead = 0;
    for (const sinceMs of this.#since.values()) if (now - sinceMs >= PATIENCE_MS) ahead++;
    return ahead;
  }

  /** Looks whether room is back. `liveWaits`: live holds a place, and what comes free is for it. */
  async look(liveWaits: boolean): Promise<void> {
    for (const [id, process] of this.#halted) this.#letGoOn(id, process);
    const order = [...this.#since.keys()]
      .map((id) => this.#book.ledger.get(id)?.reservation)
      .filter((reservation) => reservation?.state === 'PAUSED')
      .sort((a, b) => b!.priority - a!.priority || a!.createdMs - b!.createdMs);
    for (const reservation of order)
      await this.#book.lock(reservation!.id, () => this.#one(reservation!.id, liveWaits));
  }

  async #one(id: string, liveWaits: boolean): Promise<void> {
    const { reservation } = this.#book.require(id);
    if (reservation.state !== 'PAUSED') return;
    const cpus = liveWaits || this.#deps.closedReason() !== '' ? undefined : this.#placeFor(reservation);
    if (cpus === undefined) return this.#keepStopped(reservation);
    const reason = `room is back on ${formatShares(cpus)}`;
    try {
      await this.#book.step(
        id,
        { step: 'continue', cpus },
        { reason, event: 'resumed', kernel: (after) => this.#goOn(after) },
      );
    } catch (error) {
      this.#deps.log.error({ id, error: messageOf(error) }, 'a paused channel could not be resumed yet');
    }
  }

  #placeFor(reservation: Reservation): readonly CpuShare[] | undefined {
    const waitedMs = this.#deps.clock.monotonicMs() - (this.#since.get(reservation.id) ?? 0);
    if (waitedMs < this.#deps.preemption().pause_ms) return undefined;
    const index = this.#book.occupancy(this.#deps.topology(), this.#deps.smtCoreMilli());
    const { pausedFrom = [], exclusive, channelClass } = reservation;
    if (pausedFrom.length === 0) return undefined;
    const held = { cpus: pausedFrom, exclusive, channelClass };
    const shares = pausedFrom.map(({ shareMilli }) => shareMilli);
    const cpus = placed(index, held, shares) ?? (waitedMs < PATIENCE_MS ? undefined : fewerCpus(index, held));
    return cpus !== undefined && this.#staysUnderLimit(index, milliOf(cpus)) ? cpus : undefined;
  }

  /** As the load check of an admission has it (balancer/host-load.ts), without a forecast. */
  #staysUnderLimit(index: OccupancyIndex, milli: number): boolean {
    const { headroom, host_load: limit } = this.#deps.limits();
    if (limit >= 1) return true;
    const busy = this.#deps.host().now?.busy ?? 0;
    const measured = busy + milli / Math.max(1, index.free.length * 1000);
    const promised = (index.reservedMilli * (1 - headroom) + milli) / Math.max(1, index.capacityMilli);
    return Math.max(measured, promised) <= limit;
  }

  /** The CPUs first: a stopped process can be pinned, and runs nowhere else when it goes on. */
  #goOn({ id, process, cpus }: Reservation): void {
    if (process === undefined) return;
    try {
      this.#deps.pinning.pin(process, cpusetOf(cpus));
    } catch (error) {
      // The tick brings it there.
      this.#deps.log.warn(
        { id, pid: process.pid, error: messageOf(error) },
        'a resumed process was not pinned',
      );
    }
    this.#letGoOn(id, process);
  }

  #letGoOn(id: string, process: ProcessRef): void {
    this.#halted.delete(id);
    if (this.#book.ledger.get(id)?.reservation.state === 'PAUSED') return;
    try {
      this.#deps.signals.resume(process);
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) return;
      this.#deps.log.error({ id, pid: process.pid, error: messageOf(error) }, 'a process is still stopped');
      this.#halted.set(id, process);
    }
  }

  #keepStopped({ id, process }: Reservation): void {
    if (process === undefined || this.#lifetimes.isFreed(id, process)) return;
    this.#lifetimes.halt(id, process);
  }

  #note({ id, state }: Pick<LedgerRecord['reservation'], 'id' | 'state'>): void {
    if (state !== 'PAUSED') this.#since.delete(id);
    else if (!this.#since.has(id)) this.#since.set(id, this.#deps.clock.monotonicMs());
  }
}
