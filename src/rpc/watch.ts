import { CorecastError } from '../lib/errors.js';
import type { Control, Peer, ReservationEvent } from './control.js';
import { toListed } from './convert.js';
import type { WatchReservationsResponse } from './generated/corecast/v1/WatchReservationsResponse.js';

/** Events that wait for a watcher that does not read. One that falls further behind is cut off and lists again. */
export const MAX_WAITING_EVENTS = 1_024;

/**
 * The present reservations, then every change, none missed in between: the watcher is registered before the listing is
 * taken. Ends with LIMIT_EXCEEDED when the caller reads too slowly.
 */
export async function* watchReservations(
  control: Pick<Control, 'watch' | 'reservations'>,
  peer: Peer,
  signal: AbortSignal,
): AsyncGenerator<WatchReservationsResponse> {
  const waiting: ReservationEvent[] = [];
  let overflowed = false;
  let wake = () => {};
  const unregister = control.watch((event) => {
    waiting.push(event);
    if (waiting.length > MAX_WAITING_EVENTS) {
      // What is told from here on would have a gap, so nothing more is kept for this watcher.
      overflowed = true;
      waiting.length = 0;
      unregister();
    }
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort);
  try {
    for (const { reservation, usage } of control.reservations(false)) {
      if (overflowed || signal.aborted) break;
      yield { reservation: toListed(peer, reservation, usage), event: '', reason: '' };
    }
    for (;;) {
      if (signal.aborted) throw new CorecastError('CANCELLED', 'the watch ended');
      if (overflowed) throw tooSlow();
      const event = waiting.shift();
      if (event === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      yield { reservation: toListed(peer, event.reservation), event: event.event, reason: event.reason };
    }
  } finally {
    unregister();
    signal.removeEventListener('abort', onAbort);
  }
}

function tooSlow(): CorecastError {
  return new CorecastError(
    'LIMIT_EXCEEDED',
    `this watcher fell more than ${MAX_WAITING_EVENTS} events behind; read faster, or watch again for a new listing`,
  );
}
