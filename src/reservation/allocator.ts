/**
 * Which CPUs a channel gets. A pure function of the topology, of what is reserved, and of the request.
 *
 * A request names one share per CPU it wants, in thousandths of a CPU, busiest first. The rules that always hold:
 *   - no CPU gives more than 1000 in all, and no core more than its capacity: SMT siblings together count as
 *     `smtCoreMilli` (see OccupancyIndex), not as two cores;
 *   - a CPU of an exclusive reservation, and its SMT siblings, are shared with nobody;
 *   - only schedulable CPUs are given: never offline ones, housekeeping ones, or ones this process may not use; and of
 *     those only the ones in the pool of the request's class;
 *   - an exclusive request takes physical cores that are entirely free, as many as hold its shares under the same
 *     rules, and every sibling of each belongs to it. Its shares are then the cores' whole capacity.
 *
 * Among the placements that keep the rules it wants the least score (SCORE in allocator-score.ts): the CPUs it has
 * already, one L3, one NUMA node, the right kind of core, few physical cores, the fullest place it fits. The kind comes
 * before whole cores and fullness, because after them it decides next to nothing: with mixed live and VOD arrivals on 8
 * performance cores and 16 efficiency cores, 77 % of what live channels reserved lay on performance cores, against 47 %.
 *
 * How it looks: level by level (one L3, one node, several nodes), the fullest places first, a branch-and-bound search
 * in each. If none has a placement, one exact search over the whole host decides. With distinct shares and SMT cores of
 * unequal room that question is numerical three-dimensional matching, so it is exponential at worst and has a budget: a
 * Shortfall says whether it proved that nothing fits. Of 3,000 random packings of 26 to 32 shares into 16 SMT cores that
 * had next to nothing else free, it missed 5; with any room to spare, or on cores of one CPU, none.
 */
import { formatCpuset } from '../lib/cpuset.js';
import { invalidField } from '../lib/errors.js';
import type { Topology } from '../topology/topology.js';
import { hostIndex } from './allocator-host.js';
import { OccupancyIndex } from './allocator-occupancy.js';
import { placeInPairs } from './allocator-pairs.js';
import { type Place, placeLevels, placesAround } from './allocator-places.js';
import { SCORE } from './allocator-score.js';
import { PlaceSearch } from './allocator-search.js';
import { explainShortfall, largestRequest, type Shortfall } from './allocator-shortfall.js';
import type { Occupancy } from './occupancy.js';
import type { ChannelClass, CpuShare } from './reservation.js';

export { OccupancyIndex } from './allocator-occupancy.js';
export type { Constraint, Shortfall } from './allocator-shortfall.js';

export interface AllocationRequest {
  /** One entry per CPU wanted, busiest first, each 1 to 1000. */
  readonly sharesMilli: readonly number[];
  readonly exclusive: boolean;
  readonly channelClass: ChannelClass;
  /** Capacity of a core with all SMT siblings busy, thousandths of one CPU alone. */
  readonly smtCoreMilli: number;
  /** CPUs it has now: few threads should move. */
  readonly prefer?: readonly number[];
}

export interface Placement {
  readonly ok: true;
  /** Ascending by CPU. */
  readonly cpus: readonly CpuShare[];
  /** One clause for the operator. */
  readonly why: string;
  readonly score: Readonly<Record<(typeof SCORE)[number], number>>;
}

/** Cores × shares × steps of the exact search; some 50 ms. */
const EXACT_WORK = 2_000_000;
/** A small host is searched for the very best; on a large one each place gets one try and a little more. */
const SMALL_HOST_SLOTS = 16;
const THOROUGH_BUDGET = 2_000;
const REFINE_BUDGET = 32;
/**
 * On a large host: cores × shares that are still looked at once there is a placement. What that costs in quality is
 * measured by bench/fragmentation.mjs.
 */
export const FURTHER_LOOKS = 1_024;

/** `occupancy` may be any Occupancy; an OccupancyIndex of this topology and smtCoreMilli saves the work of indexing. */
export function allocate(
  topology: Topology,
  occupancy: Occupancy,
  request: AllocationRequest,
): Placement | Shortfall {
  const found = place(indexed(topology, occupancy, request.smtCoreMilli), request);
  return found.ok ? found : found.explain();
}

/** No placement, not explained yet: callers that try several requests explain one of them at most. */
export interface Unplaced {
  readonly ok: false;
  /** Call it before the occupancy changes. */
  explain(): Shortfall;
}

/** allocate() on an index, without the explanation. */
export function place(
  index: OccupancyIndex,
  request: AllocationRequest,
  furtherLooks = FURTHER_LOOKS,
): Placement | Unplaced {
  const shares = sortedShares(request.sharesMilli);
  const preferred = preferredSlots(index, request.prefer ?? []);
  const search = new PlaceSearch(index, shares, {
    wholeCores: request.exclusive,
    channelClass: request.channelClass,
    wrongKind: request.channelClass === 'live' ? 1 : 0,
    ...(preferred.size > 0 ? { preferred } : {}),
  });
  const everywhere = index.host.allCores;
  let proved = true;
  const milli = shares.reduce((a, b) => a + b, 0);
  if (milli <= index.freeMilli && search.mayFitCells(index.host.allCells)) {
    const hopeless = !lookByPreference(index, search, shares, preferred, furtherLooks);
    const done = hopeless || search.best !== undefined;
    if (!done && !search.run(everywhere, shares.length, 'bestFit')) {
      proved = lookEverywhere(index, search, shares);
    }
  }
  const placement = placementOf(index, search, shares, request);
  if (placement !== undefined) return placement;
  return { ok: false, explain: () => explainShortfall(index, search, shares, request.exclusive, proved) };
}

/** Whether the empty host could hold it: for a refusal, which says whether waiting helps. */
export function fitsEmptyHost(index: OccupancyIndex, request: AllocationRequest): boolean {
  const empty = index.emptied();
  const shares = sortedShares(request.sharesMilli);
  const { exclusive, channelClass } = request;
  const search = new PlaceSearch(empty, shares, { wholeCores: exclusive, channelClass });
  // Most requests fit one cell of an empty host, any will do; what does not is looked for in earnest.
  const cell = empty.host.allCells.find((one) => search.mayFitCells([one]));
  const cores = cell === undefined ? [] : empty.host.cells[cell]!.cores;
  return search.run(cores, shares.length, 'bestFit') || place(empty, request).ok;
}

/** Resizes or moves a channel: `occupancyWithoutSelf` must not hold its present CPUs. Prefers to stay. */
export function reallocate(
  topology: Topology,
  occupancyWithoutSelf: Occupancy,
  current: readonly CpuShare[],
  request: AllocationRequest,
): Placement | Shortfall {
  return allocate(topology, occupancyWithoutSelf, { ...request, prefer: current.map(({ cpu }) => cpu) });
}

/** Thousandths that the `count` roomiest CPUs of the empty host hold together. */
export function largestOnEmptyHost(
  index: OccupancyIndex,
  count: number,
  { exclusive, channelClass }: Pick<AllocationRequest, 'exclusive' | 'channelClass'>,
): number {
  const empty = index.emptied();
  const search = new PlaceSearch(empty, [1], { wholeCores: exclusive, channelClass });
  return largestRequest(empty, search, count).reduce((a, b) => a + b, 0);
}

/** The occupancy itself when it is an index of this host already. */
export function indexed(topology: Topology, occupancy: Occupancy, smtCoreMilli: number): OccupancyIndex {
  const ready =
    occupancy instanceof OccupancyIndex &&
    occupancy.host === hostIndex(topology) &&
    occupancy.smtCoreMilli === smtCoreMilli;
  return ready ? occupancy : OccupancyIndex.of(topology, occupancy, smtCoreMilli);
}

function placementOf(
  index: OccupancyIndex,
  search: PlaceSearch,
  shares: readonly number[],
  request: AllocationRequest,
): Placement | undefined {
  if (search.best === undefined) return undefined;
  const cpus = request.exclusive
    ? wholeCores(index, search.best)
    : [...search.best].map((slot, i) => ({ cpu: index.host.cpuOf[slot]!, shareMilli: shares[i]! }));
  cpus.sort((a, b) => a.cpu - b.cpu);
  const score = Object.fromEntries(
    SCORE.map((name, k) => [name, search.bestScore[k]!]),
  ) as Placement['score'];
  return { ok: true, cpus, why: why(cpus, score, request), score };
}

function sortedShares(sharesMilli: readonly number[]): number[] {
  if (sharesMilli.length === 0) throw invalidField('sharesMilli', '[]', 'at least one share');
  for (const share of sharesMilli) {
    if (!Number.isInteger(share) || share < 1 || share > 1000) {
      throw invalidField('sharesMilli', share, 'whole thousandths from 1 to 1000');
    }
  }
  return [...sharesMilli].sort((a, b) => b - a);
}

function preferredSlots(index: OccupancyIndex, cpus: readonly number[]): Set<number> {
  const slots = cpus.map((cpu) => index.host.slotOf.get(cpu));
  return new Set(slots.filter((slot) => slot !== undefined));
}

/** False when nothing was found and nothing can be. */
function lookByPreference(
  index: OccupancyIndex,
  search: PlaceSearch,
  shares: readonly number[],
  preferred: ReadonlySet<number>,
  furtherLooks: number,
): boolean {
  const thorough = index.free.length <= SMALL_HOST_SLOTS;
  const budget = thorough ? THOROUGH_BUDGET : shares.length + 4;
  let bestPlace: Place | undefined;
  let possible: boolean | undefined;
  let looks = 0;
  const lookIn = (places: Iterable<Place>) => {
    for (const place of places) {
      if (!thorough && search.best !== undefined) {
        looks += place.length * shares.length;
        if (looks > furtherLooks || isIdeal(index, search, shares)) return;
      }
      if (search.mayFit(place) && search.run(place, budget)) bestPlace = place;
    }
  };
  if (preferred.size > 0) lookIn(placesAround(index, preferred));
  const need = { slots: shares.length, milli: shares.reduce((a, b) => a + b, 0) };
  for (const level of placeLevels(index, need, (cells) => search.mayFitCells(cells))) {
    lookIn(level);
    if (search.best !== undefined) break;
    // Most requests that fail do so by this: asked once, before places are put together that cannot hold it either.
    possible ??= search.mayFit(index.host.allCores);
    if (!possible) return false;
  }
  if (!thorough && bestPlace !== undefined && !isIdeal(index, search, shares))
    search.run(bestPlace, REFINE_BUDGET);
  return true;
}

/** The exact search over the whole host. False when its budget ended before it could tell. */
function lookEverywhere(index: OccupancyIndex, search: PlaceSearch, shares: readonly number[]): boolean {
  const { firstSlot, allCores } = index.host;
  const cores = coresThatMatter(index, search, allCores, shares.length);
  const budget = Math.ceil(EXACT_WORK / (cores.length * shares.length + 1));
  if (cores.some((core) => firstSlot[core + 1]! - firstSlot[core]! > 2)) {
    search.run(cores, budget, 'any');
    return !search.exhausted;
  }
  const { slots, exhausted } = placeInPairs(index, (core) => search.roomOf(core), cores, shares, budget);
  if (slots !== undefined) search.adopt(slots);
  return !exhausted;
}

/** Nothing before l3Free could be better, and places come fullest first, so later ones are at most as good. */
function isIdeal(index: OccupancyIndex, search: PlaceSearch, shares: readonly number[]): boolean {
  const [moved, severalL3s, , , wrongKind, cores] = search.bestScore;
  return moved === 0 && severalL3s === 0 && wrongKind === 0 && cores === index.fewestCores(shares);
}

/**
 * A placement uses at most n cores, so a core with n others at least as good in every respect can be left out: what lies
 * on it could lie on one of those.
 */
function coresThatMatter(index: OccupancyIndex, search: PlaceSearch, cores: Place, n: number): number[] {
  const { host, free } = index;
  const sorted = cores
    .map((core) => ({
      core,
      room: search.roomOf(core),
      cpus: Array.from(free.subarray(host.firstSlot[core]!, host.firstSlot[core + 1]!)).sort((a, b) => b - a),
    }))
    .filter(({ room }) => room > 0)
    .sort((a, b) => b.room - a.room || b.cpus[0]! - a.cpus[0]!);
  const kept: typeof sorted = [];
  for (const one of sorted) {
    let better = 0;
    for (const other of kept) {
      if (one.cpus.every((cpu, k) => cpu <= (other.cpus[k] ?? 0)) && ++better >= n) break;
    }
    if (better < n) kept.push(one);
  }
  return kept.map(({ core }) => core);
}

function wholeCores(index: OccupancyIndex, slots: Int32Array): CpuShare[] {
  const { host, capacity } = index;
  const cpus: CpuShare[] = [];
  for (const core of new Set([...slots].map((slot) => host.coreOf[slot]!))) {
    const first = host.firstSlot[core]!;
    const count = host.firstSlot[core + 1]! - first;
    const shareMilli = Math.floor(capacity[core]! / count);
    for (let slot = first; slot < first + count; slot++) cpus.push({ cpu: host.cpuOf[slot]!, shareMilli });
  }
  return cpus;
}

function why(cpus: readonly CpuShare[], score: Placement['score'], request: AllocationRequest): string {
  const count = (n: number, noun: string) => (n === 1 ? `one ${noun}` : `${n} ${noun}s`);
  const parts = [
    `CPU${cpus.length === 1 ? '' : 's'} ${formatCpuset(cpus.map(({ cpu }) => cpu))}`,
    `on ${count(score.cores, request.exclusive ? 'whole core' : 'core')} of ${count(score.l3s, 'L3')} and ${count(score.nodes, 'NUMA node')}`,
  ];
  if (score.wrongKind > 0) {
    const kind = request.channelClass === 'live' ? 'efficiency' : 'performance';
    parts.push(`(${score.wrongKind} on ${kind} cores, for want of the other kind)`);
  }
  if (request.prefer !== undefined && request.prefer.length > 0) parts.push(`(${score.moved} new to it)`);
  return parts.join(' ');
}
