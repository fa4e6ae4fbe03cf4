import type { HostIndex } from './allocator-host.js';
import type { OccupancyIndex } from './allocator-occupancy.js';

/**
 * What makes one placement better than another: the first number that differs decides, less is better.
 *   moved      CPUs that are not among the preferred ones (0 when none are preferred)
 *   severalL3s 1 when it spans more than one L3
 *   nodes, l3s how many it spans
 *   wrongKind  CPUs of the kind that the class does not prefer, on hybrid hosts
 *   cores      physical cores it touches: both siblings of one core rather than one of each of two
 *   l3Free     thousandths free in the L3s it touches: the fullest place it fits
 *   coreFree, cpuFree   the same for its cores and CPUs
 */
export const SCORE = [
  'moved',
  'severalL3s',
  'nodes',
  'l3s',
  'wrongKind',
  'cores',
  'l3Free',
  'coreFree',
  'cpuFree',
] as const;

const [MOVED, SEVERAL_L3S, NODES, L3S, WRONG_KIND, CORES, L3_FREE, CORE_FREE, CPU_FREE] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
] as const;

/** The score of the CPUs taken so far. No number of it falls as CPUs are added. */
export class RunningScore {
  readonly values = new Float64Array(SCORE.length);
  readonly #host: HostIndex;
  readonly #occupancy: OccupancyIndex;
  readonly #preferred: ReadonlySet<number> | undefined;
  /** The value of HostIndex.efficient to avoid; undefined where all cores are of one kind. */
  readonly wrongKind: 0 | 1 | undefined;
  readonly #onCore: Uint16Array;
  readonly #onCell: Uint16Array;
  readonly #onL3: Uint16Array;
  readonly #onNode: Uint16Array;

  constructor(
    occupancy: OccupancyIndex,
    preferred: ReadonlySet<number> | undefined,
    wrongKind: 0 | 1 | undefined,
  ) {
    const { host } = occupancy;
    this.#host = host;
    this.#occupancy = occupancy;
    this.#preferred = preferred;
    this.wrongKind = host.hybrid ? wrongKind : undefined;
    this.#onCore = new Uint16Array(host.siblings.length);
    this.#onCell = new Uint16Array(host.cells.length);
    this.#onL3 = new Uint16Array(host.l3Cells.length);
    this.#onNode = new Uint16Array(host.nodeCells.length);
  }

  usesCore(core: number): boolean {
    return this.#onCore[core]! > 0;
  }

  usesCell(cell: number): boolean {
    return this.#onCell[cell]! > 0;
  }

  usesNode(node: number): boolean {
    return this.#onNode[node]! > 0;
  }

  /** Adds a CPU (1) or takes it out again (-1). */
  count(slot: number, sign: 1 | -1): void {
    const { free, coreFree, l3Free } = this.#occupancy;
    const core = this.#host.coreOf[slot]!;
    const cell = this.#host.cellOf[core]!;
    const { l3, node } = this.#host.cells[cell]!;
    const score = this.values;
    this.#onCell[cell]! += sign;
    if (entered(this.#onCore, core, sign)) {
      score[CORES]! += sign;
      score[CORE_FREE]! += sign * coreFree[core]!;
    }
    if (entered(this.#onL3, l3, sign)) {
      score[L3S]! += sign;
      score[L3_FREE]! += sign * l3Free[l3]!;
      score[SEVERAL_L3S] = score[L3S]! > 1 ? 1 : 0;
    }
    if (entered(this.#onNode, node, sign)) score[NODES]! += sign;
    if (this.#preferred !== undefined && !this.#preferred.has(slot)) score[MOVED]! += sign;
    if (this.#host.efficient[core] === this.wrongKind) score[WRONG_KIND]! += sign;
    score[CPU_FREE]! += sign * free[slot]!;
  }

  isBetterThan(other: Float64Array): boolean {
    for (let k = 0; k < SCORE.length; k++) {
      if (this.values[k]! !== other[k]!) return this.values[k]! < other[k]!;
    }
    return false;
  }
}

function entered(counts: Uint16Array, at: number, sign: 1 | -1): boolean {
  const before = counts[at]!;
  counts[at] = before + sign;
  return sign === 1 ? before === 0 : before === 1;
}
