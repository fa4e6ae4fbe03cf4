import { formatCpuset } from '../lib/cpuset.js';
import { CorecastError } from '../lib/errors.js';
import type { Directive, Peer, SessionHandle } from '../rpc/control.js';
import type { Adopting } from './adopt.js';
import type { Book } from './book.js';
import { cpusetOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import { hasEnded, requireToken, wrongState } from './lease.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import { requireOwnProcess, requireOwnReservation } from './permissions.js';
import { sameProcess } from './process-ref.js';
import { isRequeued, type Reservation } from './reservation.js';

type Heartbeat = Parameters<SessionHandle['heartbeat']>[0];

interface Session {
  readonly id: string;
  readonly peer: Peer;
  token: number;
  /** As its last heartbeat said. */
  requeues: boolean;
  send(directive: Directive): void;
}

/**
 * The holders' life lines. A heartbeat renews the lease in memory; the disk is asked only when something changes: the
 * holder comes back to an ORPHANED reservation (and gets a new token), announces a restart, or is adopted.
 */
export class Sessions {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #lifetimes: Lifetimes;
  readonly #adopting: Adopting;
  readonly #open = new Map<string, Session>();
  #stopped = false;

  constructor(deps: ReservationDeps, book: Book, lifetimes: Lifetimes, adopting: Adopting) {
    this.#deps = deps;
    this.#book = book;
    this.#lifetimes = lifetimes;
    this.#adopting = adopting;
    book.onChange((after, before) => this.#changed(after, before));
  }

  /**
   * A reservation or token that is unknown here may have been lost with the database: the first heartbeat decides,
   * because it may bring the process.
   */
  open(id: string, token: number, peer: Peer, send: (directive: Directive) => void): SessionHandle {
    const known = this.#book.ledger.get(id)?.reservation;
    if (known !== undefined) {
      requireOwnReservation(known, peer);
      requireHeld(known);
      if (token < known.token) requireToken(known, token);
    }
    const session: Session = { id, peer, token, requeues: false, send };
    // Of somebody unknown, only the first heartbeat can take the place of another's session.
    if (known?.token === token) this.#open.set(id, session);
    return {
      heartbeat: (message) => this.#heartbeat(session, message),
      closed: () => this.#closed(session),
    };
  }

  /** False when no holder listens. */
  direct(id: string, directive: Directive): boolean {
    const session = this.#open.get(id);
    session?.send(directive);
    return session !== undefined;
  }

  /** Whether a holder listens. */
  has(id: string): boolean {
    return this.#open.has(id);
  }

  /** Whether its holder can end FFmpeg and start it anew. */
  canRequeue(id: string): boolean {
    return this.#open.get(id)?.requeues === true;
  }

  /** From here on, streams that end are the daemon's doing. */
  stop(): void {
    this.#stopped = true;
    this.#open.clear();
  }

  async #heartbeat(session: Session, message: Heartbeat) {
    const record = await this.#current(session, message);
    session.requeues = message.requeues === true;
    const { id, reservation } = { id: session.id, reservation: record.reservation };
    const { lease_ms: leaseMs } = this.#deps.leases();
    if (reservation.state === 'ACTIVE' || isRequeued(reservation)) this.#lifetimes.renew(id);
    const leaseDeadlineMs = this.#deps.clock.nowMs() + leaseMs;
    return { leaseDeadlineMs, reservation };
  }

  /** The record after whatever the message changes. */
  async #current(session: Session, message: Heartbeat): Promise<LedgerRecord> {
    const { id, token, peer } = session;
    const known = this.#book.ledger.get(id);
    if (known === undefined || token > known.reservation.token) return this.#adopt(session, message);
    requireToken(known.reservation, token);
    const open = this.#open.get(id);
    if (open !== session) throw superseded(id);
    requireHeld(known.reservation);
    const { process, state } = known.reservation;
    if (message.process !== undefined && process !== undefined) {
      const announced = requireOwnProcess(this.#deps, message.process, peer);
      if (!sameProcess(announced, process)) throw otherProcess(known.reservation, announced.pid);
    }
    if (state !== 'ORPHANED' && message.restarting === known.restarting) return known;
    return this.#book.lock(id, () => this.#change(session, message));
  }

  async #change(session: Session, { restarting }: Heartbeat): Promise<LedgerRecord> {
    const { id } = session;
    const { reservation, restarting: before } = this.#book.require(id);
    requireToken(reservation, session.token);
    requireHeld(reservation);
    if (reservation.state === 'ORPHANED') {
      const token = this.#book.ledger.nextToken();
      const change = { reason: 'its holder is back', event: 'adopted', set: { restarting } };
      const resumed = await this.#book.step(id, { step: 'resume', token }, change);
      return resumed;
    }
    // PENDING: the process it spoke of has ended already.
    if (restarting === before || reservation.state !== 'ACTIVE') return this.#book.require(id);
    return this.#book.set(id, { restarting });
  }

  async #adopt(session: Session, { process, rung }: Heartbeat): Promise<LedgerRecord> {
    const { id, token, peer } = session;
    if (process === undefined) {
      const known = this.#book.require(id);
      requireToken(known.reservation, token);
      return known;
    }
    const record = await this.#adopting.adopt({ reservationId: id, token, process, rung }, peer);
    session.token = record.reservation.token;
    this.#open.set(id, session);
    return record;
  }

  #closed(session: Session): void {
    const { id } = session;
    if (this.#open.get(id) !== session) return;
    this.#open.delete(id);
    if (!this.#stopped) this.#lifetimes.holderGone(id, () => !this.#open.has(id));
  }

  /** The holder that attaches its next process, or comes back, goes on in the session that it has. */
  #changed({ reservation }: LedgerRecord, before: LedgerRecord | undefined): void {
    const session = this.#open.get(reservation.id);
    if (session === undefined) return;
    if (hasEnded(reservation.state)) this.#open.delete(reservation.id);
    else if (session.token === before?.reservation.token) session.token = reservation.token;
    this.#tell(session, reservation, before?.reservation);
  }

  /** What it has to do for the queue; said again with each answer, by the state. */
  #tell(session: Session, after: Reservation, before: Reservation | undefined): void {
    const { reason, cpus } = after;
    const waited = before !== undefined && isRequeued(before);
    if (isRequeued(after) && !waited) session.send({ kind: 'requeue', reason });
    if (waited && after.state === 'PENDING')
      session.send({ kind: 'start', cpus: formatCpuset(cpusetOf(cpus)), reason });
  }
}

function requireHeld(reservation: Reservation): void {
  const waits = reservation.state === 'QUEUED' && !isRequeued(reservation);
  if (waits || hasEnded(reservation.state)) throw wrongState(reservation, 'attach');
}

function superseded(id: string): CorecastError {
  return new CorecastError(
    'STALE_TOKEN',
    `reservation ${id}: a newer session has taken the place of this one`,
  );
}

function otherProcess({ id, process }: Reservation, pid: number): CorecastError {
  return new CorecastError(
    'WRONG_STATE',
    `reservation ${id} has process ${process?.pid}, not ${pid}; attach the new one first`,
    { metadata: { reservation_id: id } },
  );
}
