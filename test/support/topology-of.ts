import fc from 'fast-check';
import { cpuset, difference } from '../../src/lib/cpuset.js';
import type { OccupancyIndex } from '../../src/reservation/allocator.js';
import type { Occupancy } from '../../src/reservation/occupancy.js';
import type { CoreKind, Topology } from '../../src/topology/topology.js';

export interface CoreSpec {
  readonly cpus: readonly number[];
  readonly l3?: number;
  readonly node?: number;
  readonly kind?: CoreKind;
}

/** A host from its cores. Offline and housekeeping CPUs are taken out of the schedulable ones. */
export function topologyOf(
  cores: readonly CoreSpec[],
  aside: { offline?: readonly number[]; housekeeping?: readonly number[] } = {},
): Topology {
  const offline = new Set(aside.offline);
  const housekeeping = cpuset(aside.housekeeping ?? []);
  const cpus = cores
    .flatMap((spec, core) =>
      spec.cpus.map((cpu) => ({
        cpu,
        core,
        l2: core,
        l3: spec.l3 ?? 0,
        cluster: core,
        die: spec.node ?? 0,
        node: spec.node ?? 0,
        package: spec.node ?? 0,
        kind: spec.kind ?? ('performance' as const),
        capacity: spec.kind === 'efficiency' ? 600 : 1024,
        online: !offline.has(cpu),
        housekeeping: housekeeping.includes(cpu),
        isolated: false,
        nohzFull: false,
      })),
    )
    .sort((a, b) => a.cpu - b.cpu);
  const online = cpus.filter((cpu) => cpu.online).map(({ cpu }) => cpu);
  const nodes = [...new Set(cpus.map(({ node }) => node))];
  return {
    cpus,
    schedulable: difference(online, housekeeping),
    housekeeping,
    distance: new Map(nodes.map((a) => [a, new Map(nodes.map((b) => [b, a === b ? 10 : 20]))])),
  };
}

/** `l3s` L3s of `coresPerL3` cores of `threads` CPUs; siblings are numbered half the host apart, as Linux does. */
export function regularTopology(shape: {
  nodes: number;
  l3sPerNode: number;
  coresPerL3: number;
  threads: number;
}): Topology {
  const cores = shape.nodes * shape.l3sPerNode * shape.coresPerL3;
  return topologyOf(
    Array.from({ length: cores }, (_, core) => ({
      cpus: Array.from({ length: shape.threads }, (_, thread) => core + thread * cores),
      l3: Math.floor(core / shape.coresPerL3),
      node: Math.floor(core / (shape.coresPerL3 * shape.l3sPerNode)),
    })),
  );
}

export const EMPTY: Occupancy = { milli: new Map(), exclusive: new Set() };

export function occupied(
  milli: Readonly<Record<number, number>>,
  exclusive: readonly number[] = [],
): Occupancy {
  return {
    milli: new Map(Object.entries(milli).map(([cpu, value]) => [Number(cpu), value])),
    exclusive: new Set(exclusive),
  };
}

/** Hosts of at most `most` CPUs: any mix of SMT widths, L3s, nodes, kinds, CPUs offline or kept for housekeeping. */
export function arbitraryTopology(most: number): fc.Arbitrary<Topology> {
  const core = fc.record({
    threads: fc.constantFrom(1, 1, 2, 2, 3, 4),
    l3: fc.nat(2),
    node: fc.nat(1),
    efficient: fc.boolean(),
  });
  return fc
    .record({
      cores: fc.array(core, { minLength: 1, maxLength: most }),
      sparse: fc.boolean(),
      hybrid: fc.boolean(),
      splitL3: fc.boolean(),
      aside: fc.array(fc.record({ at: fc.nat(most - 1), offline: fc.boolean() }), { maxLength: 2 }),
    })
    .map(({ cores, sparse, hybrid, splitL3, aside }) => {
      let next = 0;
      const specs: CoreSpec[] = [];
      for (const { threads, l3, node, efficient } of cores) {
        if (next + threads > most) break;
        const cpus = Array.from({ length: threads }, (_, i) => (next + i) * (sparse ? 37 : 1));
        next += threads;
        specs.push({
          cpus,
          // Usually an L3 lies within one node.
          l3: splitL3 ? l3 : l3 * 2 + node,
          node: node * 3,
          kind: hybrid && efficient ? 'efficiency' : 'performance',
        });
      }
      const numbers = specs.flatMap(({ cpus }) => cpus);
      const chosen = aside.filter(({ at }) => at < numbers.length);
      const topology = topologyOf(specs, {
        offline: chosen.filter(({ offline }) => offline).map(({ at }) => numbers[at]!),
        housekeeping: chosen.filter(({ offline }) => !offline).map(({ at }) => numbers[at]!),
      });
      return topology.schedulable.length > 0 ? topology : topologyOf(specs);
    });
}

/** What is free of one core by the index's own account. */
export function roomOf(index: OccupancyIndex, cpu: number): number {
  return index.room[index.host.coreOf[index.host.slotOf.get(cpu)!]!]!;
}
