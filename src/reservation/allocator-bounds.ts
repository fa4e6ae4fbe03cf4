import type { OccupancyIndex } from './allocator-occupancy.js';

/** A search under way: what is left of each core, and the CPUs taken. */
export interface SearchState {
  readonly occupancy: OccupancyIndex;
  /** Descending. */
  readonly shares: readonly number[];
  readonly room: Int32Array;
  readonly taken: Uint8Array;
}

/**
 * False when no placement of the shares from `from` on can exist on these cores: for some share, too few CPUs could hold
 * one of its size even if all larger ones shrank to it, or the sum does not fit. Never false where a placement exists.
 */
export function mayHold(state: SearchState, cores: readonly number[], from: number): boolean {
  const { shares } = state;
  for (let k = shares.length - 1; k >= from; k--) {
    if (k < shares.length - 1 && shares[k] === shares[k + 1]) continue;
    if (!holdEach(state, cores, shares[k]!, k - from + 1)) return false;
  }
  let missing = 0;
  for (let k = from; k < shares.length; k++) missing += shares[k]!;
  for (let i = 0; i < cores.length && missing > 0; i++) missing -= mostOf(state, cores[i]!, from);
  return missing <= 0;
}

function holdEach(state: SearchState, cores: readonly number[], share: number, wanted: number): boolean {
  const { free, host } = state.occupancy;
  let held = 0;
  for (let i = 0; i < cores.length; i++) {
    const core = cores[i]!;
    let most = Math.floor(state.room[core]! / share);
    for (let slot = host.firstSlot[core]!; most > 0 && slot < host.firstSlot[core + 1]!; slot++) {
      if (state.taken[slot] === 1 || free[slot]! < share) continue;
      most--;
      if (++held >= wanted) return true;
    }
  }
  return false;
}

/**
 * The most that any of the shares from `from` on can make of a core's room, exactly for up to two open CPUs: on a crowded
 * host this is what tells that a core must stay partly empty.
 */
function mostOf(state: SearchState, core: number, from: number): number {
  const { free, host } = state.occupancy;
  const room = state.room[core]!;
  let open = 0;
  let offered = 0;
  let large = 0;
  let small = 0;
  for (let slot = host.firstSlot[core]!; slot < host.firstSlot[core + 1]!; slot++) {
    if (state.taken[slot] === 1) continue;
    open++;
    offered += free[slot]!;
    small = Math.max(small, Math.min(large, free[slot]!));
    large = Math.max(large, free[slot]!);
  }
  if (open > 2) return Math.min(offered, room);
  return mostOfTwo(state.shares, from, { large, small: open === 2 ? small : 0, room });
}

/** Largest a + b of two of the shares from `from` on, or of one: a <= large, b <= small, a + b <= room. */
export function mostOfTwo(
  shares: readonly number[],
  from: number,
  { large, small, room }: { readonly large: number; readonly small: number; readonly room: number },
): number {
  let most = 0;
  let partner = shares.length;
  for (let a = from; a < shares.length; a++) {
    const share = shares[a]!;
    if (share > large || share > room) continue;
    most = Math.max(most, share);
    if (most === room || share * 2 <= most || small === 0) break;
    const beside = Math.min(small, room - share);
    while (partner > a + 1 && shares[partner - 1]! <= beside) partner--;
    const b = Math.max(partner, a + 1);
    if (b < shares.length && shares[b]! <= beside) most = Math.max(most, share + shares[b]!);
  }
  return most;
}
