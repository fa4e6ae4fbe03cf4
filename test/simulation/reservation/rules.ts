import { TRANSITIONS } from '../../../src/reservation/lease.js';
import { holdsCpus, RESERVATION_STATES, type Reservation } from '../../../src/reservation/reservation.js';
import { CONFIG } from './daemon.js';
import type { Machine } from './machine.js';

/*
 * What holds of reservations by themselves, whoever asked for them and whatever their processes do. Each returns what is
 * wrong, in words; the witness knows the rest.
 */

/** No CPU and no core is promised beyond what it can give, and none that is exclusive to two. */
export function promisedTwice(reservations: Iterable<Reservation>, { topology, changed }: Machine): string[] {
  const faults: string[] = [];
  const milli = new Map<number, number>();
  const cores = new Map<number, { milli: number; holders: Set<string>; exclusive: boolean }>();
  for (const { id, state, cpus, exclusive } of reservations) {
    if (!holdsCpus(state)) continue;
    for (const { cpu, shareMilli } of cpus) {
      milli.set(cpu, (milli.get(cpu) ?? 0) + shareMilli);
      const { core } = topology.cpus.find((one) => one.cpu === cpu)!;
      const sum = cores.get(core) ?? { milli: 0, holders: new Set(), exclusive: false };
      cores.set(core, sum);
      sum.milli += shareMilli;
      sum.holders.add(id);
      sum.exclusive ||= exclusive;
    }
  }
  for (const [cpu, sum] of milli)
    if (sum > 1_000) faults.push(`CPU ${cpu} is reserved to ${sum} thousandths`);
  if (changed) return faults;
  for (const [core, sum] of cores) {
    if (sum.milli > CONFIG.cpus.smt_core_milli)
      faults.push(`core ${core} is reserved to ${sum.milli} thousandths`);
    if (sum.exclusive && sum.holders.size > 1)
      faults.push(`core ${core} is exclusive and held by ${[...sum.holders]}`);
  }
  return faults;
}

/** What its state says it has, it has: CPUs, none of them housekeeping, and a process. */
export function shapeFaults(
  { id, state, cpus, process, pausedFrom }: Reservation,
  machine: Machine,
): string[] {
  const faults: string[] = [];
  if (!RESERVATION_STATES.includes(state)) faults.push(`reservation ${id} is ${state}`);
  if (cpus.length > 0 !== holdsCpus(state))
    faults.push(`reservation ${id} is ${state} with ${cpus.length} CPUs`);
  const running = state === 'ACTIVE' || state === 'ORPHANED' || state === 'PAUSED';
  // In QUEUED it has one until that has ended.
  if (
    state === 'QUEUED'
      ? process !== undefined && pausedFrom === undefined
      : (process !== undefined) !== running
  )
    faults.push(`reservation ${id} is ${state}, its process is ${process?.pid}`);
  const { housekeeping } = machine.topology;
  if (cpus.some(({ cpu }) => housekeeping.includes(cpu)))
    faults.push(`reservation ${id} is on a housekeeping CPU`);
  return faults;
}

/** Tokens only grow, and states follow each other as lease.ts has them. */
export function stepFaults(before: Reservation, { id, token, state }: Reservation): string[] {
  const faults: string[] = [];
  if (token < before.token) faults.push(`reservation ${id}: token ${token} follows ${before.token}`);
  if (state !== before.state && !Object.values(TRANSITIONS[before.state]).includes(state))
    faults.push(`reservation ${id} went from ${before.state} to ${state}`);
  return faults;
}
