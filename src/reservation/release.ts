import type { Peer } from '../rpc/control.js';
import type { Book } from './book.js';
import { hasEnded, requireToken } from './lease.js';
import type { Lifetimes } from './lifetimes.js';
import { requireOwnReservation } from './permissions.js';
import type { Reservation } from './reservation.js';

export interface ReleaseCall {
  readonly reservationId: string;
  readonly token: number;
  readonly reason: string;
}

/** Gives the CPUs back. Releasing what has ended succeeds and changes nothing. */
export async function release(
  book: Book,
  lifetimes: Lifetimes,
  { reservationId: id, token, reason }: ReleaseCall,
  peer: Peer,
): Promise<Reservation> {
  return book.lock(id, async () => {
    const { reservation: before } = book.require(id);
    requireOwnReservation(before, peer);
    if (hasEnded(before.state)) return before;
    requireToken(before, token);
    return lifetimes.release(before, reason || 'released by its holder');
  });
}
