import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { PinResult } from '../pinning/pinning.js';
import type { Peer } from '../rpc/control.js';
import type { Book } from './book.js';
import { cpusetOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { FirstAnswers } from './first-answers.js';
import { requireToken, TRANSITIONS, wrongState } from './lease.js';
import type { Lifetimes } from './lifetimes.js';
import { requireOwnProcess, requireOwnReservation, requirePeer, requireUnattached } from './permissions.js';
import { sameProcess } from './process-ref.js';
import { isRequeued, type ProcessRef, type Reservation } from './reservation.js';

const GAVE_WAY = 'it gave its CPUs up and waits for room; start FFmpeg, and attach it, when it is PENDING';

export interface AttachCall {
  readonly reservationId: string;
  readonly token: number;
  /** startTicks 0: read here. */
  readonly process: ProcessRef;
  /** No holder follows: the life of the process holds the reservation. */
  readonly selfHeld?: boolean;
  /** It replaces another one and is on trial: its end is not the channel's. */
  readonly restarting?: boolean;
  readonly idempotencyKey: string;
}

export interface Attached {
  readonly reservation: Reservation;
  readonly pin: PinResult;
}

/** Binds a process to a reservation: checked, watched, written, pinned, answered, in this order. */
export class Attaching {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #lifetimes: Lifetimes;
  readonly #answers: FirstAnswers;

  constructor(deps: ReservationDeps, book: Book, lifetimes: Lifetimes, answers: FirstAnswers) {
    this.#deps = deps;
    this.#book = book;
    this.#lifetimes = lifetimes;
    this.#answers = answers;
  }

  async attach(call: AttachCall, peer: Peer): Promise<Attached> {
    requirePeer(peer, 'attach a process');
    return this.#answers.once({
      method: 'Attach',
      peer,
      idempotencyKey: call.idempotencyKey,
      request: call,
      run: (name) => this.#book.lock(call.reservationId, () => this.#attach(call, peer, name)),
      replay: ({ reservation }) => ({ reservation, pin: this.#pinAgain(reservation) }),
    });
  }

  async #attach(call: AttachCall, peer: Peer, name: { key: string; fingerprint: string }): Promise<Attached> {
    const { reservation: before } = this.#book.require(call.reservationId);
    requireOwnReservation(before, peer);
    if (TRANSITIONS[before.state].attach === undefined)
      throw wrongState(before, 'attach', isRequeued(before) ? GAVE_WAY : undefined);
    const kernel = ({ state }: Reservation) => {
      if (replaces) this.#lifetimes.setFree(before);
      if (state === 'PAUSED') this.#lifetimes.halt(before.id, process);
    };
    requireToken(before, call.token);
    const process = requireOwnProcess(this.#deps, call.process, peer);
    requireUnattached(this.#book, process, before.id);
    const watch = this.#lifetimes.watch(before.id, process);
    // One that lives beside its successor is nobody's from here on.
    const replaces = before.process !== undefined && !sameProcess(before.process, process);
    const write = () =>
      this.#book.step(
        before.id,
        {
          step: 'attach',
          process,
          token: this.#book.ledger.nextToken(),
          selfHeld: call.selfHeld === true,
        },
        {
          reason: before.state === 'PAUSED' ? before.reason : `process ${process.pid} runs`,
          event: 'attached',
          kernel,
          answer: (after) => ({
            key: name.key,
            answer: { fingerprint: name.fingerprint, atMs: after.changedMs, reservation: after },
          }),
          set: { restarting: call.restarting === true, bootId: this.#deps.bootId },
        },
      );
    let reservation: Reservation;
    try {
      ({ reservation } = await (replaces ? this.#lifetimes.leaving(before, write) : write()));
    } catch (error) {
      watch.drop();
      throw error;
    }
    watch.keep();
    if (reservation.state === 'PAUSED') return { reservation, pin: this.#pinAgain(reservation) };
    return { reservation, pin: this.#pin(reservation, process) };
  }

  /** The reservation is ACTIVE whatever the kernel says: the process runs. The caller learns the new token either way. */
  #pin(reservation: Reservation, process: ProcessRef): PinResult {
    try {
      return this.#deps.pinning.pin(process, cpusetOf(reservation.cpus));
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) this.#lifetimes.exited(reservation.id, process);
      if (!isCorecastError(error)) throw error;
      throw new CorecastError(error.code, `${error.message}; the process is attached but not pinned`, {
        ...error.details,
        metadata: {
          ...error.details.metadata,
          reservation_id: reservation.id,
          token: String(reservation.token),
        },
        cause: error,
      });
    }
  }

  /** A retry: what was pinned is verified, if it is still this reservation's. */
  #pinAgain({ id, token, process }: Reservation): PinResult {
    const now = this.#book.ledger.get(id)?.reservation;
    if (process === undefined || now === undefined) return { threads: [], repaired: 0 };
    try {
      if (now.cpus.length > 0 && now.token === token && sameProcess(now.process, process)) {
        return this.#deps.pinning.verify(process, cpusetOf(now.cpus));
      }
      return { threads: this.#deps.pinning.masks(process), repaired: 0 };
    } catch (error) {
      this.#deps.log.info({ id, error: messageOf(error) }, 'the process of a repeated Attach cannot be read');
      return { threads: [], repaired: 0 };
    }
  }
}
