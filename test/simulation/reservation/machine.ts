import type { Topology } from '../../../src/topology/topology.js';
import { type CoreSpec, topologyOf } from '../../support/topology-of.js';

interface Shape {
  readonly cores: readonly CoreSpec[];
  readonly housekeeping: readonly number[];
}

/** Small hosts: the fewer CPUs, the more reservations meet on them. */
const SHAPES: readonly Shape[] = [
  { cores: [0, 1, 2, 3].map((cpu) => ({ cpus: [cpu] })), housekeeping: [0] },
  { cores: [0, 1, 2, 3].map((core) => ({ cpus: [core, core + 4], l3: core >> 1 })), housekeeping: [0, 4] },
  {
    cores: [0, 37, 74, 1100].map((cpu, core) => ({ cpus: [cpu], l3: core >> 1, node: core >> 1 })),
    housekeeping: [],
  },
];

/** A topology is immutable, so all runs share them. */
const known = new Map<string, Topology>();

/** The simulated host's CPUs, and which of them are online. */
export class Machine {
  readonly #shape: number;
  readonly #offline = new Set<number>();
  topology: Topology;
  /** CPUs went away and came back: what was promised meanwhile may exceed what a core with its siblings can give. */
  changed = false;

  constructor(shape: number) {
    this.#shape = shape % SHAPES.length;
    this.topology = this.#now();
  }

  get online(): readonly number[] {
    return this.topology.cpus.filter(({ online }) => online).map(({ cpu }) => cpu);
  }

  /** Takes a CPU away, or brings it back; the last one that can be reserved stays. */
  toggle(cpu: number): void {
    if (this.#offline.has(cpu)) this.#offline.delete(cpu);
    else if (this.topology.schedulable.length > 1) this.#offline.add(cpu);
    this.changed = true;
    this.topology = this.#now();
  }

  allOnline(): void {
    this.#offline.clear();
    this.topology = this.#now();
  }

  #now(): Topology {
    const offline = [...this.#offline].sort((a, b) => a - b);
    const name = `${this.#shape}/${offline}`;
    let topology = known.get(name);
    if (topology === undefined) {
      const { cores, housekeeping } = SHAPES[this.#shape]!;
      topology = topologyOf(cores, { housekeeping, offline });
      known.set(name, topology);
    }
    return topology;
  }
}
