/**
 * Where channels run that share their CPUs: each may use all CPUs of a segment that are open, a little of each. Pure.
 *
 * A segment is as many CPUs as share well: neighbours of one NUMA node and one kind, whole L3s together, at most `most`. A
 * core of it is open while part of it is taken. A newcomer gets every open core, and further ones only as it needs them,
 * beside those that are open: so whole cores stay free for VOD and for exclusive reservations as long as they can. Its
 * thousandths lie on those CPUs in proportion to what is free of each, which levels them.
 */

import type { HostIndex } from './allocator-host.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import { milliOf } from './cpu-shares.js';
import type { CpuShare } from './reservation.js';

export interface Segment {
  readonly number: number;
  /** Neighbours next to each other. */
  readonly cores: readonly number[];
  /** Of the kind that live channels prefer. */
  readonly preferred: boolean;
}

export interface Segments {
  readonly all: readonly Segment[];
  /** Segment by core; -1 where live may not run. */
  readonly ofCore: Int32Array;
}

export interface SpreadRequest {
  /** Thousandths in all. */
  readonly milli: number;
  /** Thousandths that the CPUs must have free, `milli` or more. */
  readonly roomMilli: number;
  /** CPUs at the least. */
  readonly cpus: number;
}

const known = new WeakMap<HostIndex, Map<number, Segments>>();

/** For live channels; `most` is the number of CPUs of the largest segment, unless one core has more. */
export function segmentsOf(host: HostIndex, most: number): Segments {
  const byWidth = known.get(host) ?? new Map<number, Segments>();
  known.set(host, byWidth);
  const ready = byWidth.get(most);
  if (ready !== undefined) return ready;
  const made = divide(host, most);
  byWidth.set(most, made);
  return made;
}

/** The segment of a reservation: that of its first CPU; -1 when that is none of the segments'. */
export function segmentOf(host: HostIndex, { ofCore }: Segments, cpus: readonly CpuShare[]): number {
  const slot = cpus[0] === undefined ? undefined : host.slotOf.get(cpus[0].cpu);
  return slot === undefined ? -1 : ofCore[host.coreOf[slot]!]!;
}

export function freeIn({ coreFree }: OccupancyIndex, { cores }: Segment): number {
  let free = 0;
  for (const core of cores) free += coreFree[core]!;
  return free;
}

/** Thousandths of the empty segment. */
export function capacityOf({ capacity }: OccupancyIndex, { cores }: Segment): number {
  let milli = 0;
  for (const core of cores) milli += capacity[core]!;
  return milli;
}

/** Undefined where the segment has too little. `among`: only these of its cores. */
export function spreadOver(
  index: OccupancyIndex,
  { cores }: Pick<Segment, 'cores'>,
  request: SpreadRequest,
): readonly CpuShare[] | undefined {
  const { coreFree, capacity } = index;
  const chosen = cores.filter((core) => coreFree[core]! > 0 && coreFree[core]! < capacity[core]!);
  let free = chosen.reduce((sum, core) => sum + coreFree[core]!, 0);
  let cpus = chosen.reduce((sum, core) => sum + usableOf(index, core), 0);
  for (const core of nearest(index.host, cores, chosen)) {
    if (free >= request.roomMilli && cpus >= request.cpus) break;
    if (coreFree[core]! < capacity[core]! || coreFree[core] === 0) continue;
    chosen.push(core);
    free += coreFree[core]!;
    cpus += usableOf(index, core);
  }
  if (free < request.milli || cpus < request.cpus) return undefined;
  return inProportion(index, chosen, request.milli, free);
}

/** In the fullest segment that has room, one of the right kind before another. */
export function spreadAnywhere(
  index: OccupancyIndex,
  most: number,
  request: SpreadRequest,
): readonly CpuShare[] | undefined {
  for (const segment of fullestFirst(index, segmentsOf(index.host, most))) {
    const cpus = spreadOver(index, segment, request);
    if (cpus !== undefined) return cpus;
  }
  return undefined;
}

export function fullestFirst(index: OccupancyIndex, { all }: Segments): readonly Segment[] {
  return all
    .map((segment) => ({ segment, free: freeIn(index, segment) }))
    .sort((a, b) => Number(b.segment.preferred) - Number(a.segment.preferred) || a.free - b.free)
    .map(({ segment }) => segment);
}

/** The same CPUs with so much in all, each with its part; fewer CPUs where there are fewer thousandths. */
export function scaled(cpus: readonly CpuShare[], milli: number): readonly CpuShare[] {
  const before = milliOf(cpus);
  let [passed, given] = [0, 0];
  const after: CpuShare[] = [];
  for (const { cpu, shareMilli } of cpus) {
    passed += shareMilli;
    const share = Math.round((milli * passed) / before) - given;
    given += share;
    if (share > 0) after.push({ cpu, shareMilli: share });
  }
  return after;
}

function divide(host: HostIndex, most: number): Segments {
  const ofCore = new Int32Array(host.siblings.length).fill(-1);
  const all: { number: number; cores: number[]; preferred: boolean }[] = [];
  const pool = host.pools?.live;
  for (const cells of host.nodeCells) {
    for (const efficient of [0, 1]) {
      let segment: { number: number; cores: number[]; preferred: boolean } | undefined;
      let cpus = 0;
      for (const cell of cells) {
        const cores = host.cells[cell]!.cores.filter(
          (core) => host.efficient[core] === efficient && (pool === undefined || pool[core] === 1),
        );
        const ofCell = cores.reduce((sum, core) => sum + slotsOf(host, core), 0);
        // An L3 is divided only when it is too large by itself.
        if (cpus + ofCell > most) segment = undefined;
        for (const core of cores) {
          if (segment === undefined || cpus + slotsOf(host, core) > most) {
            segment = { number: all.length, cores: [], preferred: !host.hybrid || efficient === 0 };
            all.push(segment);
            cpus = 0;
          }
          segment.cores.push(core);
          ofCore[core] = segment.number;
          cpus += slotsOf(host, core);
        }
      }
    }
  }
  return { all, ofCore };
}

/** Cores of cells in which something is open first. */
function nearest(host: HostIndex, cores: readonly number[], open: readonly number[]): readonly number[] {
  const cells = new Set(open.map((core) => host.cellOf[core]!));
  if (cells.size === 0) return cores;
  return [
    ...cores.filter((core) => cells.has(host.cellOf[core]!)),
    ...cores.filter((core) => !cells.has(host.cellOf[core]!)),
  ];
}

function inProportion(
  { host, free, coreFree }: OccupancyIndex,
  cores: readonly number[],
  milli: number,
  sum: number,
): readonly CpuShare[] {
  const shares: CpuShare[] = [];
  let [passed, given] = [0, 0];
  for (const core of cores) {
    const first = host.firstSlot[core]!;
    const end = host.firstSlot[core + 1]!;
    let open = 0;
    for (let slot = first; slot < end; slot++) open += free[slot]!;
    let ofCore = 0;
    let left = coreFree[core]!;
    for (let slot = first; slot < end; slot++) {
      // Of two siblings that are freer than their core each counts with its part.
      ofCore += free[slot]!;
      const upTo = passed + (coreFree[core]! * ofCore) / open;
      const wanted = Math.round((milli * upTo) / sum + DUST) - given;
      const shareMilli = Math.min(wanted, free[slot]!, left);
      if (shareMilli <= 0) continue;
      shares.push({ cpu: host.cpuOf[slot]!, shareMilli });
      given += shareMilli;
      left -= shareMilli;
    }
    passed += coreFree[core]!;
  }
  return shares.sort((a, b) => a.cpu - b.cpu);
}

/** So that a half is always rounded the same way. */
const DUST = 1e-9;

function slotsOf({ firstSlot }: HostIndex, core: number): number {
  return firstSlot[core + 1]! - firstSlot[core]!;
}

/** CPUs of an open or free core that can take anything. */
function usableOf({ host, free }: OccupancyIndex, core: number): number {
  let usable = 0;
  for (let slot = host.firstSlot[core]!; slot < host.firstSlot[core + 1]!; slot++)
    if (free[slot]! > 0) usable++;
  return usable;
}
