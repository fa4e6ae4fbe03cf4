import type { Config } from '../config/schema.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { Peer } from '../rpc/control.js';
import type { Book } from './book.js';
import type { ReservationDeps } from './deps.js';
import { sameProcess } from './process-ref.js';
import type { ProcessRef, Reservation } from './reservation.js';

const ROOT = 0;

/** TCP peers have no credentials that the kernel vouches for. */
export function requirePeer(peer: Peer, to: string): void {
  if (peer.uid >= 0) return;
  throw new CorecastError('PERMISSION_DENIED', `callers over TCP may not ${to}; use the unix socket`);
}

export function requireOwnReservation(reservation: Reservation, peer: Peer): void {
  if (peer.uid === ROOT || peer.uid === reservation.uid) return;
  throw new CorecastError(
    'PERMISSION_DENIED',
    `reservation ${reservation.id} belongs to uid ${reservation.uid}, the caller is uid ${peer.uid}`,
    { metadata: { reservation_id: reservation.id } },
  );
}

/** The process, named beyond doubt, if it is the one that was meant and the caller may have it pinned. */
export function requireOwnProcess(
  deps: Pick<ReservationDeps, 'processUid' | 'processStartTicks'>,
  { pid, startTicks }: ProcessRef,
  peer: Peer,
): ProcessRef {
  const ticks = read(pid, () => deps.processStartTicks(pid));
  if (startTicks !== 0 && startTicks !== ticks) {
    throw new CorecastError(
      'PROCESS_GONE',
      `process ${pid} started at tick ${ticks}, not at ${startTicks}: the pid names another process now`,
    );
  }
  const uid = read(pid, () => deps.processUid(pid));
  if (peer.uid !== ROOT && uid !== peer.uid) {
    throw new CorecastError(
      'PERMISSION_DENIED',
      `process ${pid} belongs to uid ${uid}, the caller is uid ${peer.uid}`,
    );
  }
  // The uid may have been read of another process that got the pid in between.
  if (read(pid, () => deps.processStartTicks(pid)) !== ticks) {
    throw new CorecastError('PROCESS_GONE', `process ${pid} ended while it was looked at`);
  }
  return { pid, startTicks: ticks };
}

/** Two reservations would pin one process in turn. */
export function requireUnattached(book: Book, process: ProcessRef, id: string): void {
  for (const { reservation } of book.ledger.live()) {
    if (reservation.id === id || !sameProcess(reservation.process, process)) continue;
    throw new CorecastError(
      'WRONG_STATE',
      `process ${process.pid} is attached to reservation ${reservation.id}; release that one first`,
    );
  }
}

/** `arriving`: the caller's requests that no record shows yet. */
export function requireWithinLimit(
  book: Book,
  { channels_per_peer: limit }: Config['limits'],
  peer: Peer,
  arriving: number,
): void {
  const count = book.countOf(peer.uid) + arriving;
  if (count < limit) return;
  throw new CorecastError(
    'LIMIT_EXCEEDED',
    `uid ${peer.uid} holds or waits for ${count} reservations; limits.channels_per_peer is ${limit}`,
    { metadata: { limit: 'channels_per_peer', value: String(limit) } },
  );
}

function read(pid: number, from: () => number): number {
  try {
    return from();
  } catch (error) {
    throw new CorecastError('PROCESS_GONE', `process ${pid} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
