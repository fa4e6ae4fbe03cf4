import { type Cpuset, cpuset, formatCpuset } from '../lib/cpuset.js';
import { CorecastError, invalidField } from '../lib/errors.js';
import type { Topology } from '../topology/topology.js';
import type { Occupancy } from './occupancy.js';
import type { CpuShare, Reservation } from './reservation.js';

export const WHOLE_CPU_MILLI = 1_000;

export function cpusetOf(shares: readonly CpuShare[]): Cpuset {
  return cpuset(shares.map(({ cpu }) => cpu));
}

export function formatShares(shares: readonly CpuShare[]): string {
  return shares.length === 0 ? 'no CPUs' : `CPUs ${formatCpuset(cpusetOf(shares))}`;
}

/** Throws INVALID_ARGUMENT when these are not shares, NO_CAPACITY when others' reservations leave no room for them. */
export function requireRoom(
  reservation: Reservation,
  wanted: readonly CpuShare[],
  others: Occupancy,
  topology: Topology,
): void {
  if (wanted.length === 0) throw invalidField('cpus', '[]', 'at least one CPU');
  if (cpusetOf(wanted).length !== wanted.length) throw invalidField('cpus', 'a CPU twice', 'each CPU once');
  const schedulable = new Set(topology.schedulable);
  const had = new Set(reservation.cpus.map(({ cpu }) => cpu));
  for (const { cpu, shareMilli } of wanted) {
    if (!Number.isInteger(shareMilli) || shareMilli < 1 || shareMilli > WHOLE_CPU_MILLI) {
      throw invalidField(`share of CPU ${cpu}`, shareMilli, `thousandths, 1 to ${WHOLE_CPU_MILLI}`);
    }
    if (!schedulable.has(cpu) && !had.has(cpu)) {
      throw noRoom(reservation, `CPU ${cpu} is offline, reserved for housekeeping or not there`);
    }
    const taken = others.milli.get(cpu) ?? 0;
    if (others.exclusive.has(cpu)) throw noRoom(reservation, `CPU ${cpu} is another's alone`);
    if (taken + shareMilli > WHOLE_CPU_MILLI) {
      throw noRoom(
        reservation,
        `CPU ${cpu} has ${WHOLE_CPU_MILLI - taken} thousandths left, not ${shareMilli}`,
      );
    }
    if (!reservation.exclusive) continue;
    for (const sibling of siblingsOf(cpu, topology)) {
      if ((others.milli.get(sibling) ?? 0) > 0)
        throw noRoom(reservation, `CPU ${sibling} is shared with others`);
    }
  }
}

function siblingsOf(cpu: number, topology: Topology): number[] {
  const core = topology.cpus.find((one) => one.cpu === cpu)?.core;
  // A CPU that went away keeps nobody from sharing it.
  if (core === undefined) return [];
  return topology.cpus.filter((one) => one.core === core).map((one) => one.cpu);
}

function noRoom(reservation: Reservation, why: string): CorecastError {
  return new CorecastError('NO_CAPACITY', `reservation ${reservation.id} keeps its CPUs: ${why}`, {
    metadata: { reservation_id: reservation.id },
  });
}
