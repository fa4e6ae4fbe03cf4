import { difference, formatCpuset } from '../lib/cpuset.js';
import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { Book } from './book.js';
import { cpusetOf, WHOLE_CPU_MILLI } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { EndedProcesses } from './ended-processes.js';
import type { LeaseStep } from './lease.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import { sameProcess } from './process-ref.js';
import { holdsCpus, isRequeued, type ProcessRef } from './reservation.js';

/**
 * After a start: compares what the ledger says with what the kernel has, before anybody is served. Running channels
 * are adopted and their masks repaired, what ended meanwhile is released, what cannot come any more expires. Nothing
 * here stops the daemon or a channel: what cannot be written now is written when the disk allows.
 */
export async function reconcile(
  deps: ReservationDeps,
  book: Book,
  lifetimes: Lifetimes,
  ended: EndedProcesses,
): Promise<string[]> {
  const records = [...book.ledger.live()];
  records.sort((a, b) => a.reservation.createdMs - b.reservation.createdMs);
  const lines = await Promise.all(records.map((record) => settle(deps, book, lifetimes, ended, record)));
  return [...lines.flat(), ...overcommitted(deps, book)];
}

async function settle(
  deps: ReservationDeps,
  book: Book,
  lifetimes: Lifetimes,
  ended: EndedProcesses,
  record: LedgerRecord,
): Promise<string[]> {
  const { reservation } = record;
  const { id, state, process } = reservation;
  const end = (step: LeaseStep | (() => LeaseStep), reason: string, event: string) =>
    write(book, lifetimes, id, typeof step === 'function' ? step : () => step, reason, event, record);
  if (state === 'QUEUED' && !isRequeued(reservation))
    return end({ step: 'expire' }, 'its caller is gone since the daemon stopped', 'expired');
  if (state === 'PENDING') {
    // Bounded by its length: the wall clock may have been set back in between.
    const leftMs = Math.min(reservation.deadlineMs - deps.clock.nowMs(), record.startTimeoutMs);
    if (leftMs <= 0) return end({ step: 'expire' }, 'not started before its deadline', 'expired');
    lifetimes.resume(record, leftMs);
    return [`reservation ${id}: waits for its start, ${Math.ceil(leftMs)} ms left`];
  }
  const rebooted = record.bootId !== undefined && record.bootId !== deps.bootId;
  if (state === 'QUEUED') {
    if (rebooted) {
      if (process !== undefined) ended.note(id, process);
      return end({ step: 'expire' }, 'the host was restarted while it waited', 'expired');
    }
    return keepQueued(deps, book, lifetimes, record);
  }
  if (process === undefined || rebooted || !lives(deps, process)) {
    if (process !== undefined) ended.note(id, process);
    if (record.restarting && state === 'ACTIVE') {
      // From the moment of the write: the wall clock may jump while the disk refuses.
      const restart = () => ({
        step: 'restart' as const,
        deadlineMs: deps.clock.nowMs() + record.startTimeoutMs,
      });
      return end(restart, 'its process was being replaced', 'reserved');
    }
    const when = rebooted ? 'when the host was restarted' : 'while the daemon was away';
    return end({ step: 'release' }, `process ${process?.pid} ended ${when}`, 'released');
  }
  return state === 'PAUSED'
    ? keepPaused(deps, lifetimes, record, process)
    : adopt(deps, book, lifetimes, record, process);
}

/** The kill may have come before its process was moved off the CPUs that are others'. Its holder comes back, or it ends. */
function keepQueued(deps: ReservationDeps, book: Book, lifetimes: Lifetimes, record: LedgerRecord): string[] {
  const { id, process } = record.reservation;
  lifetimes.resume(record, 0);
  if (process === undefined) return [`reservation ${id}: waits for room and for its holder`];
  try {
    if (!lives(deps, process)) throw new CorecastError('PROCESS_GONE', 'it has ended');
    lifetimes.watch(id, process).keep();
    lifetimes.setFree(book.require(id).reservation);
  } catch {
    lifetimes.exited(id, process);
    return [`reservation ${id}: process ${process.pid} has ended; waits for room and for its holder`];
  }
  return [`reservation ${id}: process ${process.pid} is to end; waits for room and for its holder`];
}

/** The kill may have come between the write and the signal. It goes on when there is room. */
function keepPaused(
  deps: ReservationDeps,
  lifetimes: Lifetimes,
  { reservation: { id } }: LedgerRecord,
  process: ProcessRef,
): string[] {
  try {
    lifetimes.watch(id, process).keep();
    deps.signals.stop(process);
  } catch (error) {
    if (!isCorecastError(error, 'PROCESS_GONE')) {
      return [`reservation ${id}: process ${process.pid} is paused, but runs: ${messageOf(error)}`];
    }
    lifetimes.exited(id, process);
    return [`reservation ${id}: process ${process.pid} has just ended`];
  }
  return [`reservation ${id}: process ${process.pid} is paused and waits for room`];
}

function adopt(
  deps: ReservationDeps,
  book: Book,
  lifetimes: Lifetimes,
  record: LedgerRecord,
  process: ProcessRef,
): string[] {
  const { reservation } = record;
  const { id } = reservation;
  const cpus = cpusetOf(reservation.cpus);
  const lines: string[] = [];
  try {
    lifetimes.watch(id, process).keep();
  } catch {
    // It ended this very moment.
    lifetimes.exited(id, process);
    return [`reservation ${id}: process ${process.pid} has just ended`];
  }
  const leftMs = Math.max(0, reservation.deadlineMs - deps.clock.nowMs());
  const { orphan_grace_ms: graceMs } = deps.leases();
  lifetimes.resume(record, graceMs === 0 ? leftMs : Math.min(leftMs, graceMs));
  // It may be ACTIVE again only in the ledger.
  if (record.wasPaused === true) lifetimes.letGoOn(id, process);
  try {
    const { threads, repaired } = deps.pinning.verify(process, cpus);
    const masks =
      repaired === 0 ? 'all masks as they were' : `${repaired} of ${threads.length} thread masks repaired`;
    lines.push(`reservation ${id}: process ${process.pid} adopted on CPUs ${formatCpuset(cpus)}, ${masks}`);
    book.announce(reservation, repaired === 0 ? 'adopted' : 'repaired', masks);
  } catch (error) {
    lines.push(`reservation ${id}: process ${process.pid} adopted, but not pinned: ${messageOf(error)}`);
  }
  const gone = difference(cpus, deps.topology().schedulable);
  if (gone.length > 0) {
    lines.push(
      `reservation ${id}: CPUs ${formatCpuset(gone)} cannot be reserved any more; it is to be moved`,
    );
  }
  return lines;
}

async function write(
  book: Book,
  lifetimes: Lifetimes,
  id: string,
  stepNow: () => LeaseStep,
  reason: string,
  event: string,
  record: LedgerRecord,
): Promise<string[]> {
  const { reservation: before } = record;
  const set = { restarting: false };
  try {
    const after = await book.lock(id, () => book.step(id, stepNow(), { reason, event, set }));
    return [`reservation ${id}: ${before.state} is now ${after.reservation.state}: ${reason}`];
  } catch (error) {
    lifetimes.retry(id, async (now) => {
      if (!concerns(record, now)) return;
      // Its holder may have gone meanwhile, too.
      const orphaned = now.reservation.state !== before.state;
      await book.step(id, orphaned ? { step: 'release' } : stepNow(), { reason, event, set });
    });
    return [
      `reservation ${id}: ${before.state}, ${reason}; that could not be written yet: ${messageOf(error)}`,
    ];
  }
}

/** What was decided of a process that has ended concerns nobody who attached since; of one that waits, nobody who has begun. */
function concerns(
  { reservation: before, bootId }: LedgerRecord,
  { reservation, bootId: boot }: LedgerRecord,
): boolean {
  if (before.process !== undefined)
    return sameProcess(before.process, reservation.process) && boot === bootId;
  return reservation.state === before.state && reservation.token === before.token;
}

function lives(deps: ReservationDeps, { pid, startTicks }: ProcessRef): boolean {
  try {
    return deps.processStartTicks(pid) === startTicks;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'ESRCH' || code === 'ENOENT') return false;
    deps.log.warn({ pid, error: messageOf(error) }, 'a process could not be looked at; it counts as alive');
    return true;
  }
}

/** Only a ledger that lost records can promise a CPU twice; the operator is to know. */
function overcommitted(deps: ReservationDeps, book: Book): string[] {
  const lines: string[] = [];
  for (const [cpu, milli] of book.occupancy(deps.topology(), deps.smtCoreMilli()).milli) {
    if (milli <= WHOLE_CPU_MILLI) continue;
    const ids = [...book.ledger.live()]
      .filter(({ reservation }) => holdsCpus(reservation.state) && cpusetOf(reservation.cpus).includes(cpu))
      .map(({ reservation }) => reservation.id);
    lines.push(`CPU ${cpu} is reserved to ${milli} thousandths, by ${ids.join(', ')}`);
  }
  return lines;
}
