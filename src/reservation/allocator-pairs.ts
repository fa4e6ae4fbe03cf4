import { mostOfTwo } from './allocator-bounds.js';
import type { OccupancyIndex } from './allocator-occupancy.js';

/**
 * Whether shares fit on cores of at most two CPUs at all, and where: the last word when no preferred place had room.
 *
 * The largest share left must lie on some core. Whichever it is, the core's other CPU may as well take the largest share
 * that still fits there: in any placement where it holds a smaller one (or none), the two can be swapped, for the smaller
 * fits wherever the larger was. So each step only chooses a core, and closes it. Of cores on which that second share
 * would be the same, one that is no better than another in any respect is used first and the better one kept.
 *
 * Steps that waste least of a core are tried first. A branch ends when the cores left cannot take what is left, even if
 * each held the two shares that fill it best.
 */
export function placeInPairs(
  occupancy: OccupancyIndex,
  roomOf: (core: number) => number,
  coreNumbers: readonly number[],
  shares: readonly number[],
  budget: number,
): { slots: Int32Array | undefined; exhausted: boolean } {
  const cores = coreNumbers.map((core) => openCore(occupancy, core, roomOf(core)));
  const search: Search = {
    shares,
    cores,
    closed: new Set(),
    slots: new Int32Array(shares.length),
    steps: budget,
  };
  const everything = shares.map((_, i) => i);
  const found = step(search, everything);
  return { slots: found ? search.slots : undefined, exhausted: !found && search.steps <= 0 };
}

interface OpenCore {
  readonly room: number;
  /** Its roomier CPU and its other one, and what is free of them; -1 and 0 when there is no other. */
  readonly largeSlot: number;
  readonly smallSlot: number;
  readonly large: number;
  readonly small: number;
}

interface Search {
  readonly shares: readonly number[];
  readonly cores: readonly OpenCore[];
  readonly closed: Set<OpenCore>;
  readonly slots: Int32Array;
  steps: number;
}

interface Choice {
  readonly core: OpenCore;
  /** Position in the list of what is left; -1 when nothing fits beside the first. */
  readonly second: number;
  readonly waste: number;
}

function openCore({ host, free }: OccupancyIndex, core: number, room: number): OpenCore {
  const first = host.firstSlot[core]!;
  const other = host.firstSlot[core + 1]! - first > 1 ? first + 1 : -1;
  const swap = other >= 0 && free[other]! > free[first]!;
  const [largeSlot, smallSlot] = swap ? [other, first] : [first, other];
  return { room, largeSlot, smallSlot, large: free[largeSlot]!, small: smallSlot < 0 ? 0 : free[smallSlot]! };
}

/** `left` are the shares not yet placed, by index, largest first. */
function step(search: Search, left: readonly number[]): boolean {
  if (left.length === 0) return true;
  if (!canHold(search, left)) return false;
  for (const { core, second } of choices(search, left)) {
    if (search.steps-- <= 0) return false;
    const share = search.shares[left[0]!]!;
    // The tighter CPU that fits, so that the roomier one is there for the second share.
    const tight = share <= core.small;
    search.slots[left[0]!] = tight ? core.smallSlot : core.largeSlot;
    if (second >= 0) search.slots[left[second]!] = tight ? core.largeSlot : core.smallSlot;
    search.closed.add(core);
    const rest = left.filter((_, position) => position !== 0 && position !== second);
    if (step(search, rest)) return true;
    search.closed.delete(core);
  }
  return false;
}

function choices({ shares, cores, closed }: Search, left: readonly number[]): Choice[] {
  const share = shares[left[0]!]!;
  const bySecond = new Map<number, Choice[]>();
  for (const core of cores) {
    if (closed.has(core) || core.room < share || core.large < share) continue;
    const beside = share <= core.small ? core.large : core.small;
    const second = largestAtMost(shares, left, 1, Math.min(beside, core.room - share));
    const value = second < 0 ? 0 : shares[left[second]!]!;
    const waste = Math.min(core.room, core.large + core.small) - share - value;
    const rivals = bySecond.get(value) ?? [];
    if (rivals.some((rival) => noBetter(rival.core, core))) continue;
    bySecond.set(value, [...rivals.filter((rival) => !noBetter(core, rival.core)), { core, second, waste }]);
  }
  return [...bySecond.values()].flat().sort((a, b) => a.waste - b.waste || a.core.room - b.core.room);
}

function noBetter(a: OpenCore, b: OpenCore): boolean {
  return a.room <= b.room && a.large <= b.large && a.small <= b.small;
}

/** Position from `from` on of the largest share of at most `limit`, or -1. */
function largestAtMost(
  shares: readonly number[],
  left: readonly number[],
  from: number,
  limit: number,
): number {
  let low = from;
  let high = left.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (shares[left[middle]!]! <= limit) high = middle;
    else low = middle + 1;
  }
  return low < left.length ? low : -1;
}

/** Whether the open cores could take what is left if each held the two shares that fill it best. */
function canHold({ shares, cores, closed }: Search, left: readonly number[]): boolean {
  const values = left.map((i) => shares[i]!);
  let missing = values.reduce((a, b) => a + b, 0);
  for (const core of cores) if (!closed.has(core)) missing -= mostOfTwo(values, 0, core);
  return missing <= 0;
}
