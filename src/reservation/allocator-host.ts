import type { Topology } from '../topology/topology.js';
import type { ChannelClass } from './reservation.js';

/**
 * The schedulable part of a topology as dense arrays, so that one placement on 4,096 CPUs is a few passes over typed
 * arrays. A slot is a schedulable CPU, slots of one core lie side by side. A cell is what one L3 and one NUMA node have
 * in common: on most hosts a cell is an L3, but either may split the other.
 */
export interface HostIndex {
  readonly topology: Topology;
  /** The kernel's CPU number by slot. */
  readonly cpuOf: Int32Array;
  /** Slot by the kernel's CPU number. */
  readonly slotOf: ReadonlyMap<number, number>;
  readonly coreOf: Int32Array;
  /** Core c has slots firstSlot[c] up to firstSlot[c + 1]. */
  readonly firstSlot: Int32Array;
  /** CPUs of the core, schedulable or not. */
  readonly siblings: Int32Array;
  /** 1: every online CPU of the core is schedulable, so the core can be owned whole. */
  readonly whole: Uint8Array;
  /** 1: an efficiency core. */
  readonly efficient: Uint8Array;
  readonly hybrid: boolean;
  /** By class and core, 1: the class may have it. Undefined where it may have all. */
  readonly pools: Readonly<Record<ChannelClass, Uint8Array>> | undefined;
  readonly allCores: readonly number[];
  readonly cellOf: Int32Array;
  readonly cells: readonly Cell[];
  readonly allCells: readonly number[];
  /** Cells by L3 and by node; both numbered densely here. */
  readonly l3Cells: readonly (readonly number[])[];
  readonly nodeCells: readonly (readonly number[])[];
  /** The kernel's number of each node. */
  readonly nodeNumber: readonly number[];
}

export interface Cell {
  readonly l3: number;
  readonly node: number;
  readonly cores: readonly number[];
  readonly slots: number;
}

const indexes = new WeakMap<Topology, HostIndex>();

/** A topology is immutable, so its index is built once. */
export function hostIndex(topology: Topology): HostIndex {
  let index = indexes.get(topology);
  if (index === undefined) {
    index = build(topology);
    indexes.set(topology, index);
  }
  return index;
}

function build(topology: Topology): HostIndex {
  const schedulable = new Set(topology.schedulable);
  const byCore = new Map<number, Topology['cpus'][number][]>();
  for (const cpu of topology.cpus) {
    const members = byCore.get(cpu.core);
    if (members === undefined) byCore.set(cpu.core, [cpu]);
    else members.push(cpu);
  }
  const groups = [...byCore.values()].filter((members) => members.some(({ cpu }) => schedulable.has(cpu)));
  const slots = topology.schedulable.length;
  const cpuOf = new Int32Array(slots);
  const coreOf = new Int32Array(slots);
  const firstSlot = new Int32Array(groups.length + 1);
  const siblings = new Int32Array(groups.length);
  const whole = new Uint8Array(groups.length);
  const efficient = new Uint8Array(groups.length);
  const cellOf = new Int32Array(groups.length);
  const slotOf = new Map<number, number>();
  const l3s = new Map<number, number>();
  const nodes = new Map<number, number>();
  const cellNumbers = new Map<string, number>();
  const cells: { l3: number; node: number; cores: number[]; slots: number }[] = [];

  let slot = 0;
  for (const [core, members] of groups.entries()) {
    const usable = members.filter(({ cpu }) => schedulable.has(cpu));
    const first = usable[0]!;
    firstSlot[core] = slot;
    siblings[core] = members.length;
    whole[core] = members.every(({ cpu, online }) => !online || schedulable.has(cpu)) ? 1 : 0;
    efficient[core] = first.kind === 'efficiency' ? 1 : 0;
    const l3 = numberOf(l3s, first.l3);
    const node = numberOf(nodes, first.node);
    const cell = numberOf(cellNumbers, `${l3}/${node}`);
    cells[cell] ??= { l3, node, cores: [], slots: 0 };
    cells[cell].cores.push(core);
    cells[cell].slots += usable.length;
    cellOf[core] = cell;
    for (const { cpu } of usable) {
      cpuOf[slot] = cpu;
      coreOf[slot] = core;
      slotOf.set(cpu, slot);
      slot++;
    }
  }
  firstSlot[groups.length] = slot;
  return {
    topology,
    cpuOf,
    slotOf,
    coreOf,
    firstSlot,
    siblings,
    whole,
    efficient,
    hybrid: efficient.includes(0) && efficient.includes(1),
    pools: topology.pools && {
      live: poolOf(groups, schedulable, topology.pools.live),
      vod: poolOf(groups, schedulable, topology.pools.vod),
    },
    allCores: groups.map((_, core) => core),
    cellOf,
    cells,
    allCells: cells.map((_, cell) => cell),
    l3Cells: grouped(cells, l3s.size, (cell) => cell.l3),
    nodeCells: grouped(cells, nodes.size, (cell) => cell.node),
    nodeNumber: [...nodes.keys()],
  };
}

/** A core belongs to a pool with all its schedulable CPUs: siblings are not parted. */
function poolOf(
  groups: readonly (readonly Topology['cpus'][number][])[],
  schedulable: ReadonlySet<number>,
  pool: readonly number[],
): Uint8Array {
  const cpus = new Set(pool);
  return Uint8Array.from(groups, (members) =>
    members.every(({ cpu }) => cpus.has(cpu) || !schedulable.has(cpu)) ? 1 : 0,
  );
}

function numberOf<K>(numbers: Map<K, number>, key: K): number {
  let number = numbers.get(key);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(key, number);
  }
  return number;
}

function grouped(cells: readonly Cell[], groups: number, of: (cell: Cell) => number): number[][] {
  const lists: number[][] = Array.from({ length: groups }, () => []);
  for (const [number, cell] of cells.entries()) lists[of(cell)]!.push(number);
  return lists;
}
