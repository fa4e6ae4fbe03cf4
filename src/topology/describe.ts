import { cpuset, difference, formatCpuset, intersection } from '../lib/cpuset.js';
import type { Cpu, Topology } from './topology.js';

/** One line for logs and listings: "16 CPUs on 8 cores, 1 package, 2 L3s, 2 NUMA nodes; reservable 2-15, housekeeping 0-1". */
export function describeTopology(topology: Topology): string {
  const { cpus, schedulable, housekeeping } = topology;
  const offline = cpus.filter((cpu) => !cpu.online).map(({ cpu }) => cpu);
  const online = cpus.filter((cpu) => cpu.online).map(({ cpu }) => cpu);
  const aside = difference(difference(online, schedulable), housekeeping);
  const isolated = intersection(aside, cpuset(cpus.filter((cpu) => cpu.isolated).map(({ cpu }) => cpu)));
  const barred = difference(aside, isolated);
  const shape = [
    `${count(cpus.length, 'CPU')} on ${count(
      distinct(cpus, (cpu) => cpu.core),
      'core',
    )}`,
    count(
      distinct(cpus, (cpu) => cpu.package),
      'package',
    ),
    count(
      distinct(cpus, (cpu) => cpu.l3),
      'L3',
    ),
    count(
      distinct(cpus, (cpu) => cpu.node),
      'NUMA node',
    ),
  ];
  const efficient = cpus.filter((cpu) => cpu.kind === 'efficiency').length;
  if (efficient > 0) shape.push(`${cpus.length - efficient} performance and ${efficient} efficiency CPUs`);
  const use = [`reservable ${formatCpuset(schedulable) || 'none'}`];
  if (housekeeping.length > 0) use.push(`housekeeping ${formatCpuset(housekeeping)}`);
  if (offline.length > 0) use.push(`offline ${formatCpuset(offline)}`);
  if (isolated.length > 0) use.push(`isolated by the kernel ${formatCpuset(isolated)}`);
  if (barred.length > 0) use.push(`not allowed to this process ${formatCpuset(barred)}`);
  return `${shape.join(', ')}; ${use.join(', ')}`;
}

function distinct(cpus: readonly Cpu[], of: (cpu: Cpu) => number): number {
  return new Set(cpus.map(of)).size;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
