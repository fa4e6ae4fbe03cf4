import { messageOf } from '../lib/errors.js';
import type { Book } from './book.js';
import { cpusetOf, requireRoom } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import { TRANSITIONS, wrongState } from './lease.js';
import type { CpuShare, Reservation } from './reservation.js';

/**
 * Gives a reservation other CPUs or shares while its process runs. Durable first, then the kernel; the old CPUs are
 * free for others when both have happened (Book, points 2 and 3):
 *
 * 1. The new CPUs are promised, the old ones still are: what others decide now knows both.
 * 2. The new CPUs are written with sync. After a crash here the restart pins the process to them.
 * 3. The process is moved: widened to old and new, then narrowed (pinning).
 * 4. The old CPUs are free.
 *
 * When the kernel refuses in step 3, the old CPUs are written again. If even that fails, both stay promised until the
 * reservation ends or is moved again: too much is held then, nothing is held twice.
 */
export async function resize(
  deps: ReservationDeps,
  book: Book,
  id: string,
  cpus: readonly CpuShare[],
  event: string,
  reason: string,
): Promise<Reservation> {
  return book.lock(id, async () => {
    const { reservation: before } = book.require(id);
    if (TRANSITIONS[before.state].assign === undefined) throw wrongState(before, 'assign');
    requireRoom(before, cpus, book.occupancyWithout(id, deps.topology(), deps.smtCoreMilli()));
    const move = ({ process }: Reservation) => {
      if (process !== undefined) deps.pinning.pin(process, cpusetOf(cpus));
    };
    try {
      const { reservation } = await book.step(id, { step: 'assign', cpus }, { reason, event, kernel: move });
      return reservation;
    } catch (error) {
      if (book.ledger.get(id)?.reservation.cpus === cpus) await restore(deps, book, before, error);
      throw error;
    }
  });
}

async function restore(
  deps: ReservationDeps,
  book: Book,
  before: Reservation,
  refused: unknown,
): Promise<void> {
  const { id, process } = before;
  try {
    await book.step(
      id,
      { step: 'assign', cpus: before.cpus },
      {
        reason: before.reason,
        kernel: () => {
          if (process !== undefined) deps.pinning.pin(process, cpusetOf(before.cpus));
        },
      },
    );
  } catch (error) {
    deps.log.error(
      { id, refused: messageOf(refused), error: messageOf(error) },
      'neither the new CPUs nor the old ones could be set; both stay reserved',
    );
  }
}
