import type { Occupancy } from '../../src/reservation/occupancy.js';
import type { ChannelClass } from '../../src/reservation/reservation.js';
import type { Cpu, Topology } from '../../src/topology/topology.js';

export interface BruteRequest {
  readonly sharesMilli: readonly number[];
  readonly exclusive: boolean;
  readonly channelClass: ChannelClass;
  readonly smtCoreMilli: number;
  readonly prefer?: readonly number[];
}

/** Every assignment of shares to CPUs, tried one by one: the least score, or undefined when none keeps the rules. */
export function bruteForce(
  topology: Topology,
  occupancy: Occupancy,
  request: BruteRequest,
): number[] | undefined {
  const shares = [...request.sharesMilli].sort((a, b) => b - a);
  const schedulable = new Set(topology.schedulable);
  const cpus = topology.cpus.filter(({ cpu }) => schedulable.has(cpu));
  const pool = topology.pools && coresIn(topology, new Set(topology.pools[request.channelClass]));
  const free = new Map(cpus.map((cpu) => [cpu.cpu, freeOf(cpu, occupancy)]));
  const room = new Map<number, number>();
  for (const { core } of cpus) room.set(core, roomOf(core, topology, occupancy, request));
  const base = new Map([...room.keys()].map((core) => [core, baseRoom(core, topology, occupancy, request)]));
  const coreFree = new Map(
    [...base].map(([core, left]) => [core, Math.min(left, sumFree(core, cpus, free))]),
  );
  const chosen: Cpu[] = [];
  const used = new Map<number, number>();
  let best: number[] | undefined;

  const place = (i: number): void => {
    if (i === shares.length) {
      const score = scoreOf(chosen, cpus, coreFree, free, request);
      if (best === undefined || less(score, best)) best = score;
      return;
    }
    for (const cpu of cpus) {
      if (pool?.has(cpu.core) === false) continue;
      if (chosen.includes(cpu) || free.get(cpu.cpu)! < shares[i]!) continue;
      const after = (used.get(cpu.core) ?? 0) + shares[i]!;
      if (after > room.get(cpu.core)!) continue;
      used.set(cpu.core, after);
      chosen.push(cpu);
      place(i + 1);
      chosen.pop();
      used.set(cpu.core, after - shares[i]!);
    }
  };
  place(0);
  return best;
}

/** A core is in a pool with all of its CPUs that can be reserved. */
function coresIn({ cpus, schedulable }: Topology, pool: ReadonlySet<number>): Set<number> {
  const out = cpus.filter(({ cpu }) => schedulable.includes(cpu) && !pool.has(cpu)).map(({ core }) => core);
  return new Set(cpus.map(({ core }) => core).filter((core) => !out.includes(core)));
}

function freeOf(cpu: Cpu, occupancy: Occupancy): number {
  return occupancy.exclusive.has(cpu.cpu) ? 0 : Math.max(0, 1000 - (occupancy.milli.get(cpu.cpu) ?? 0));
}

function sumFree(core: number, cpus: readonly Cpu[], free: ReadonlyMap<number, number>): number {
  return cpus.filter((cpu) => cpu.core === core).reduce((sum, { cpu }) => sum + free.get(cpu)!, 0);
}

function baseRoom(core: number, topology: Topology, occupancy: Occupancy, request: BruteRequest): number {
  const members = topology.cpus.filter((cpu) => cpu.core === core);
  const usable = members.filter(({ cpu }) => topology.schedulable.includes(cpu));
  if (usable.some(({ cpu }) => occupancy.exclusive.has(cpu))) return 0;
  const taken = usable.reduce((sum, { cpu }) => sum + (occupancy.milli.get(cpu) ?? 0), 0);
  return Math.max(0, capacityOf(usable.length, members.length, request.smtCoreMilli) - taken);
}

function roomOf(core: number, topology: Topology, occupancy: Occupancy, request: BruteRequest): number {
  const room = baseRoom(core, topology, occupancy, request);
  if (!request.exclusive) return room;
  const members = topology.cpus.filter((cpu) => cpu.core === core);
  const usable = members.filter(({ cpu }) => topology.schedulable.includes(cpu));
  const whole = members.every(({ cpu, online }) => !online || topology.schedulable.includes(cpu));
  const untouched = usable.every(({ cpu }) => (occupancy.milli.get(cpu) ?? 0) === 0);
  return whole && untouched ? room : 0;
}

export function capacityOf(usable: number, siblings: number, smtCoreMilli: number): number {
  return usable <= 1 ? 1000 : Math.floor(1000 + ((smtCoreMilli - 1000) * (usable - 1)) / (siblings - 1));
}

function scoreOf(
  chosen: readonly Cpu[],
  cpus: readonly Cpu[],
  coreFree: ReadonlyMap<number, number>,
  free: ReadonlyMap<number, number>,
  request: BruteRequest,
): number[] {
  const hybrid = new Set(cpus.map(({ kind }) => kind)).size > 1;
  const wrong = request.channelClass === 'live' ? 'efficiency' : 'performance';
  const l3s = new Set(chosen.map(({ l3 }) => l3));
  const cores = new Set(chosen.map(({ core }) => core));
  const coresOfL3s = new Set(cpus.filter(({ l3 }) => l3s.has(l3)).map(({ core }) => core));
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0);
  const prefer = (request.prefer ?? []).filter((cpu) => cpus.some((other) => other.cpu === cpu));
  return [
    prefer.length === 0 ? 0 : chosen.filter(({ cpu }) => !prefer.includes(cpu)).length,
    l3s.size > 1 ? 1 : 0,
    new Set(chosen.map(({ node }) => node)).size,
    l3s.size,
    hybrid ? chosen.filter(({ kind }) => kind === wrong).length : 0,
    cores.size,
    sum([...coresOfL3s].map((core) => coreFree.get(core)!)),
    sum([...cores].map((core) => coreFree.get(core)!)),
    sum(chosen.map(({ cpu }) => free.get(cpu)!)),
  ];
}

function less(a: readonly number[], b: readonly number[]): boolean {
  for (const [k, value] of a.entries()) if (value !== b[k]) return value < b[k]!;
  return false;
}
