import { CorecastError } from './errors.js';

/**
 * A set of CPU numbers in ascending order without repeats. Any number, any gaps: CPU 4095 is as good as CPU 0.
 * Text is the kernel's list format ("0-3,8"), Documentation/admin-guide/cputopology.rst.
 */
export type Cpuset = readonly number[];

/** Largest CPU number that text may name; Linux' CONFIG_NR_CPUS is at most 8192 today. */
const MAX_CPU = 65_535;

export function cpuset(cpus: Iterable<number>): Cpuset {
  return [...new Set(cpus)].sort((a, b) => a - b);
}

/** Parses "0-3,8" (also "0-30:2/4", the kernel's grouped form). Empty text is the empty set. */
export function parseCpuset(text: string): Cpuset {
  const cpus: number[] = [];
  const trimmed = text.trim();
  if (trimmed === '' || trimmed === '(null)') return [];
  for (const part of trimmed.split(',')) {
    const match = /^\s*(\d+)(?:-(\d+)(?::(\d+)\/(\d+))?)?\s*$/.exec(part);
    if (match === null) throw badList(text, part);
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    const used = match[3] === undefined ? 1 : Number(match[3]);
    const group = match[4] === undefined ? 1 : Number(match[4]);
    if (last < first || last > MAX_CPU || group < 1 || used > group) throw badList(text, part);
    for (let cpu = first; cpu <= last; cpu++) if ((cpu - first) % group < used) cpus.push(cpu);
  }
  return cpuset(cpus);
}

export function formatCpuset(cpus: Cpuset): string {
  const parts: string[] = [];
  for (let i = 0; i < cpus.length; ) {
    let j = i;
    while (j + 1 < cpus.length && cpus[j + 1] === cpus[j]! + 1) j++;
    parts.push(i === j ? String(cpus[i]) : `${cpus[i]}-${cpus[j]}`);
    i = j + 1;
  }
  return parts.join(',');
}

export function union(a: Cpuset, b: Cpuset): Cpuset {
  return cpuset([...a, ...b]);
}

export function intersection(a: Cpuset, b: Cpuset): Cpuset {
  const other = new Set(b);
  return a.filter((cpu) => other.has(cpu));
}

export function difference(a: Cpuset, b: Cpuset): Cpuset {
  const other = new Set(b);
  return a.filter((cpu) => !other.has(cpu));
}

export function isSubset(a: Cpuset, b: Cpuset): boolean {
  const other = new Set(b);
  return a.every((cpu) => other.has(cpu));
}

export function sameCpuset(a: Cpuset, b: Cpuset): boolean {
  return a.length === b.length && a.every((cpu, i) => cpu === b[i]);
}

function badList(text: string, part: string): CorecastError {
  return new CorecastError(
    'INVALID_ARGUMENT',
    `CPU list ${JSON.stringify(text)}: cannot read ${JSON.stringify(part)}`,
  );
}
