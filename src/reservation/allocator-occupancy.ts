import type { Topology } from '../topology/topology.js';
import { CellBounds } from './allocator-cells.js';
import { type HostIndex, hostIndex } from './allocator-host.js';
import type { Occupancy } from './occupancy.js';
import type { CpuShare } from './reservation.js';

const CPU_MILLI = 1000;

/**
 * An occupancy that is kept up to date instead of being recomputed: what is free of each CPU, core, cell and of the
 * host. Reads as an Occupancy. A core's capacity is 1000 for one CPU and `smtCoreMilli` with all its SMT siblings;
 * where only k of its n siblings are schedulable it lies between, on a straight line.
 */
export class OccupancyIndex implements Occupancy {
  readonly host: HostIndex;
  readonly smtCoreMilli: number;
  readonly milli: ReadonlyMap<number, number>;
  readonly exclusive: ReadonlySet<number>;
  /** By slot: what of the CPU is not reserved; 0 on a core that is owned whole. */
  readonly free: Int32Array;
  /** By core: what of its capacity is not reserved. */
  readonly room: Int32Array;
  /** By core: what it can still give: the lesser of its room and its CPUs' sum. */
  readonly coreFree: Int32Array;
  readonly cellFree: Int32Array;
  readonly l3Free: Int32Array;
  readonly capacity: Int32Array;
  /** Sum of all cores' capacities: what the empty host offers. */
  readonly capacityMilli: number;
  /** Schedulable CPUs of the widest core, and the largest capacity of a core. */
  readonly mostCpus: number;
  readonly mostCapacity: number;
  #freeMilli = 0;
  #reservedMilli = 0;
  readonly #milli = new Map<number, number>();
  readonly #exclusive = new Set<number>();
  /** Reservations that own a core whole; two can only overlap after an adoption that found it so. */
  readonly #owners: Int32Array;
  #bounds: CellBounds | undefined;
  #empty: OccupancyIndex | undefined;

  constructor(topology: Topology, smtCoreMilli: number) {
    const host = hostIndex(topology);
    const cores = host.siblings.length;
    this.host = host;
    this.smtCoreMilli = smtCoreMilli;
    this.milli = this.#milli;
    this.exclusive = this.#exclusive;
    this.free = new Int32Array(host.cpuOf.length);
    this.room = new Int32Array(cores);
    this.coreFree = new Int32Array(cores);
    this.cellFree = new Int32Array(host.cells.length);
    this.l3Free = new Int32Array(host.l3Cells.length);
    this.#owners = new Int32Array(cores);
    this.capacity = new Int32Array(cores);
    let capacityMilli = 0;
    let mostCpus = 1;
    for (let core = 0; core < cores; core++) {
      const usable = host.firstSlot[core + 1]! - host.firstSlot[core]!;
      this.capacity[core] = coreCapacity(usable, host.siblings[core]!, smtCoreMilli);
      capacityMilli += this.capacity[core]!;
      mostCpus = Math.max(mostCpus, usable);
      this.#refresh(core);
    }
    this.capacityMilli = capacityMilli;
    this.mostCpus = mostCpus;
    this.mostCapacity = this.capacity.reduce((a, b) => Math.max(a, b), 1);
  }

  static of(topology: Topology, occupancy: Occupancy, smtCoreMilli: number): OccupancyIndex {
    const index = new OccupancyIndex(topology, smtCoreMilli);
    const { slotOf, coreOf } = index.host;
    const touched = new Set<number>();
    for (const [cpu, milli] of occupancy.milli) {
      index.#add(cpu, milli);
      const slot = slotOf.get(cpu);
      if (slot !== undefined) touched.add(coreOf[slot]!);
    }
    for (const cpu of occupancy.exclusive) {
      index.#exclusive.add(cpu);
      const slot = slotOf.get(cpu);
      if (slot === undefined) continue;
      index.#owners[coreOf[slot]!] = 1;
      touched.add(coreOf[slot]!);
    }
    for (const core of touched) index.#refresh(core);
    return index;
  }

  /** The same host with nothing reserved: one for all who ask, so reserve nothing on it. */
  emptied(): OccupancyIndex {
    this.#empty ??= new OccupancyIndex(this.host.topology, this.smtCoreMilli);
    return this.#empty;
  }

  /** Counted on first use: an index that is asked once may do without. */
  get bounds(): CellBounds {
    this.#bounds ??= new CellBounds(this);
    return this.#bounds;
  }

  /** Thousandths that new reservations could take in all. */
  get freeMilli(): number {
    return this.#freeMilli;
  }

  /** Thousandths reserved on schedulable CPUs. */
  get reservedMilli(): number {
    return this.#reservedMilli;
  }

  /** A lower bound of the cores that hold these shares on an empty host. */
  fewestCores(shares: readonly number[]): number {
    let milli = 0;
    let alone = 0;
    for (const share of shares) {
      milli += share;
      if (share * 2 > this.mostCapacity) alone++;
    }
    return Math.max(1, alone, Math.ceil(shares.length / this.mostCpus), Math.ceil(milli / this.mostCapacity));
  }

  /** Adds one reservation. */
  reserve(cpus: readonly CpuShare[], exclusive: boolean): void {
    this.#change(cpus, exclusive, 1);
  }

  /** Takes one reservation back, exactly as it was added. */
  release(cpus: readonly CpuShare[], exclusive: boolean): void {
    this.#change(cpus, exclusive, -1);
  }

  #change(cpus: readonly CpuShare[], exclusive: boolean, sign: 1 | -1): void {
    const cores = new Set<number>();
    for (const { cpu, shareMilli } of cpus) {
      this.#add(cpu, sign * shareMilli);
      const slot = this.host.slotOf.get(cpu);
      if (slot !== undefined) cores.add(this.host.coreOf[slot]!);
    }
    for (const core of cores) {
      if (exclusive) this.#own(core, sign);
      this.#refresh(core);
    }
  }

  #add(cpu: number, milli: number): void {
    const now = Math.max(0, (this.#milli.get(cpu) ?? 0) + milli);
    if (this.host.slotOf.has(cpu)) this.#reservedMilli += now - (this.#milli.get(cpu) ?? 0);
    if (now === 0) this.#milli.delete(cpu);
    else this.#milli.set(cpu, now);
  }

  #own(core: number, sign: 1 | -1): void {
    this.#owners[core] = Math.max(0, this.#owners[core]! + sign);
    for (let slot = this.host.firstSlot[core]!; slot < this.host.firstSlot[core + 1]!; slot++) {
      if (this.#owners[core]! > 0) this.#exclusive.add(this.host.cpuOf[slot]!);
      else this.#exclusive.delete(this.host.cpuOf[slot]!);
    }
  }

  #refresh(core: number): void {
    const { firstSlot, cpuOf, cellOf, cells } = this.host;
    this.#bounds?.count(this, core, -1);
    const owned = this.#owners[core]! > 0;
    let reserved = 0;
    let free = 0;
    for (let slot = firstSlot[core]!; slot < firstSlot[core + 1]!; slot++) {
      const taken = this.#milli.size === 0 ? 0 : (this.#milli.get(cpuOf[slot]!) ?? 0);
      reserved += taken;
      this.free[slot] = owned ? 0 : Math.max(0, CPU_MILLI - taken);
      free += this.free[slot]!;
    }
    this.room[core] = owned ? 0 : Math.max(0, this.capacity[core]! - reserved);
    const now = Math.min(this.room[core]!, free);
    const change = now - this.coreFree[core]!;
    this.cellFree[cellOf[core]!]! += change;
    this.l3Free[cells[cellOf[core]!]!.l3]! += change;
    this.#freeMilli += change;
    this.coreFree[core] = now;
    this.#bounds?.count(this, core, 1);
  }
}

function coreCapacity(usable: number, siblings: number, smtCoreMilli: number): number {
  if (usable <= 1) return CPU_MILLI;
  return Math.floor(CPU_MILLI + ((smtCoreMilli - CPU_MILLI) * (usable - 1)) / (siblings - 1));
}
