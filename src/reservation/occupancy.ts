import type { Topology } from '../topology/topology.js';
import { holdsCpus, type Reservation } from './reservation.js';

/** What is reserved of each CPU. CPUs without an entry are free. */
export interface Occupancy {
  /** Thousandths reserved, by CPU. */
  readonly milli: ReadonlyMap<number, number>;
  /** CPUs of exclusive reservations and their SMT siblings: nobody else may share them. */
  readonly exclusive: ReadonlySet<number>;
}

export function occupancyOf(reservations: Iterable<Reservation>, topology: Topology): Occupancy {
  const milli = new Map<number, number>();
  const exclusive = new Set<number>();
  const coreOf = new Map(topology.cpus.map((cpu) => [cpu.cpu, cpu.core]));
  const siblings = new Map<number, number[]>();
  for (const cpu of topology.cpus) siblings.set(cpu.core, [...(siblings.get(cpu.core) ?? []), cpu.cpu]);
  for (const reservation of reservations) {
    if (!holdsCpus(reservation.state)) continue;
    for (const { cpu, shareMilli } of reservation.cpus) {
      milli.set(cpu, (milli.get(cpu) ?? 0) + shareMilli);
      if (!reservation.exclusive) continue;
      for (const sibling of siblings.get(coreOf.get(cpu) ?? -1) ?? [cpu]) exclusive.add(sibling);
    }
  }
  return { milli, exclusive };
}
