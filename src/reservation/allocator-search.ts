import { mayHold, type SearchState } from './allocator-bounds.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import { RunningScore, SCORE } from './allocator-score.js';
import type { ChannelClass } from './reservation.js';

/** Radixes of the order in which slots are tried; their product stays below 2^53. */
const SLOT_RADIX = 65_536;
const FREE_RADIX = 1_024;
const ROOM_RADIX = 65_536;
const HOLDS_RADIX = 16;

/**
 * Depth-first branch and bound over "which CPU does the next largest share get". It keeps the best placement it has
 * seen across every place it was run on. It is exact while its budget of steps lasts:
 *   - of CPUs on one core only the fullest that fits need be tried (swapping it with a later, smaller share is no loss);
 *   - cores of one cell with the same room, CPUs and preference stand for each other;
 *   - a set of CPUs taken for the same number of shares need be looked at once.
 * The order in which it tries makes the first placement found a good one: preferred CPUs, the node, cell and core it
 * already uses, the right kind, cores that hold more of what is left, and of those the fullest.
 */
export class PlaceSearch {
  /** Slots of the best placement, in the order of the shares; undefined while there is none. */
  best: Int32Array | undefined;
  readonly bestScore = new Float64Array(SCORE.length).fill(Number.POSITIVE_INFINITY);
  /** By core, 1: may be looked at; undefined for all. */
  readonly pool: Uint8Array | undefined;
  /** The budget of the last run() ended before its search did. */
  exhausted = false;

  readonly #occupancy: OccupancyIndex;
  readonly #shares: readonly number[];
  readonly #preferred: ReadonlySet<number> | undefined;
  readonly #wholeCores: boolean;
  readonly #room: Int32Array;
  readonly #taken: Uint8Array;
  readonly #slots: Int32Array;
  readonly #score: RunningScore;
  readonly #state: SearchState;
  #cores: readonly number[] = [];
  #steps = 0;
  #proving = false;
  #anyWillDo = false;
  #bestFit = false;
  #seen = new Set<string>();

  /**
   * `shares` descending. `wrongKind` is the value of HostIndex.efficient to avoid. `wholeCores` looks only at cores that
   * are entirely free and can be owned whole.
   */
  constructor(
    occupancy: OccupancyIndex,
    shares: readonly number[],
    options: {
      preferred?: ReadonlySet<number>;
      wrongKind?: 0 | 1;
      wholeCores: boolean;
      /** Looks only at cores of this class's pool. */
      channelClass: ChannelClass;
    },
  ) {
    const { host } = occupancy;
    this.#occupancy = occupancy;
    this.#shares = shares;
    this.#preferred = options.preferred;
    this.#wholeCores = options.wholeCores;
    this.#room = options.wholeCores ? wholeCoreRoom(occupancy) : occupancy.room.slice();
    this.pool = host.pools?.[options.channelClass];
    for (let core = 0; this.pool !== undefined && core < this.pool.length; core++) {
      if (this.pool[core] === 0) this.#room[core] = 0;
    }
    this.#taken = new Uint8Array(host.cpuOf.length);
    this.#slots = new Int32Array(shares.length);
    this.#score = new RunningScore(occupancy, options.preferred, options.wrongKind);
    this.#state = { occupancy, shares, room: this.#room, taken: this.#taken };
  }

  /**
   * Looks for a better placement on these cores, or just for any; at most `budget` steps. 'bestFit' tries the tightest
   * core first, whatever else speaks for another. True when it found one.
   */
  run(cores: readonly number[], budget: number, wanted: 'better' | 'any' | 'bestFit' = 'better'): boolean {
    const before = this.best;
    const least = this.#shares[this.#shares.length - 1]!;
    this.#cores = cores.filter((core) => this.#room[core]! >= least);
    this.#steps = budget;
    this.#proving = false;
    this.#anyWillDo = wanted !== 'better';
    this.#bestFit = wanted === 'bestFit';
    this.exhausted = false;
    this.#seen.clear();
    this.#step(0);
    return this.best !== before;
  }

  /** Takes a placement found elsewhere, slots in the order of the shares, as the best. */
  adopt(slots: Int32Array): void {
    for (const [i, slot] of slots.entries()) this.#take(i, slot);
    this.best = slots.slice();
    this.bestScore.set(this.#score.values);
    for (const [i, slot] of slots.entries()) this.#give(i, slot);
  }

  /** Room of a core as this search sees it. */
  roomOf(core: number): number {
    return this.#room[core]!;
  }

  /** mayFit() of whole cells, from sums: quick, and says no less often. */
  mayFitCells(cells: readonly number[]): boolean {
    return this.#occupancy.bounds.mayHold(cells, this.#shares, this.#wholeCores);
  }

  /** False when no placement of the shares from `from` on can exist. Never false where one does. */
  mayFit(cores: readonly number[], from = 0): boolean {
    return mayHold(this.#state, cores, from);
  }

  /** Places share i and all after it. True when the search is over. */
  #step(i: number): boolean {
    if (i === this.#shares.length) {
      this.best = this.#slots.slice();
      this.bestScore.set(this.#score.values);
      return this.#anyWillDo;
    }
    if (this.#proving && this.#wasSeen(i)) return false;
    // Once there is a placement the score alone prunes better than this does.
    if (this.#proving && this.best === undefined && !this.mayFit(this.#cores, i)) return false;
    const tried: number[] = [];
    let after = -1;
    for (;;) {
      const key = this.#next(i, after, tried);
      if (key === Number.POSITIVE_INFINITY) return false;
      if (this.#steps-- <= 0) {
        this.exhausted = true;
        return true;
      }
      after = key;
      const slot = key % SLOT_RADIX;
      this.#take(i, slot);
      // No number of the score falls as CPUs are added, so a branch no better than the best can be left.
      const over = this.#score.isBetterThan(this.bestScore) && this.#step(i + 1);
      this.#give(i, slot);
      if (over) return true;
      this.#proving = true;
      tried.push(slot);
    }
  }

  /** The key of the next slot to try for share i; keys ascend in the order of trying and end in the slot. */
  #next(i: number, after: number, tried: readonly number[]): number {
    const { free, host } = this.#occupancy;
    const { firstSlot } = host;
    const cores = this.#cores;
    const room = this.#room;
    const taken = this.#taken;
    const preferred = this.#preferred;
    const share = this.#shares[i]!;
    let next = Number.POSITIVE_INFINITY;
    for (let c = 0; c < cores.length; c++) {
      const core = cores[c]!;
      if (room[core]! < share) continue;
      let tightest = -1;
      let tightestPreferred = -1;
      const end = firstSlot[core + 1]!;
      for (let slot = firstSlot[core]!; slot < end; slot++) {
        if (free[slot]! < share || taken[slot] === 1) continue;
        if (preferred?.has(slot)) {
          if (tightestPreferred < 0 || free[slot]! < free[tightestPreferred]!) tightestPreferred = slot;
        } else if (tightest < 0 || free[slot]! < free[tightest]!) tightest = slot;
      }
      if (tightest < 0 && tightestPreferred < 0) continue;
      const base = this.#coreKey(i, core);
      if (tightestPreferred >= 0) {
        const key = this.#slotKey(base, tightestPreferred, true);
        if (key > after && key < next && !this.#isTried(tried, tightestPreferred)) next = key;
      }
      if (tightest >= 0) {
        const key = this.#slotKey(base, tightest, false);
        if (key > after && key < next && !this.#isTried(tried, tightest)) next = key;
      }
    }
    return next;
  }

  #coreKey(i: number, core: number): number {
    if (this.#bestFit) return Math.min(ROOM_RADIX - 1, this.#room[core]!);
    const { host } = this.#occupancy;
    const cell = host.cellOf[core]!;
    let key = this.#score.usesNode(host.cells[cell]!.node) ? 0 : 1;
    key = key * 2 + (this.#score.usesCell(cell) ? 0 : 1);
    key = key * 2 + (host.efficient[core] === this.#score.wrongKind ? 1 : 0);
    const used = this.#score.usesCore(core);
    key = key * 2 + (used ? 0 : 1);
    key = key * HOLDS_RADIX + (used ? 0 : HOLDS_RADIX - 1 - this.#holds(i, core));
    return key * ROOM_RADIX + Math.min(ROOM_RADIX - 1, this.#room[core]!);
  }

  #slotKey(base: number, slot: number, preferred: boolean): number {
    const key = (base * FREE_RADIX + this.#occupancy.free[slot]!) * SLOT_RADIX + slot;
    if (this.#preferred === undefined || preferred) return key;
    return key + PREFERENCE_WEIGHT;
  }

  /** How many of the shares from i on this core could hold beside share i, at most HOLDS_RADIX - 1. */
  #holds(i: number, core: number): number {
    const { free, host } = this.#occupancy;
    const first = host.firstSlot[core]!;
    const end = host.firstSlot[core + 1]!;
    if (end - first === 1 || i + 1 >= this.#shares.length) return 0;
    const least = this.#shares[this.#shares.length - 1]!;
    let more = -1;
    for (let slot = first; slot < end; slot++) if (this.#taken[slot] === 0 && free[slot]! >= least) more++;
    const byRoom = Math.floor((this.#room[core]! - this.#shares[i]!) / least);
    return Math.max(0, Math.min(more, byRoom, this.#shares.length - 1 - i, HOLDS_RADIX - 1));
  }

  #take(i: number, slot: number): void {
    this.#slots[i] = slot;
    this.#taken[slot] = 1;
    this.#room[this.#occupancy.host.coreOf[slot]!]! -= this.#shares[i]!;
    this.#score.count(slot, 1);
  }

  #give(i: number, slot: number): void {
    this.#taken[slot] = 0;
    this.#room[this.#occupancy.host.coreOf[slot]!]! += this.#shares[i]!;
    this.#score.count(slot, -1);
  }

  /** The CPUs taken, and what is left of their cores where a core has more: the rest of the search sees no more. */
  #wasSeen(i: number): boolean {
    const { host } = this.#occupancy;
    const state = Array.from(this.#slots.subarray(0, i).slice().sort(), (slot) => {
      const core = host.coreOf[slot]!;
      const alone = host.firstSlot[core + 1]! - host.firstSlot[core]! === 1;
      return alone ? slot : `${slot}:${this.#room[core]}`;
    }).join();
    if (this.#seen.has(state)) return true;
    this.#seen.add(state);
    return false;
  }

  #isTried(tried: readonly number[], slot: number): boolean {
    for (const other of tried) if (this.#alike(slot, other)) return true;
    return false;
  }

  /** Whether two CPUs stand for each other: on cores not in use, with the same room, CPUs and preference. */
  #alike(a: number, b: number): boolean {
    const { free, host } = this.#occupancy;
    const coreA = host.coreOf[a]!;
    const coreB = host.coreOf[b]!;
    if (this.#room[coreA] !== this.#room[coreB] || free[a] !== free[b]) return false;
    if (this.#score.usesCore(coreA) || this.#score.usesCore(coreB)) return a === b;
    const sameScore =
      host.cellOf[coreA] === host.cellOf[coreB] && host.efficient[coreA] === host.efficient[coreB];
    if (!this.#anyWillDo && !sameScore) return false;
    if (this.#isPreferred(a) !== this.#isPreferred(b)) return false;
    const count = host.firstSlot[coreA + 1]! - host.firstSlot[coreA]!;
    if (count !== host.firstSlot[coreB + 1]! - host.firstSlot[coreB]!) return false;
    for (let slot = host.firstSlot[coreA]!; slot < host.firstSlot[coreA + 1]!; slot++) {
      if (this.#countLike(slot, coreA) !== this.#countLike(slot, coreB)) return false;
    }
    return true;
  }

  #countLike(slot: number, core: number): number {
    const { free, host } = this.#occupancy;
    let count = 0;
    for (let other = host.firstSlot[core]!; other < host.firstSlot[core + 1]!; other++) {
      if (free[other] === free[slot] && this.#isPreferred(other) === this.#isPreferred(slot)) count++;
    }
    return count;
  }

  #isPreferred(slot: number): boolean {
    return this.#preferred?.has(slot) ?? false;
  }
}

/** Above every key without it: keys end below 2 * 2 * 2 * 2 * HOLDS * ROOM * FREE * SLOT = 2^50. */
const PREFERENCE_WEIGHT = 16 * HOLDS_RADIX * ROOM_RADIX * FREE_RADIX * SLOT_RADIX;

function wholeCoreRoom(occupancy: OccupancyIndex): Int32Array {
  const { host, room, capacity } = occupancy;
  const whole = room.slice();
  for (let core = 0; core < whole.length; core++) {
    if (host.whole[core] === 0 || whole[core] !== capacity[core]) whole[core] = 0;
  }
  return whole;
}
