import { difference, formatCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import { fewerCpus, placed } from './allocator-make-room.js';
import { OccupancyIndex } from './allocator-occupancy.js';
import type { Book } from './book.js';
import { cpusetOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import { occupancyOf } from './occupancy.js';
import { type CpuShare, holdsCpus, type Reservation } from './reservation.js';
import { resize } from './resize.js';

/**
 * Moves reservations off CPUs that cannot be reserved any more: they went offline, became housekeeping, or were taken from
 * the daemon's own cpuset. Live first, then by priority, because there may not be a place for all: whoever finds none
 * keeps what it has (the kernel runs its threads on what is left of it) and is tried again when room comes. VOD may go on
 * with fewer CPUs.
 */
export async function relocate(
  deps: ReservationDeps,
  book: Book,
  /** By reservation: the lost CPUs for which no place was found, as watchers were told. Kept between calls. */
  squeezed: Map<string, string> = new Map(),
): Promise<void> {
  const displaced = [...book.settled()].filter((record) => lost(deps, record.reservation).length > 0);
  displaced.sort((a, b) => importance(b.reservation) - importance(a.reservation));
  const ids = new Set(displaced.map(({ reservation }) => reservation.id));
  for (const id of squeezed.keys()) if (!ids.has(id)) squeezed.delete(id);
  for (const record of displaced) await relocateOne(deps, book, record, squeezed);
}

async function relocateOne(
  deps: ReservationDeps,
  book: Book,
  { reservation: { id } }: LedgerRecord,
  squeezed: Map<string, string>,
) {
  const reservation = book.ledger.get(id)?.reservation;
  if (reservation === undefined || !holdsCpus(reservation.state)) return;
  const gone = lost(deps, reservation);
  if (gone.length === 0) return;
  const shares = book.ledger.get(id)?.shared !== undefined;
  const spread = shares ? deps.sharing?.()?.cpus : undefined;
  const cpus = placeFor(deps, book, reservation, spread);
  if (cpus === undefined) {
    if (squeezed.get(id) === formatCpuset(gone)) return;
    squeezed.set(id, formatCpuset(gone));
    const reason = `CPUs ${formatCpuset(gone)} cannot be reserved any more and no others have room for it`;
    book.announce(reservation, 'squeezed', reason);
    return;
  }
  try {
    const reason = `CPUs ${formatCpuset(gone)} cannot be reserved any more`;
    await resize(deps, book, id, cpus, 'moved', reason);
  } catch (error) {
    deps.log.warn({ id, error: messageOf(error) }, 'a reservation could not be moved off a CPU that is gone');
  }
}

function placeFor(
  deps: ReservationDeps,
  book: Book,
  reservation: Reservation,
  spread: number | undefined,
): readonly CpuShare[] | undefined {
  const topology = deps.topology();
  const others = [...book.held()].filter(({ id }) => id !== reservation.id);
  const index = OccupancyIndex.of(topology, occupancyOf(others, topology), deps.smtCoreMilli());
  const shares = reservation.cpus.map(({ shareMilli }) => shareMilli);
  const tenant = { ...reservation, ...(spread === undefined ? {} : { spread }) };
  const whole = placed(index, tenant, shares);
  return whole ?? (reservation.channelClass === 'vod' ? fewerCpus(index, reservation) : undefined);
}

function lost(deps: ReservationDeps, { state, cpus }: Reservation) {
  return holdsCpus(state) ? difference(cpusetOf(cpus), deps.topology().schedulable) : [];
}

function importance({ channelClass, priority }: Reservation): number {
  return (channelClass === 'live' ? 1_000 : 0) + priority;
}
