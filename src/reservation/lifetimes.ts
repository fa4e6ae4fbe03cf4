import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { Book } from './book.js';
import { Deadlines } from './deadlines.js';
import type { ReservationDeps } from './deps.js';
import { hasEnded } from './lease.js';
import type { LedgerRecord } from './ledger-format.js';
import { sameProcess } from './process-ref.js';
import { isRequeued, type ProcessRef, type Reservation } from './reservation.js';

/** After a failed write, what time demands is tried again this often. */
const RETRY_MS = 1_000;

/**
 * What ends by itself: PENDING at its start deadline, ACTIVE when the holder is silent, ORPHANED when its grace is
 * over, and anything attached when its process ends. All of it happens sooner or later, however often the disk refuses.
 */
export class Lifetimes {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #deadlines: Deadlines;
  readonly #watches = new Map<string, { readonly process: ProcessRef; close(): void }>();
  readonly #retries = new Set<() => void>();
  /** Those whose CPUs come free by themselves: few, while those that run are many. */
  readonly #ending = new Set<string>();
  /**
   * PAUSED, and let go on for a release that may not be written yet. It is not stopped again: where the disk kept a write
   * that it said had failed, a restart would know nothing of the process.
   */
  readonly #freed = new Map<string, ProcessRef>();
  /** Their processes are set free for a write that is under way. */
  readonly #leaving = new Set<string>();
  #stopped = false;

  constructor(deps: ReservationDeps, book: Book) {
    this.#deps = deps;
    this.#book = book;
    this.#deadlines = new Deadlines(deps.clock, deps.scheduler);
    book.onChange((after, before) => this.#changed(after, before));
  }

  /** Starts watching a process before it is attached; throws PROCESS_GONE when it has ended already. */
  watch(id: string, process: ProcessRef): { keep(): void; drop(): void } {
    const watch = this.#open(id, process);
    return {
      keep: () => {
        this.#watches.get(id)?.close();
        this.#watches.set(id, { process, close: () => watch.close() });
      },
      drop: () => watch.close(),
    };
  }

  /** The holder was heard. */
  renew(id: string): void {
    if (this.#stopped) return;
    this.#ending.delete(id);
    // Its end is the pidfd's to tell.
    if (this.#book.ledger.get(id)?.reservation.selfHeld === true) {
      this.#deadlines.clear(id);
      return;
    }
    this.#deadlines.set(id, this.#deps.leases().lease_ms, () => {
      this.#orphan(id, 'its holder is silent', () => this.#deadlines.remainingMs(id) === undefined);
    });
  }

  /** The holder's stream ended; `still` says whether nobody else has come since. */
  holderGone(id: string, still: () => boolean): void {
    const { reservation } = this.#book.ledger.get(id) ?? {};
    // It waits without a process: nothing is hurt when it comes back within the lease.
    if (reservation !== undefined && isRequeued(reservation) && reservation.process === undefined) return;
    this.#orphan(id, 'its holder is gone', still);
  }

  /** A requeued reservation whose process should have ended by now. */
  overdue(id: string): void {
    this.#orphan(id, 'its process did not end', () => true);
  }

  /** A process ended: at once RELEASED, or PENDING when its holder said that the next one is coming. */
  exited(id: string, process: ProcessRef): void {
    this.retry(id, async ({ reservation, restarting, startTimeoutMs }) => {
      if (!sameProcess(reservation.process, process)) return;
      if (reservation.state === 'QUEUED') {
        await this.#book.step(id, { step: 'gone' }, { reason: reservation.reason });
        return;
      }
      if (restarting && reservation.state === 'ACTIVE') {
        const deadlineMs = this.#deps.clock.nowMs() + startTimeoutMs;
        const reason = `process ${process.pid} ended to be replaced; waiting for the next one`;
        await this.#book.step(
          id,
          { step: 'restart', deadlineMs },
          { reason, event: 'reserved', set: { restarting: false } },
        );
        return;
      }
      await this.#book.step(
        id,
        { step: 'release' },
        { reason: `process ${process.pid} ended`, event: 'released' },
      );
    });
  }

  /** Arms what a reservation found in the ledger needs. `remainingMs`: of a deadline that began in an earlier life. */
  resume(record: LedgerRecord, remainingMs: number): void {
    const { reservation } = record;
    if (isRenewed(reservation)) this.renew(reservation.id);
    else this.#arm(record, remainingMs);
  }

  /** Runs under the reservation's lock, again and again while the disk refuses; not at all once it has ended. */
  retry(id: string, run: (record: LedgerRecord) => Promise<unknown>): void {
    let failures = 0;
    const attempt = async (): Promise<void> => {
      const record = this.#book.ledger.get(id);
      if (this.#stopped || record === undefined || hasEnded(record.reservation.state)) return;
      try {
        await run(record);
      } catch (error) {
        const again = isCorecastError(error, 'STORE_FAILED');
        // A full disk fails once a second and reservation; once is enough to be told.
        const say = again && failures++ > 0 ? this.#deps.log.debug : this.#deps.log.error;
        say.call(
          this.#deps.log,
          { id, again, error: messageOf(error) },
          'a reservation could not be changed',
        );
        if (again) this.#later(() => void this.#book.lock(id, attempt));
      }
    };
    void this.#book.lock(id, attempt);
  }

  stop(): void {
    this.#stopped = true;
    this.#deadlines.clearAll();
    for (const clear of this.#retries) clear();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  /** The soonest moment at which some CPUs come free by themselves, milliseconds from now. */
  soonestEndMs(): number | undefined {
    return this.#deadlines.soonestMs(this.#ending);
  }

  #changed(after: LedgerRecord, before: LedgerRecord | undefined): void {
    const { id, process } = after.reservation;
    if (after.reservation.state !== 'PAUSED' || !sameProcess(process, this.#freed.get(id)))
      this.#freed.delete(id);
    if (!sameProcess(process, this.#watches.get(id)?.process)) {
      this.#watches.get(id)?.close();
      this.#watches.delete(id);
    }
    if (before !== undefined && !startsAnew(after.reservation, before.reservation)) return;
    if (isRenewed(after.reservation)) this.renew(id);
    else this.#arm(after, after.reservation.deadlineMs - after.reservation.changedMs);
  }

  #arm({ reservation: { id, state, deadlineMs } }: LedgerRecord, delayMs: number): void {
    if (this.#stopped) return;
    const ends = state === 'PENDING' || (state === 'ORPHANED' && deadlineMs > 0);
    if (ends) this.#ending.add(id);
    else this.#ending.delete(id);
    if (state === 'PENDING') this.#deadlines.set(id, delayMs, () => this.#expire(id));
    else if (state === 'ORPHANED' && deadlineMs > 0)
      this.#deadlines.set(id, delayMs, () => this.#abandon(id));
    else this.#deadlines.clear(id);
  }

  #expire(id: string): void {
    this.retry(id, async ({ reservation, startTimeoutMs }) => {
      // Attached, or given another start, while this waited for the lock.
      if (reservation.state !== 'PENDING' || this.#deadlines.remainingMs(id) !== undefined) return;
      const reason = `not started within ${startTimeoutMs} ms`;
      await this.#book.step(id, { step: 'expire' }, { reason, event: 'expired' });
    });
  }

  #orphan(id: string, why: string, still: () => boolean): void {
    this.retry(id, async ({ reservation }) => {
      if (!isRenewed(reservation) || reservation.selfHeld === true || !still()) return;
      if (reservation.state === 'QUEUED') return this.#forsaken(reservation, why);
      const grace = this.#deps.leases().orphan_grace_ms;
      const deadlineMs = grace === 0 ? 0 : this.#deps.clock.nowMs() + grace;
      await this.#book.step(
        id,
        { step: 'orphan', deadlineMs },
        { reason: `its process runs, but ${why}`, event: 'orphaned' },
      );
    });
  }

  /** Nobody is left to start FFmpeg anew. While the present one lives it is paused, so that its work is not lost. */
  async #forsaken({ id, process }: Reservation, why: string): Promise<void> {
    if (process === undefined) {
      const reason = `${why} while it waited for room`;
      await this.#book.step(id, { step: 'expire' }, { reason, event: 'expired' });
      return;
    }
    const reason = `paused: it was to start anew, but ${why}`;
    const kernel = () => this.halt(id, process);
    const set = { wasPaused: true as const };
    await this.#book.step(id, { step: 'pause' }, { reason, event: 'paused', set, kernel });
  }

  /** Whoever cannot be stopped now is tried again at each look (paused.ts). */
  halt(id: string, process: ProcessRef): void {
    try {
      this.#deps.signals.stop(process);
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) return;
      this.#deps.log.warn({ id, pid: process.pid, error: messageOf(error) }, 'a paused process runs');
    }
  }

  #abandon(id: string): void {
    this.retry(id, async ({ reservation }) => {
      if (reservation.state !== 'ORPHANED' || this.#deadlines.remainingMs(id) !== undefined) return;
      const reason = 'nobody came back for its process within leases.orphan_grace_ms';
      await this.release(reservation, reason);
    });
  }

  /** Ends a reservation whose process may go on. */
  async release(reservation: Reservation, reason: string): Promise<Reservation> {
    const kernel = () => this.setFree(reservation);
    const change = { reason, event: 'released', kernel };
    const { id } = reservation;
    const after = await this.leaving(reservation, () => this.#book.step(id, { step: 'release' }, change));
    return after.reservation;
  }

  /**
   * For a write after which the process of `before` is nobody's. It is set free before the write, because after a kill
   * between the two nobody would know of it any more; and until the write has succeeded or failed, nobody brings it back,
   * because after a kill the write may still reach the disk. Call it under the reservation's lock.
   */
  async leaving<T>(before: Reservation, write: () => Promise<T>): Promise<T> {
    this.#leaving.add(before.id);
    try {
      this.setFree(before);
      return await write();
    } finally {
      this.#leaving.delete(before.id);
    }
  }

  isLeaving(id: string): boolean {
    return this.#leaving.has(id);
  }

  /** A process that outlives its reservation must not stay on CPUs that are others' from now on. */
  setFree({ id, process, state }: Reservation): void {
    if (process === undefined) return;
    try {
      this.#deps.pinning.pin(process, this.#deps.topology().schedulable);
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) return;
      this.#deps.log.warn({ id, pid: process.pid, error: messageOf(error) }, 'a process kept its CPUs');
    }
    if (state !== 'PAUSED') return;
    this.#freed.set(id, process);
    this.letGoOn(id, process);
  }

  isFreed(id: string, process: ProcessRef): boolean {
    return sameProcess(process, this.#freed.get(id));
  }

  /** Nobody else would. */
  letGoOn(id: string, process: ProcessRef): void {
    try {
      this.#deps.signals.resume(process);
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) return;
      this.#deps.log.error({ id, pid: process.pid, error: messageOf(error) }, 'a process stays stopped');
    }
  }

  #open(id: string, process: ProcessRef): { close(): void } {
    try {
      return this.#deps.exits.watch(process, () => this.exited(id, process));
    } catch (error) {
      throw new CorecastError('PROCESS_GONE', `process ${process.pid} has ended`, { cause: error });
    }
  }

  #later(run: () => void): void {
    const clear = this.#deps.scheduler.setTimer(RETRY_MS, () => {
      this.#retries.delete(clear);
      run();
    });
    this.#retries.add(clear);
  }
}

/** A holder's heartbeats keep it. */
function isRenewed(reservation: Reservation): boolean {
  return reservation.state === 'ACTIVE' || isRequeued(reservation);
}

function startsAnew(after: Reservation, before: Reservation): boolean {
  return (
    after.state !== before.state ||
    after.deadlineMs !== before.deadlineMs ||
    !sameProcess(after.process, before.process) ||
    after.token !== before.token
  );
}
