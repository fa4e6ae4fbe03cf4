import type { HostIndex } from './allocator-host.js';

/** Sizes of shares are told apart in steps of so many thousandths. */
const STEP_MILLI = 25;
const STEPS = 1000 / STEP_MILLI + 1;

/** What is left of each core, as an occupancy has it. */
export interface CoreRoom {
  readonly host: HostIndex;
  readonly free: Int32Array;
  readonly room: Int32Array;
  readonly capacity: Int32Array;
}

/**
 * How many CPUs of each cell could hold a share of a given size, kept in step with the occupancy: whether some cells may
 * hold a request is then a sum over cells, not over their cores. A bound: never too low, because a share counts as the
 * next smaller step.
 */
export class CellBounds {
  /** By cell, then by step. */
  readonly #shared: Int32Array;
  /** The same for cores that are entirely free and can be owned whole. */
  readonly #whole: Int32Array;

  constructor(rooms: CoreRoom) {
    const { host } = rooms;
    this.#shared = new Int32Array(host.cells.length * STEPS);
    this.#whole = new Int32Array(host.cells.length * STEPS);
    for (let core = 0; core < host.siblings.length; core++) this.count(rooms, core, 1);
  }

  /** Takes a core's part out (-1) before it changes, and in again (1) after. */
  count({ host, free, room, capacity }: CoreRoom, core: number, sign: 1 | -1): void {
    const left = room[core]!;
    const whole = host.whole[core] === 1 && left === capacity[core];
    const first = host.firstSlot[core]!;
    const end = host.firstSlot[core + 1]!;
    let at = host.cellOf[core]! * STEPS;
    for (let step = 0; step < STEPS; step++, at++) {
      const share = Math.max(1, step * STEP_MILLI);
      let holds = 0;
      for (let slot = first; slot < end; slot++) if (free[slot]! >= share) holds++;
      holds = Math.min(holds, Math.floor(left / share));
      if (holds === 0) return;
      this.#shared[at]! += sign * holds;
      if (whole) this.#whole[at]! += sign * holds;
    }
  }

  /** False when for some share there are too few CPUs that could hold one of its size. `shares` descending. */
  mayHold(cells: readonly number[], shares: readonly number[], wholeCores: boolean): boolean {
    const table = wholeCores ? this.#whole : this.#shared;
    let before = -1;
    for (let k = shares.length - 1; k >= 0; k--) {
      const step = Math.floor(shares[k]! / STEP_MILLI);
      // Of shares in one step the first seen, the smallest, stands for the most of them.
      if (step === before) continue;
      before = step;
      let missing = k + 1;
      for (let i = 0; i < cells.length && missing > 0; i++) missing -= table[cells[i]! * STEPS + step]!;
      if (missing > 0) return false;
    }
    return true;
  }
}
