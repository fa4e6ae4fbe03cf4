import type { HostIndex } from './allocator-host.js';
import type { OccupancyIndex } from './allocator-occupancy.js';

/** Up to this many cells or nodes, every combination is offered; beyond, the emptiest or nearest ones together. */
const COMBINE_ALL = 6;
/** On hosts with more nodes: the emptiest ones from which near nodes are added. */
const SEEDS = 4;

/** One part of the host to look in: its cores. */
export type Place = readonly number[];

/** What a request needs at the least: places with less are not offered. */
export interface Need {
  readonly slots: number;
  readonly milli: number;
}

/** A quick test of some cells that says no only where nothing can be placed. */
export type MayFit = (cells: readonly number[]) => boolean;

/**
 * The places worth looking in, as levels in the order of preference. Any placement of an earlier level is better than
 * any of a later one. Within a level the fullest place comes first, and a caller that has found what it wants may stop.
 */
export function* placeLevels(
  occupancy: OccupancyIndex,
  need: Need,
  mayFit: MayFit,
): Generator<Iterable<Place>> {
  const { host } = occupancy;
  yield oneCell(occupancy, need, mayFit);
  yield oneL3(occupancy, need, mayFit);
  yield oneNode(occupancy, need, mayFit);
  if (host.nodeCells.length > 1) yield severalNodes(occupancy, need, mayFit);
}

/** For a request that wants to stay where it is: its own cells, its own nodes, and the whole host. */
export function* placesAround(occupancy: OccupancyIndex, preferred: Iterable<number>): Generator<Place> {
  const { host } = occupancy;
  const cells = new Set<number>();
  for (const slot of preferred) cells.add(host.cellOf[host.coreOf[slot]!]!);
  const near = new Set([...cells].flatMap((cell) => host.nodeCells[host.cells[cell]!.node]!));
  yield coresOf(host, [...cells]);
  if (near.size > cells.size) yield coresOf(host, [...near]);
  if (host.cells.length > near.size) yield host.allCores;
}

function* oneCell(occupancy: OccupancyIndex, need: Need, mayFit: MayFit): Generator<Place> {
  const { host, cellFree } = occupancy;
  const enough: number[] = [];
  for (let cell = 0; cell < cellFree.length; cell++) {
    if (cellFree[cell]! < need.milli || host.cells[cell]!.slots < need.slots) continue;
    if (mayFit([cell])) enough.push(cell);
  }
  for (const cell of fullestFirst(enough, (number) => cellFree[number]!)) yield host.cells[cell]!.cores;
}

/** L3s that NUMA nodes divide. */
function* oneL3(occupancy: OccupancyIndex, need: Need, mayFit: MayFit): Generator<Place> {
  const divided = occupancy.host.l3Cells.filter(
    (cells) => cells.length > 1 && suffice(occupancy, cells, need) && mayFit(cells),
  );
  for (const cells of fullestFirst(divided, (members) => freeOf(occupancy, members))) {
    yield coresOf(occupancy.host, cells);
  }
}

function* oneNode(occupancy: OccupancyIndex, need: Need, mayFit: MayFit): Generator<Place> {
  const { host, cellFree } = occupancy;
  const divided = host.nodeCells.filter(
    (cells) => cells.length > 1 && suffice(occupancy, cells, need) && mayFit(cells),
  );
  for (const cells of fullestFirst(divided, (members) => freeOf(occupancy, members))) {
    const emptiestFirst = [...cells].sort((a, b) => cellFree[b]! - cellFree[a]!);
    const groups = combinations(emptiestFirst, mayFit);
    for (const chosen of groups) if (suffice(occupancy, chosen, need)) yield coresOf(host, chosen);
  }
}

/** Few nodes before many, and near ones before far ones. */
function* severalNodes(occupancy: OccupancyIndex, need: Need, mayFit: MayFit): Generator<Place> {
  const { host } = occupancy;
  const nodes = host.nodeCells.map((_, node) => node);
  const cellsOf = (chosen: readonly number[]) => joined(chosen.map((node) => host.nodeCells[node]!));
  const emptiest = fullestFirst(nodes, (node) => -freeOf(occupancy, cellsOf([node])));
  const seeds = nodes.length <= COMBINE_ALL ? nodes.slice(0, 1) : emptiest.slice(0, SEEDS);
  const candidates = seeds.flatMap((seed) => {
    const nearestFirst = [...nodes].sort((a, b) => distance(host, seed, a) - distance(host, seed, b));
    return [...combinations(nearestFirst, (chosen) => mayFit(cellsOf(chosen)))];
  });
  const nearFirst = distinct(candidates)
    .map((chosen) => ({ span: spanOf(host, chosen), size: chosen.length, cells: cellsOf(chosen) }))
    .filter(({ cells }) => suffice(occupancy, cells, need))
    .sort((a, b) => a.size - b.size || a.span - b.span);
  for (const { cells } of nearFirst) yield coresOf(host, cells);
}

/**
 * Groups of two or more, small ones first: all of them where there are few members. Of many, the first k in their order,
 * for the least k that may do, for the next two, and for all.
 */
function* combinations(
  members: readonly number[],
  mayDo: (chosen: readonly number[]) => boolean,
): Generator<readonly number[]> {
  if (members.length <= COMBINE_ALL) {
    const subsets: number[][] = [];
    for (let bits = 1; bits < 1 << members.length; bits++) {
      const subset = members.filter((_, i) => (bits >> i) & 1);
      if (subset.length > 1) subsets.push(subset);
    }
    yield* subsets.sort((a, b) => a.length - b.length);
    return;
  }
  if (!mayDo(members)) return;
  let tooFew = 1;
  let enough = members.length;
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (mayDo(members.slice(0, middle))) enough = middle;
    else tooFew = middle;
  }
  for (let k = enough; k < Math.min(enough + 3, members.length); k++) yield members.slice(0, k);
  yield members;
}

/** Different seeds come to the same groups. */
function distinct(groups: readonly (readonly number[])[]): (readonly number[])[] {
  return [...new Map(groups.map((group) => [[...group].sort((a, b) => a - b).join(), group])).values()];
}

function fullestFirst<T>(places: T[], free: (place: T) => number): T[] {
  return places
    .map((place) => ({ place, free: free(place) }))
    .sort((a, b) => a.free - b.free)
    .map(({ place }) => place);
}

function suffice(occupancy: OccupancyIndex, cells: readonly number[], need: Need): boolean {
  let slots = 0;
  for (const cell of cells) slots += occupancy.host.cells[cell]!.slots;
  return slots >= need.slots && freeOf(occupancy, cells) >= need.milli;
}

function freeOf(occupancy: OccupancyIndex, cells: readonly number[]): number {
  let free = 0;
  for (const cell of cells) free += occupancy.cellFree[cell]!;
  return free;
}

function coresOf(host: HostIndex, cells: readonly number[]): number[] {
  return joined(cells.map((cell) => host.cells[cell]!.cores));
}

function spanOf(host: HostIndex, nodes: readonly number[]): number {
  let span = 0;
  for (const a of nodes) for (const b of nodes) span += distance(host, a, b);
  return span;
}

/** flat(), ten times as fast. */
function joined(lists: readonly (readonly number[])[]): number[] {
  return ([] as number[]).concat(...lists);
}

const UNKNOWN_DISTANCE = 20;

function distance(host: HostIndex, a: number, b: number): number {
  const from = host.topology.distance.get(host.nodeNumber[a]!);
  return from?.get(host.nodeNumber[b]!) ?? (a === b ? 0 : UNKNOWN_DISTANCE);
}
