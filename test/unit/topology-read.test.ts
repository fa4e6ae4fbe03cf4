import { afterEach, describe, expect, it } from 'vitest';
import { parseCpuset } from '../../src/lib/cpuset.js';
import { isCorecastError } from '../../src/lib/errors.js';
import { describeTopology } from '../../src/topology/describe.js';
import { readTopology, type TopologyOptions } from '../../src/topology/read.js';
import type { Topology } from '../../src/topology/topology.js';
import { makeTree, sysFiles } from '../support/make-tree.js';

const trees: { remove(): void }[] = [];
afterEach(() => {
  for (const tree of trees.splice(0)) tree.remove();
});

function topologyOf(
  files: Readonly<Record<string, string>>,
  options: Partial<TopologyOptions> = {},
): Topology {
  const tree = makeTree(files);
  trees.push(tree);
  return readTopology({ sysRoot: tree.root, procRoot: tree.root, housekeeping: [], ...options });
}

const column = <K extends keyof Topology['cpus'][number]>(topology: Topology, key: K) =>
  topology.cpus.map((cpu) => cpu[key]);

/** 2 packages = nodes, 2 cores each, siblings 4 apart. */
const SMT = sysFiles(
  [0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => {
    const half = cpu % 4 < 2 ? 0 : 1;
    return {
      cpu,
      core: `${cpu % 4},${(cpu % 4) + 4}`,
      package: half,
      l3: half === 0 ? '0-1,4-5' : '2-3,6-7',
    };
  }),
  { 0: { cpulist: '0-1,4-5', distance: '10 21' }, 1: { cpulist: '2-3,6-7', distance: '21 10' } },
);

describe('a two-node host with SMT', () => {
  it('is read with siblings on one core and an L3, package and node each half', () => {
    const topology = topologyOf(SMT);
    expect(column(topology, 'core')).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
    expect(column(topology, 'l3')).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect(column(topology, 'node')).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect(column(topology, 'package')).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect(new Set(column(topology, 'kind'))).toEqual(new Set(['performance']));
    expect(topology.distance.get(0)?.get(1)).toBe(21);
    expect(topology.schedulable).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('sets the first core with both its CPUs aside when housekeeping is auto', () => {
    const topology = topologyOf(SMT, { housekeeping: 'auto' });
    expect(topology.housekeeping).toEqual([0, 4]);
    expect(topology.schedulable).toEqual([1, 2, 3, 5, 6, 7]);
    expect(describeTopology(topology)).toBe(
      '8 CPUs on 4 cores, 2 packages, 2 L3s, 2 NUMA nodes; reservable 1-3,5-7, housekeeping 0,4',
    );
  });

  it('sets nothing aside when the allowed CPUs lie on fewer than four cores', () => {
    const topology = topologyOf(SMT, { housekeeping: 'auto', allowed: parseCpuset('1-3,5') });
    expect(topology.housekeeping).toEqual([]);
    expect(topology.schedulable).toEqual([1, 2, 3, 5]);
    expect(describeTopology(topology)).toContain('not allowed to this process 0,4,6-7');
  });

  it.each([
    ['9', 'CPU 9 does not exist'],
    ['0-7', 'no CPU is left to reserve'],
  ])('refuses the housekeeping list %s by name', (list, why) => {
    let thrown: unknown;
    try {
      topologyOf(SMT, { housekeeping: parseCpuset(list) });
    } catch (error) {
      thrown = error;
    }
    expect(isCorecastError(thrown, 'CONFIG_INVALID')).toBe(true);
    expect((thrown as Error).message).toContain(`cpus.housekeeping is "${list}": ${why}`);
  });

  it('takes a housekeeping list as it stands', () => {
    expect(topologyOf(SMT, { housekeeping: [3, 0] }).housekeeping).toEqual([0, 3]);
  });

  it('lists offline CPUs, marked, and never as schedulable', () => {
    const topology = topologyOf({ ...SMT, 'devices/system/cpu/online': '0-2,4-7\n' });
    expect(topology.cpus.find(({ cpu }) => cpu === 3)?.online).toBe(false);
    expect(topology.schedulable).toEqual([0, 1, 2, 4, 5, 6, 7]);
    expect(describeTopology(topology)).toContain('offline 3');
  });
});

describe('hybrid hosts', () => {
  const cpus = [
    { cpu: 0, core: '0-1', l3: '0-5' },
    { cpu: 1, core: '0-1', l3: '0-5' },
    { cpu: 2, core: '2', l3: '0-5' },
    { cpu: 3, core: '3', l3: '0-5' },
    { cpu: 4, core: '4', l3: '0-5' },
    { cpu: 5, core: '5', l3: '0-5' },
  ];
  const node = { 0: { cpulist: '0-5', distance: '10' } };

  it('are known by the core types that the kernel names', () => {
    const topology = topologyOf(
      sysFiles(cpus, node, {
        'devices/cpu_core/cpus': '0-1\n',
        'devices/cpu_atom/cpus': '2-5\n',
        ...Object.fromEntries(
          cpus.map(({ cpu }) => [
            `devices/system/cpu/cpu${cpu}/cpufreq/cpuinfo_max_freq`,
            cpu < 2 ? '5000000\n' : '3750000\n',
          ]),
        ),
      }),
    );
    expect(column(topology, 'kind').map((kind) => kind[0])).toEqual(['p', 'p', 'e', 'e', 'e', 'e']);
    expect(column(topology, 'capacity')).toEqual([1024, 1024, 768, 768, 768, 768]);
    expect(describeTopology(topology)).toContain('2 performance and 4 efficiency CPUs');
  });

  it('are known by cpu_capacity where no types are named, scaled to the fastest core', () => {
    const capacity = (cpu: number) => (cpu < 2 ? '512\n' : '200\n');
    const topology = topologyOf(
      sysFiles(
        cpus,
        node,
        Object.fromEntries(
          cpus.map(({ cpu }) => [`devices/system/cpu/cpu${cpu}/cpu_capacity`, capacity(cpu)]),
        ),
      ),
    );
    expect(column(topology, 'kind').map((kind) => kind[0])).toEqual(['p', 'p', 'e', 'e', 'e', 'e']);
    expect(column(topology, 'capacity')).toEqual([1024, 1024, 400, 400, 400, 400]);
  });

  it('are not made of cores whose clocks merely differ', () => {
    const files = sysFiles(cpus, node, { 'devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq': '5200000' });
    for (const cpu of [1, 2, 3, 4, 5])
      files[`devices/system/cpu/cpu${cpu}/cpufreq/cpuinfo_max_freq`] = '2000000';
    expect(new Set(column(topologyOf(files), 'kind'))).toEqual(new Set(['performance']));
  });
});

describe('numbering', () => {
  it('may be sparse and go past 1024', () => {
    const cpus = [0, 7, 1024, 1999, 2000].map((cpu) => ({
      cpu,
      core: String(cpu),
      l3: '0,7,1024,1999-2000',
    }));
    const topology = topologyOf(sysFiles(cpus, { 5: { cpulist: '0,7,1024,1999-2000', distance: '10' } }));
    expect(column(topology, 'cpu')).toEqual([0, 7, 1024, 1999, 2000]);
    expect(column(topology, 'core')).toEqual([0, 1, 2, 3, 4]);
    expect(new Set(column(topology, 'node'))).toEqual(new Set([5]));
    expect(topology.distance.get(5)?.get(5)).toBe(10);
  });

  it('of nodes may be sparse: row i of a distance file speaks of the i-th node that exists', () => {
    const cpus = [0, 1].map((cpu) => ({ cpu, core: String(cpu) }));
    const topology = topologyOf(
      sysFiles(cpus, { 2: { cpulist: '0', distance: '10 32' }, 8: { cpulist: '1', distance: '32 10' } }),
    );
    expect(topology.distance.get(2)?.get(8)).toBe(32);
    expect(topology.distance.get(8)?.get(8)).toBe(10);
  });
});

describe('groups within a package', () => {
  it('are read where the kernel names them: second-level caches, clusters, dies', () => {
    const files = sysFiles(
      [0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => ({ cpu, core: String(cpu), l3: '0-7' })),
      { 0: { cpulist: '0-7', distance: '10' } },
    );
    for (let cpu = 0; cpu < 8; cpu++) {
      const root = `devices/system/cpu/cpu${cpu}`;
      const pair = cpu - (cpu % 2);
      files[`${root}/cache/index2/level`] = '2\n';
      files[`${root}/cache/index2/type`] = 'Unified\n';
      files[`${root}/cache/index2/shared_cpu_list`] = `${pair}-${pair + 1}\n`;
      files[`${root}/topology/cluster_cpus_list`] = cpu < 4 ? '0-3\n' : '4-7\n';
      files[`${root}/topology/die_cpus_list`] = cpu < 6 ? '0-5\n' : '6-7\n';
    }
    const topology = topologyOf(files);
    expect(column(topology, 'l2')).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(column(topology, 'cluster')).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expect(column(topology, 'die')).toEqual([0, 0, 0, 0, 0, 0, 1, 1]);
    expect(new Set(column(topology, 'l3'))).toEqual(new Set([0]));
  });

  it('are the core and the package where it does not', () => {
    const topology = topologyOf(SMT);
    expect(column(topology, 'l2')).toEqual(column(topology, 'core'));
    expect(column(topology, 'cluster')).toEqual(column(topology, 'core'));
    expect(column(topology, 'die')).toEqual(column(topology, 'package'));
  });
});

describe('CPUs that the kernel isolates', () => {
  const files = { ...SMT, 'devices/system/cpu/isolated': '2-3,6-7\n' };

  it('are left alone, and named', () => {
    const topology = topologyOf(files);
    expect(topology.schedulable).toEqual([0, 1, 4, 5]);
    expect(topology.cpus.filter(({ isolated }) => isolated).map(({ cpu }) => cpu)).toEqual([2, 3, 6, 7]);
    expect(describeTopology(topology)).toContain('reservable 0-1,4-5, isolated by the kernel 2-3,6-7');
  });

  it('are reserved where the configuration says so, and where there are no others', () => {
    expect(topologyOf(files, { isolated: 'reserve' }).schedulable).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(topologyOf(files, { allowed: parseCpuset('2-3') }).schedulable).toEqual([2, 3]);
    expect(topologyOf({ ...SMT, 'devices/system/cpu/isolated': '\n' }).schedulable).toHaveLength(8);
  });

  it('and those without a tick are not what housekeeping is put on', () => {
    const tickless = { ...SMT, 'devices/system/cpu/nohz_full': '0-1,4-5\n' };
    const topology = topologyOf(tickless, { housekeeping: 'auto' });
    expect(topology.housekeeping).toEqual([2, 6]);
    expect(topology.cpus[0]).toMatchObject({ nohzFull: true });
    const none = { ...SMT, 'devices/system/cpu/nohz_full': '(null)\n' };
    expect(topologyOf(none, { housekeeping: 'auto' }).housekeeping).toEqual([0, 4]);
  });
});

describe('missing and unreadable files', () => {
  it('leave each CPU its own core, one L3 a package, and node 0', () => {
    const topology = topologyOf({
      'devices/system/cpu/cpu0/online': '1\n',
      'devices/system/cpu/cpu1/online': '0\n',
      'devices/system/cpu/cpu2/topology/physical_package_id': '3\n',
    });
    expect(column(topology, 'core')).toEqual([0, 1, 2]);
    expect(column(topology, 'l3')).toEqual([0, 0, 1]);
    expect(column(topology, 'node')).toEqual([0, 0, 0]);
    expect(topology.schedulable).toEqual([0, 2]);
    expect(topology.distance.get(0)?.get(0)).toBe(10);
  });

  it('leave the masks to say what lists would', () => {
    const files: Record<string, string> = { 'devices/system/node/node1/cpumap': '1,0000000c\n' };
    for (const cpu of [2, 3, 32]) {
      const root = `devices/system/cpu/cpu${cpu}`;
      files[`${root}/topology/thread_siblings`] = cpu === 32 ? '00000001,00000000\n' : '00000000,0000000c\n';
      files[`${root}/cache/index2/level`] = '3\n';
      files[`${root}/cache/index2/type`] = 'Unified\n';
      files[`${root}/cache/index2/shared_cpu_map`] = '00000001,0000000c\n';
    }
    const topology = topologyOf(files);
    expect(column(topology, 'core')).toEqual([0, 0, 1]);
    expect(column(topology, 'l3')).toEqual([0, 0, 0]);
    expect(column(topology, 'node')).toEqual([1, 1, 1]);
  });

  it('leave core_id within a package and die to group siblings when neither list nor mask is there', () => {
    const of = (cpu: number, die: number, core: number) => ({
      [`devices/system/cpu/cpu${cpu}/topology/core_id`]: `${core}\n`,
      [`devices/system/cpu/cpu${cpu}/topology/die_id`]: `${die}\n`,
    });
    const topology = topologyOf({ ...of(0, 0, 4), ...of(1, 1, 4), ...of(2, 0, 4), ...of(3, -1, -1) });
    expect(column(topology, 'core')).toEqual([0, 1, 0, 2]);
  });

  it('never throw, whatever they hold', () => {
    const nonsense = ['', '\n', 'x', '5-2', '-1', '99999999999999999999', '0-', 'é\0', ',,,', '0x3'];
    for (const text of nonsense) {
      const files = Object.fromEntries(Object.keys(SMT).map((path) => [path, text]));
      const topology = topologyOf(files);
      expect(topology.cpus.length).toBeGreaterThan(0);
      expect(topology.schedulable.length).toBeGreaterThan(0);
    }
  });

  it('leave the CPUs that /proc/stat counts when sysfs knows none, and one when nothing does', () => {
    const counted = topologyOf({ stat: 'cpu  1 2 3\ncpu0 1 2\ncpu3 1 2\nintr 5\n' });
    expect(column(counted, 'cpu')).toEqual([0, 3]);
    expect(column(topologyOf({}), 'cpu')).toEqual([0]);
  });
});
