import { formatCpuset } from '../lib/cpuset.js';
import { sum } from '../lib/sum.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { PlaceSearch } from './allocator-search.js';

const CPU_MILLI = 1000;

/** What stopped a placement:
 *   cpus    fewer CPUs have any room, or exist, than are wanted
 *   shares  enough CPUs have room, but not enough for the largest shares
 *   cores   each CPU alone has the room, but SMT siblings together may not take so much
 *   whole   too few physical cores are entirely free
 */
export type Constraint = 'cpus' | 'shares' | 'cores' | 'whole';

export interface Shortfall {
  readonly ok: false;
  readonly constraint: Constraint;
  /** One clause for the operator. */
  readonly text: string;
  readonly neededMilli: number;
  /** What the roomiest CPUs, as many as are wanted, offer together. */
  readonly availableMilli: number;
  /** Thousandths that are missing, share by share. */
  readonly missingMilli: number;
  /** Whole cores that are missing; 0 unless `constraint` is whole. */
  readonly missingCores: number;
  /** The largest request of as many CPUs that would fit now, busiest first; shorter when fewer CPUs have room. */
  readonly largestMilli: readonly number[];
  /** False: the search's budget ended first; a placement may exist, though none of the usual ones. */
  readonly proved: boolean;
}

export function explainShortfall(
  occupancy: OccupancyIndex,
  search: PlaceSearch,
  shares: readonly number[],
  wholeCores: boolean,
  proved: boolean,
): Shortfall {
  const largestMilli = largestRequest(occupancy, search, shares.length);
  const neededMilli = sum(shares);
  const availableMilli = sum(largestMilli);
  const missingMilli = shares.reduce((all, share, k) => all + Math.max(0, share - (largestMilli[k] ?? 0)), 0);
  const base = { ok: false as const, neededMilli, availableMilli, missingMilli, largestMilli, proved };
  const pool = search.pool === undefined ? '' : ` (of its class's pool: ${poolText(occupancy, search.pool)})`;
  if (wholeCores) {
    const missingCores = coresMissing(occupancy, search, shares);
    const text = `${missingCores} more whole free ${missingCores === 1 ? 'core is' : 'cores are'} needed`;
    return { ...base, constraint: 'whole', missingCores, text: text + pool };
  }
  const offers = `the roomiest ${plural(largestMilli.length)} ${largestMilli.length === 1 ? 'offers' : 'offer'} ${list(largestMilli)}`;
  const constraint = whatStopped(occupancy, search, shares, largestMilli);
  const wanted = `wants ${plural(shares.length)} with ${list(shares)} free`;
  const texts: Record<Exclude<Constraint, 'whole'>, string> = {
    cpus: `wants ${plural(shares.length)}, but only ${largestMilli.length} of ${occupancy.free.length} can take anything`,
    shares: `${wanted}, but ${offers}`,
    cores: `${wanted} within ${cores(occupancy.smtCoreMilli)} for each pair of SMT siblings, but ${offers}`,
  };
  return { ...base, constraint, missingCores: 0, text: texts[constraint] + pool };
}

function whatStopped(
  occupancy: OccupancyIndex,
  search: PlaceSearch,
  shares: readonly number[],
  largest: readonly number[],
): Exclude<Constraint, 'whole'> {
  if (largest.length < shares.length) return 'cpus';
  const { free, host } = occupancy;
  const counts = new Int32Array(CPU_MILLI + 1);
  for (let slot = 0; slot < free.length; slot++)
    counts[Math.min(free[slot]!, search.roomOf(host.coreOf[slot]!))]!++;
  const alone = largestOf(counts, shares.length);
  return shares.every((share, k) => (alone[k] ?? 0) >= share) ? 'cores' : 'shares';
}

/**
 * The `count` CPUs that together can take most, and how much each. A core's gain falls with each further sibling, so
 * taking the largest gain each time is the most there is.
 */
export function largestRequest(occupancy: OccupancyIndex, search: PlaceSearch, count: number): number[] {
  const { host, free } = occupancy;
  const counts = new Int32Array(CPU_MILLI + 1);
  for (let core = 0; core < host.siblings.length; core++) {
    const first = host.firstSlot[core]!;
    const end = host.firstSlot[core + 1]!;
    let room = search.roomOf(core);
    if (room === 0) continue;
    if (end - first === 2) {
      const large = Math.min(room, Math.max(free[first]!, free[first + 1]!));
      counts[large]!++;
      counts[Math.min(room - large, Math.min(free[first]!, free[first + 1]!))]!++;
      continue;
    }
    for (const cpu of free.slice(first, end).sort().reverse()) {
      const gain = Math.min(cpu, room);
      counts[gain]!++;
      room -= gain;
    }
  }
  return largestOf(counts, count);
}

/** The largest `count` values above 0 of those counted by value, descending. */
function largestOf(counts: Int32Array, count: number): number[] {
  const largest: number[] = [];
  for (let value = counts.length - 1; value > 0 && largest.length < count; value--) {
    for (let k = 0; k < counts[value]! && largest.length < count; k++) largest.push(value);
  }
  return largest;
}

/** Empty cores that the request fills, less those there are. */
function coresMissing(occupancy: OccupancyIndex, search: PlaceSearch, shares: readonly number[]): number {
  const { host } = occupancy;
  let freeCores = 0;
  for (let core = 0; core < host.siblings.length; core++) if (search.roomOf(core) > 0) freeCores++;
  return Math.max(1, coresFor(shares, occupancy.mostCapacity, occupancy.mostCpus) - freeCores);
}

/** Fewest empty cores of this capacity that hold the shares: largest first, each filled with the largest that still fit. */
function coresFor(shares: readonly number[], capacity: number, perCore: number): number {
  const cores: { room: number; cpus: number }[] = [];
  for (const share of shares) {
    const core = cores.find(({ room, cpus }) => room >= share && cpus < perCore);
    if (core === undefined) cores.push({ room: capacity - share, cpus: 1 });
    else {
      core.room -= share;
      core.cpus++;
    }
  }
  return cores.length;
}

function poolText({ host }: OccupancyIndex, pool: Uint8Array): string {
  const cpus = [...host.cpuOf].filter((_, slot) => pool[host.coreOf[slot]!] === 1).sort((a, b) => a - b);
  return cpus.length === 0 ? 'no CPU that can be reserved' : `CPUs ${formatCpuset(cpus)}`;
}

/** "0.90, 0.60 and 2 × 0.30" */
function list(milli: readonly number[]): string {
  const runs: { text: string; times: number }[] = [];
  for (const text of milli.map(cores)) {
    const last = runs.at(-1);
    if (last?.text === text) last.times++;
    else runs.push({ text, times: 1 });
  }
  const shown = runs.slice(0, 4).map(({ text, times }) => (times > 1 ? `${times} × ${text}` : text));
  if (runs.length > 4) return `${shown.join(', ')}, …`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}` : (shown[0] ?? 'nothing');
}

function cores(milli: number): string {
  return (milli / 1000).toFixed(2);
}

function plural(cpus: number): string {
  return `${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}`;
}
