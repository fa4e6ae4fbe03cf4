import { type Cpuset, cpuset, formatCpuset } from '../lib/cpuset.js';
import { CorecastError, invalidField } from '../lib/errors.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { CpuShare, Reservation } from './reservation.js';

export const WHOLE_CPU_MILLI = 1_000;

export function cpusetOf(shares: readonly CpuShare[]): Cpuset {
  return cpuset(shares.map(({ cpu }) => cpu));
}

export function milliOf(shares: readonly CpuShare[]): number {
  return shares.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
}

export function formatShares(shares: readonly CpuShare[]): string {
  return shares.length === 0 ? 'no CPUs' : `CPUs ${formatCpuset(cpusetOf(shares))}`;
}

/**
 * Throws INVALID_ARGUMENT when these are not shares, NO_CAPACITY when others' reservations leave no room for them.
 * What it has already it may keep, also where there is too much now: a CPU that went away, a core that counts less.
 */
export function requireRoom(
  reservation: Reservation,
  wanted: readonly CpuShare[],
  others: OccupancyIndex,
): void {
  requireShares(wanted);
  const { slotOf, coreOf } = others.host;
  const had = new Map(reservation.cpus.map(({ cpu, shareMilli }) => [cpu, shareMilli]));
  const cores = new Map<number, { wanted: number; had: number }>();
  for (const { cpu, shareMilli } of wanted) {
    const before = had.get(cpu) ?? 0;
    const slot = slotOf.get(cpu);
    if (slot === undefined) {
      if (shareMilli <= before) continue;
      throw noRoom(reservation, `CPU ${cpu} is offline, set aside or not there`);
    }
    if (shareMilli > Math.max(before, others.free[slot]!)) {
      throw noRoom(reservation, `CPU ${cpu} has ${others.free[slot]} thousandths left, not ${shareMilli}`);
    }
    const core = cores.get(coreOf[slot]!) ?? { wanted: 0, had: 0 };
    cores.set(coreOf[slot]!, { wanted: core.wanted + shareMilli, had: core.had + before });
  }
  for (const [core, sum] of cores) {
    if (sum.wanted > Math.max(sum.had, others.room[core]!)) {
      throw noRoom(reservation, `a core has ${others.room[core]} thousandths left, not ${sum.wanted}`);
    }
    if (reservation.exclusive && sum.had === 0 && others.room[core] !== others.capacity[core]) {
      throw noRoom(reservation, 'it is exclusive, and others are on one of these cores');
    }
  }
}

/**
 * What each of some reservations counts for while they all change their CPUs in one write, from `old` to `now`: the new
 * shares, and of the old ones what nobody of them has got and fits the CPU beside all that is `taken` now (theirs
 * included). So no CPU is counted above 1000, and none looks free that is not.
 */
export function heldMeanwhile(
  changes: readonly { readonly old: readonly CpuShare[]; readonly now: readonly CpuShare[] }[],
  taken: (cpu: number) => number,
): CpuShare[][] {
  const slack = new Map<number, number>();
  const add = (cpu: number, milli: number) =>
    slack.set(cpu, (slack.get(cpu) ?? WHOLE_CPU_MILLI - taken(cpu)) + milli);
  for (const { old, now } of changes) {
    for (const { cpu, shareMilli } of old) add(cpu, shareMilli);
    for (const { cpu, shareMilli } of now) add(cpu, -shareMilli);
  }
  return changes.map(({ old, now }) => {
    const held = new Map(now.map(({ cpu, shareMilli }) => [cpu, shareMilli]));
    for (const { cpu, shareMilli } of old) {
      const rest = Math.max(0, Math.min(shareMilli - (held.get(cpu) ?? 0), slack.get(cpu)!));
      slack.set(cpu, slack.get(cpu)! - rest);
      held.set(cpu, (held.get(cpu) ?? 0) + rest);
    }
    return [...held].filter(([, milli]) => milli > 0).map(([cpu, shareMilli]) => ({ cpu, shareMilli }));
  });
}

function requireShares(wanted: readonly CpuShare[]): void {
  if (wanted.length === 0) throw invalidField('cpus', '[]', 'at least one CPU');
  if (cpusetOf(wanted).length !== wanted.length) throw invalidField('cpus', 'a CPU twice', 'each CPU once');
  for (const { cpu, shareMilli } of wanted) {
    if (Number.isInteger(shareMilli) && shareMilli >= 1 && shareMilli <= WHOLE_CPU_MILLI) continue;
    throw invalidField(`share of CPU ${cpu}`, shareMilli, `thousandths, 1 to ${WHOLE_CPU_MILLI}`);
  }
}

function noRoom(reservation: Reservation, why: string): CorecastError {
  return new CorecastError('NO_CAPACITY', `reservation ${reservation.id} keeps its CPUs: ${why}`, {
    metadata: { reservation_id: reservation.id },
  });
}
