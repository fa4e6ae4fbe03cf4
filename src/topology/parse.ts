/**
 * Turns what sysfs said into the host as one value. What an absent or unreadable text means:
 *
 *   present             the CPUs that have a folder, else those that /proc/stat counts, else CPU 0
 *   online              each CPU's own online flag, else online
 *   core_cpus_list      thread_siblings_list, else the masks, else CPUs of one package, die and core_id, else own core
 *   physical_package_id package 0
 *   die_cpus_list       the package
 *   a second-level cache the core
 *   cluster_cpus_list   the CPUs of one second-level cache
 *   a third-level cache the CPUs of the package that name none form one group
 *   node folders        node 0
 *   distance            20 between nodes (10 to itself)
 *   core types          cpu_capacity below 60 % of the fastest core's is an efficiency core, else all performance
 *   cpu_capacity        cpuinfo_max_freq relative to the highest, else 1024
 *
 *   isolated, nohz_full none
 *
 * The kernel moves no thread to or from a CPU that it isolates (isolcpus=): the threads of an encoder that may use several
 * of them all stay where they began. So they are not handed out, unless the configuration says so or nothing else is left.
 */
import { type Cpuset, cpuset, difference, intersection } from '../lib/cpuset.js';
import { chooseHousekeeping } from './housekeeping.js';
import { parseListOrNothing, parseSharers } from './sharers.js';
import type { CoreKind, Cpu, Topology } from './topology.js';

type Text = string | undefined;
/** Who shares a cache. */
export interface Sharing {
  readonly list: Text;
  readonly mask: Text;
}

export interface CpuTexts {
  readonly online: Text;
  readonly coreCpusList: Text;
  readonly coreCpusMask: Text;
  readonly coreId: Text;
  readonly dieId: Text;
  readonly packageId: Text;
  readonly dieCpusList: Text;
  readonly clusterCpusList: Text;
  readonly l2: Sharing | undefined;
  readonly l3: Sharing | undefined;
  readonly capacity: Text;
  readonly maxFrequency: Text;
}

export interface TopologyTexts {
  readonly present: Text;
  readonly online: Text;
  readonly isolated: Text;
  readonly nohzFull: Text;
  readonly cpus: ReadonlyMap<number, CpuTexts>;
  readonly nodes: readonly {
    readonly node: number;
    readonly cpulist: Text;
    readonly cpumap: Text;
    readonly distance: Text;
  }[];
  readonly performanceCpus: Text;
  readonly efficiencyCpus: Text;
  readonly procStat: Text;
}

const EFFICIENCY_BELOW = 0.6;
const FULL_CAPACITY = 1024;
const LOCAL_DISTANCE = 10;
const REMOTE_DISTANCE = 20;

export function parseTopology(
  texts: TopologyTexts,
  options: {
    readonly allowed?: Cpuset;
    readonly housekeeping: 'auto' | Cpuset;
    readonly isolated?: 'leave' | 'reserve';
  },
): Topology {
  const present = presentCpus(texts);
  const online = new Set(onlineCpus(texts, present));
  const packages = dense(present, (cpu) => String(nonNegative(texts.cpus.get(cpu)?.packageId) ?? 0));
  const cores = dense(present, coreKeys(texts, present));
  const shared = (of: (cpu: CpuTexts) => Sharing | undefined, otherwise: (cpu: number) => string) =>
    dense(present, sharedKeys(texts, present, of, otherwise));
  // Threads of one core share theirs, whatever the list says: some kernels list each alone, and have all in the mask.
  const l2Of = sharedKeys(
    texts,
    present,
    ({ l2 }) => l2,
    (cpu) => `core ${cores.get(cpu)}`,
  );
  const firstOfCore = new Map([...present].reverse().map((cpu) => [cores.get(cpu)!, cpu]));
  const l2s = dense(present, (cpu) => l2Of(firstOfCore.get(cores.get(cpu)!)!));
  const l3s = shared(
    ({ l3 }) => l3,
    (cpu) => `package ${packages.get(cpu)}`,
  );
  const clusters = shared(
    ({ clusterCpusList: list }) => ({ list, mask: undefined }),
    (cpu) => `l2 ${l2s.get(cpu)}`,
  );
  const dies = shared(
    ({ dieCpusList: list }) => ({ list, mask: undefined }),
    (cpu) => `package ${packages.get(cpu)}`,
  );
  const nodeOf = nodeNumbers(texts);
  const capacity = capacities(texts, present);
  const kindOf = coreKinds(texts, capacity);
  const allowed = options.allowed === undefined ? online : new Set(options.allowed);
  const isolated = new Set(parseListOrNothing(texts.isolated) ?? []);
  const nohzFull = new Set(parseListOrNothing(texts.nohzFull) ?? []);
  const mine = present.filter((cpu) => online.has(cpu) && allowed.has(cpu));
  const balanced = mine.filter((cpu) => !isolated.has(cpu));
  const usable = options.isolated === 'reserve' || balanced.length === 0 ? mine : balanced;
  const housekeeping = chooseHousekeeping(options.housekeeping, present, usable, cores, nohzFull);
  const aside = new Set(housekeeping);
  return {
    cpus: present.map(
      (cpu): Cpu => ({
        cpu,
        core: cores.get(cpu)!,
        l2: l2s.get(cpu)!,
        l3: l3s.get(cpu)!,
        cluster: clusters.get(cpu)!,
        die: dies.get(cpu)!,
        node: nodeOf.get(cpu) ?? 0,
        package: packages.get(cpu)!,
        kind: kindOf(cpu),
        capacity: capacity.get(cpu)!,
        online: online.has(cpu),
        housekeeping: aside.has(cpu),
        isolated: isolated.has(cpu),
        nohzFull: nohzFull.has(cpu),
      }),
    ),
    schedulable: difference(usable, housekeeping),
    housekeeping,
    distance: distances(texts),
  };
}

function presentCpus(texts: TopologyTexts): Cpuset {
  const folders = [...texts.cpus.keys()];
  const present = parseListOrNothing(texts.present) ?? [];
  if (present.length > 0) return present;
  if (folders.length > 0) return cpuset(folders);
  const counted = [...(texts.procStat ?? '').matchAll(/^cpu(\d{1,5}) /gm)].map((match) => Number(match[1]));
  return counted.length > 0 ? cpuset(counted) : [0];
}

function onlineCpus(texts: TopologyTexts, present: Cpuset): Cpuset {
  const online = parseListOrNothing(texts.online) ?? [];
  if (online.length > 0) return intersection(present, online);
  return present.filter((cpu) => texts.cpus.get(cpu)?.online?.trim() !== '0');
}

function coreKeys(texts: TopologyTexts, present: Cpuset): (cpu: number) => string {
  const first = new Map<number, number>();
  for (const cpu of present) {
    const of = texts.cpus.get(cpu);
    const sharers = parseSharers(of?.coreCpusList, of?.coreCpusMask);
    if (sharers?.includes(cpu) && !first.has(cpu))
      for (const sharer of sharers) first.set(sharer, sharers[0]!);
  }
  return (cpu) => {
    const of = texts.cpus.get(cpu);
    if (first.has(cpu)) return `cpu ${first.get(cpu)}`;
    const coreId = nonNegative(of?.coreId);
    if (coreId === undefined) return `alone ${cpu}`;
    return `id ${nonNegative(of?.packageId) ?? 0}/${nonNegative(of?.dieId) ?? 0}/${coreId}`;
  };
}

/** Whom sysfs names as sharing something; `otherwise` for CPUs that nobody names. */
function sharedKeys(
  texts: TopologyTexts,
  present: Cpuset,
  of: (cpu: CpuTexts) => Sharing | undefined,
  otherwise: (cpu: number) => string,
): (cpu: number) => string {
  const first = new Map<number, number>();
  for (const cpu of present) {
    const text = texts.cpus.get(cpu);
    const sharing = text && of(text);
    for (const sharer of parseSharers(sharing?.list, sharing?.mask) ?? []) {
      if (!first.has(sharer)) first.set(sharer, cpu);
    }
  }
  return (cpu) => (first.has(cpu) ? `first ${first.get(cpu)}` : otherwise(cpu));
}

function nodeNumbers(texts: TopologyTexts): Map<number, number> {
  const nodeOf = new Map<number, number>();
  for (const { node, cpulist, cpumap } of texts.nodes) {
    for (const cpu of parseSharers(cpulist, cpumap) ?? []) nodeOf.set(cpu, node);
  }
  return nodeOf;
}

function capacities(texts: TopologyTexts, present: Cpuset): Map<number, number> {
  const relative = (of: (cpu: CpuTexts | undefined) => Text) => {
    const values = present.map((cpu) => nonNegative(of(texts.cpus.get(cpu))) ?? 0);
    const most = values.reduce((a, b) => Math.max(a, b), 0);
    return most === 0 ? undefined : values.map((value) => (value === 0 ? 1 : value / most));
  };
  const shares = relative((cpu) => cpu?.capacity) ?? relative((cpu) => cpu?.maxFrequency);
  return new Map(present.map((cpu, i) => [cpu, Math.max(1, Math.round((shares?.[i] ?? 1) * FULL_CAPACITY))]));
}

/** Intel hybrids name their core types; Arm's differ by capacity. A favoured core's few per cent of clock do not count. */
function coreKinds(texts: TopologyTexts, capacity: ReadonlyMap<number, number>): (cpu: number) => CoreKind {
  const efficient = new Set(parseListOrNothing(texts.efficiencyCpus) ?? []);
  const named = efficient.size > 0 || (parseListOrNothing(texts.performanceCpus) ?? []).length > 0;
  if (named) return (cpu) => (efficient.has(cpu) ? 'efficiency' : 'performance');
  const measured = [...texts.cpus.values()].some((cpu) => nonNegative(cpu.capacity) !== undefined);
  const slow = (cpu: number) => (capacity.get(cpu) ?? FULL_CAPACITY) < EFFICIENCY_BELOW * FULL_CAPACITY;
  return (cpu) => (measured && slow(cpu) ? 'efficiency' : 'performance');
}

/** Row i of a node's distance file is the distance to the i-th node that exists, whatever its number. */
function distances(texts: TopologyTexts): Map<number, Map<number, number>> {
  const numbers = texts.nodes.length === 0 ? [0] : texts.nodes.map(({ node }) => node);
  return new Map(
    numbers.map((node, row) => {
      const fields = texts.nodes[row]?.distance?.trim().split(/\s+/) ?? [];
      const to = numbers.map((other, i): [number, number] => [
        other,
        nonNegative(fields[i]) || (other === node ? LOCAL_DISTANCE : REMOTE_DISTANCE),
      ]);
      return [node, new Map(to)];
    }),
  );
}

/** Numbers keys 0, 1, 2 … in order of first appearance. */
function dense(cpus: Cpuset, keyOf: (cpu: number) => string): Map<number, number> {
  const numbers = new Map<string, number>();
  return new Map(
    cpus.map((cpu) => {
      const key = keyOf(cpu);
      const number = numbers.get(key) ?? numbers.size;
      numbers.set(key, number);
      return [cpu, number];
    }),
  );
}

/** A plain decimal number; the kernel writes -1 for "unknown". */
function nonNegative(text: Text): number | undefined {
  return text !== undefined && /^\s*\d{1,15}\s*$/.test(text) ? Number(text) : undefined;
}
