/**
 * Reads the host from sysfs. Kernels differ in which files they have (lists came after hex masks, die and cluster ids
 * later still, containers hide whole folders), so a file that is missing or unreadable is an absent text, never an
 * error; parse.ts says what each absence means. Documentation/admin-guide/cputopology.rst,
 * Documentation/ABI/testing/sysfs-devices-system-cpu.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cpuset } from '../lib/cpuset.js';
import { type CpuTexts, parseTopology, type Sharing, type TopologyTexts } from './parse.js';
import { parseSharers } from './sharers.js';
import type { Topology } from './topology.js';

export interface TopologyOptions {
  /** Usually "/sys". */
  readonly sysRoot: string;
  /** Usually "/proc"; asked only where sysfs knows no CPUs. */
  readonly procRoot: string;
  /** The daemon's own affinity: what its container or unit lets it hand out. Absent: every online CPU. */
  readonly allowed?: Cpuset;
  readonly housekeeping: 'auto' | Cpuset;
  /** Whether CPUs that the kernel isolates may be reserved. Absent: only where there are no others. */
  readonly isolated?: 'leave' | 'reserve';
}

/** Throws CONFIG_INVALID for a housekeeping list that cannot be; never for what sysfs says or lacks. */
export function readTopology(options: TopologyOptions): Topology {
  return parseTopology(readTopologyTexts(options.sysRoot, options.procRoot), options);
}

export function readTopologyTexts(sysRoot: string, procRoot: string): TopologyTexts {
  const cpuRoot = join(sysRoot, 'devices/system/cpu');
  const nodeRoot = join(sysRoot, 'devices/system/node');
  const cpus = readCpus(cpuRoot);
  const nodes = numbered(nodeRoot, 'node').map((node) => ({
    node,
    cpulist: read(join(nodeRoot, `node${node}`, 'cpulist')),
    cpumap: read(join(nodeRoot, `node${node}`, 'cpumap')),
    distance: read(join(nodeRoot, `node${node}`, 'distance')),
  }));
  return {
    present: read(join(cpuRoot, 'present')),
    online: read(join(cpuRoot, 'online')),
    isolated: read(join(cpuRoot, 'isolated')),
    nohzFull: read(join(cpuRoot, 'nohz_full')),
    cpus,
    nodes,
    performanceCpus: read(join(sysRoot, 'devices/cpu_core/cpus')),
    efficiencyCpus: read(join(sysRoot, 'devices/cpu_atom/cpus')),
    procStat: cpus.size === 0 ? read(join(procRoot, 'stat')) : undefined,
  };
}

/**
 * What one CPU says of its L3 or core holds for every CPU it names, so those are not asked again: on a host of 4,096
 * CPUs this saves most of 80,000 file reads.
 */
function readCpus(cpuRoot: string): Map<number, CpuTexts> {
  const cpus = new Map<number, CpuTexts>();
  const known = {
    l2: new Set<number>(),
    l3: new Set<number>(),
    die: new Set<number>(),
    cluster: new Set<number>(),
  };
  for (const cpu of numbered(cpuRoot, 'cpu')) {
    const root = join(cpuRoot, `cpu${cpu}`);
    const of = (path: string) => read(join(root, path));
    const coreCpusList = of('topology/core_cpus_list') ?? of('topology/thread_siblings_list');
    const once = (what: Set<number>, path: string) => {
      const list = what.has(cpu) ? undefined : of(path);
      for (const sharer of parseSharers(list, undefined) ?? []) what.add(sharer);
      return list;
    };
    const { l2, l3 } = readCaches(join(root, 'cache'), !known.l2.has(cpu), !known.l3.has(cpu));
    for (const sharer of parseSharers(l2?.list, l2?.mask) ?? []) known.l2.add(sharer);
    for (const sharer of parseSharers(l3?.list, l3?.mask) ?? []) known.l3.add(sharer);
    cpus.set(cpu, {
      online: of('online'),
      coreCpusList,
      coreCpusMask:
        coreCpusList === undefined ? (of('topology/core_cpus') ?? of('topology/thread_siblings')) : undefined,
      coreId: coreCpusList === undefined ? of('topology/core_id') : undefined,
      dieId: coreCpusList === undefined ? of('topology/die_id') : undefined,
      packageId: of('topology/physical_package_id'),
      dieCpusList: once(known.die, 'topology/die_cpus_list'),
      clusterCpusList: once(known.cluster, 'topology/cluster_cpus_list'),
      l2,
      l3,
      capacity: of('cpu_capacity'),
      maxFrequency: of('cpufreq/cpuinfo_max_freq'),
    });
  }
  return cpus;
}

/** The level 2 cache, and the level 3 one or the nearest level above where there is no third: data or unified. */
function readCaches(cacheRoot: string, l2: boolean, l3: boolean): Pick<CpuTexts, 'l2' | 'l3'> {
  if (!l2 && !l3) return { l2: undefined, l3: undefined };
  const levels = numbered(cacheRoot, 'index')
    .map((index) => join(cacheRoot, `index${index}`))
    .map((root) => ({ root, level: Number(read(join(root, 'level')) ?? 0) }))
    .filter(({ root, level }) => level >= 2 && read(join(root, 'type'))?.trim() !== 'Instruction')
    .sort((a, b) => a.level - b.level);
  const sharing = (at: { readonly root: string } | undefined): Sharing | undefined =>
    at && { list: read(join(at.root, 'shared_cpu_list')), mask: read(join(at.root, 'shared_cpu_map')) };
  return {
    l2: l2 ? sharing(levels.find(({ level }) => level === 2)) : undefined,
    l3: l3 ? sharing(levels.find(({ level }) => level >= 3)) : undefined,
  };
}

function read(path: string): string | undefined {
  try {
    // Recorded trees may end texts with NUL bytes.
    return readFileSync(path, 'utf8').replaceAll('\0', '');
  } catch {
    return undefined;
  }
}

/** N of the entries "<prefix>N", ascending. */
function numbered(folder: string, prefix: string): number[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.startsWith(prefix) && /^\d{1,5}$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}
