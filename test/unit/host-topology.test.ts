import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { configSchema } from '../../src/config/schema.js';
import { HostTopology } from '../../src/host-topology.js';
import { type Cpuset, parseCpuset } from '../../src/lib/cpuset.js';
import { silentLog } from '../../src/lib/log.js';
import { makeTree, sysFiles } from '../support/make-tree.js';

const CPUS = [0, 1, 2, 3].map((cpu) => ({ cpu, core: String(cpu), l3: '0-3' }));

function host(): { topology: HostTopology; root: string; own: { cpus: Cpuset } } {
  const tree = makeTree(sysFiles(CPUS, { 0: { cpulist: '0-3', distance: '10' } }));
  onTestFinished(() => tree.remove());
  const own = { cpus: parseCpuset('0-3') };
  const config = configSchema.parse({ cpus: { housekeeping: '' } });
  const { root } = tree;
  const topology = new HostTopology({
    ...{ sysRoot: root, procRoot: root, log: silentLog },
    allowed: () => own.cpus,
    config: () => config,
  });
  return { topology, root, own };
}

it('follows CPUs that go offline at once', () => {
  const { topology, root } = host();
  expect(topology.follow()).toBe(false);
  writeFileSync(join(root, 'devices/system/cpu/online'), '0-1,3\n');
  expect(topology.follow()).toBe(true);
  expect(topology.topology.schedulable).toEqual([0, 1, 3]);
  expect(topology.follow()).toBe(false);
});

it('follows what this process may use once that has stayed for some ticks', () => {
  const { topology, own } = host();
  own.cpus = parseCpuset('1-2');
  for (let tick = 1; tick < 5; tick++) expect(topology.follow()).toBe(false);
  expect(topology.topology.schedulable).toEqual([0, 1, 2, 3]);
  expect(topology.follow()).toBe(true);
  expect(topology.topology.schedulable).toEqual([1, 2]);
  expect(topology.follow()).toBe(false);
  own.cpus = parseCpuset('0-3');
  for (let tick = 1; tick < 5; tick++) expect(topology.follow()).toBe(false);
  expect(topology.follow()).toBe(true);
  expect(topology.topology.schedulable).toEqual([0, 1, 2, 3]);
});

it('does not follow what is over in a moment: a unit that changes its slice', () => {
  const { topology, own } = host();
  for (let round = 0; round < 5; round++) {
    own.cpus = parseCpuset('0');
    for (let tick = 0; tick < 3; tick++) expect(topology.follow()).toBe(false);
    own.cpus = parseCpuset('0-3');
    expect(topology.follow()).toBe(false);
  }
  expect(topology.topology.schedulable).toEqual([0, 1, 2, 3]);
});
