import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readTopology } from '../../src/topology/read.js';
import type { Cpu } from '../../src/topology/topology.js';
import { makeFolder } from '../support/make-tree.js';

/** hwloc's recorded hosts (BSD-3-Clause), kept beside the repository, not in it. */
const RECORDED = join(import.meta.dirname, '../../../shared/topologies');

/** archive, CPUs, online, cores, L2s, L3s, nodes, packages, threads a core */
const HOSTS: readonly (readonly [string, number, number, number, number, number, number, number, number])[] =
  [
    ['128arm-2pa2n8cluster4co', 128, 128, 128, 128, 4, 4, 2, 1],
    ['16amd64-8n2c-cpusets', 16, 15, 16, 16, 8, 8, 8, 1],
    ['16em64t-4s2c2t', 16, 16, 8, 8, 4, 1, 4, 2],
    ['16em64t-4s2ca2c-cpusetreorder', 16, 16, 16, 8, 4, 1, 4, 1],
    ['256ppc-8n8s4t', 256, 256, 64, 64, 64, 8, 1, 4],
    ['32em64t-2n8c+dax+nvme+mic+dimms', 16, 16, 16, 16, 2, 2, 2, 1],
    ['40intel64-4n10c+pci-conflicts', 40, 40, 40, 40, 4, 4, 4, 1],
    ['64amd64-4s2n4ca2co', 64, 64, 32, 32, 8, 8, 4, 2],
    ['8em64t-2s4c-asymcaches', 8, 8, 8, 5, 2, 1, 2, 1],
    ['96em64t-4no4pa3ca2co', 96, 96, 96, 48, 16, 4, 16, 1],
  ];

describe('hosts recorded by hwloc', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  for (const [archive, ...expected] of HOSTS) {
    it(`${archive} is read as hwloc describes it`, (ctx) => {
      const file = join(RECORDED, `${archive}.tar.bz2`);
      if (!existsSync(file)) ctx.skip('the recorded hosts are not beside this checkout');
      const folder = makeFolder();
      folders.push(folder);
      const unread = ['*/cpufreq', '*/cpuidle', '*/index[0-2]/[!lts]*'].map((part) => `--exclude=${part}`);
      const wanted = ['*/sys/devices/system/cpu', '*/sys/devices/system/node'];
      execFileSync('tar', ['xjf', file, '-C', folder, ...unread, '--wildcards', ...wanted]);
      const root = join(folder, readdirSync(folder)[0]!);
      const topology = readTopology({
        sysRoot: join(root, 'sys'),
        procRoot: join(root, 'proc'),
        housekeeping: [],
      });
      const distinct = (of: (cpu: Cpu) => number) => new Set(topology.cpus.map(of)).size;
      const threads = topology.cpus.filter((cpu) => cpu.core === topology.cpus[0]!.core).length;
      expect([
        topology.cpus.length,
        topology.schedulable.length,
        distinct((cpu) => cpu.core),
        distinct((cpu) => cpu.l2),
        distinct((cpu) => cpu.l3),
        distinct((cpu) => cpu.node),
        distinct((cpu) => cpu.package),
        threads,
      ]).toEqual(expected);
      for (const cpu of topology.cpus) {
        const siblings = topology.cpus.filter((other) => other.core === cpu.core);
        expect(siblings.every((other) => other.l3 === cpu.l3 && other.node === cpu.node)).toBe(true);
        expect(topology.distance.get(cpu.node)?.get(cpu.node)).toBe(10);
      }
    });
  }
});
