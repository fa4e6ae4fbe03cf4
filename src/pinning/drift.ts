/**
 * What took threads off their CPUs. The kernel keeps no record of who called sched_setaffinity(2), so this is a
 * conclusion from what can be seen: which threads, how old they are, what they had, and what their cgroup allows.
 *
 *   all threads, the CPUs of their cgroup, and those changed or systemd has just reloaded   the cgroup
 *   all threads, one mask                                                                   another process, such as taskset -a
 *   threads made since the last look                                                        they chose at their start, as libx265's pool does
 *   anything else                                                                           those threads, or another process
 *
 * Kernels before 6.2 forget the affinity of every thread when a cpuset is written or the controller is switched on
 * (commit 8f9ea86fdf99); systemd does both on daemon-reload when a unit says AllowedCPUs=.
 */
import { type Cpuset, formatCpuset, isSubset, sameCpuset } from '../lib/cpuset.js';
import type { Stray } from '../lib/native.js';

export type DriftCause = 'cgroup' | 'whole_process' | 'new_threads' | 'threads' | 'offline';

export interface Drift {
  readonly cause: DriftCause;
  /** Threads that were found outside. */
  readonly threads: number;
  /** One sentence for events and logs. */
  readonly text: string;
}

export interface CgroupCpus {
  /** As in /proc/PID/cgroup. */
  readonly path: string;
  /** What the kernel lets its processes use now. */
  readonly cpus: Cpuset;
}

export interface DriftEvidence {
  readonly wanted: Cpuset;
  readonly threads: number;
  readonly changed: number;
  readonly strays: readonly Stray[];
  /** Since all threads were last seen in order. */
  readonly sinceSeconds: number;
  /** Undefined where there are no cpusets or they cannot be read. */
  readonly cgroup: CgroupCpus | undefined;
  /** The same when the process was pinned. */
  readonly cgroupBefore: CgroupCpus | undefined;
  /** Since systemd last read its units; undefined when it is not to be seen. */
  readonly reloadedSeconds: number | undefined;
}

/** Thread start times count in ticks of 10 ms, and a look takes time itself. */
const SLACK_SECONDS = 0.1;
/** From a daemon-reload to the cpusets it writes. */
const RELOAD_SECONDS = 5;
const MOST_NAMED = 4;

export function explainDrift(evidence: DriftEvidence): Drift {
  const cause = causeOf(evidence);
  return { cause, threads: evidence.changed, text: WORDS[cause](evidence) };
}

function causeOf(evidence: DriftEvidence): DriftCause {
  const { strays, changed, threads, cgroup } = evidence;
  const [first] = strays;
  if (first === undefined) return 'threads';
  const alike = strays.every(({ cpus }) => sameCpuset(cpus, first.cpus));
  const all = changed >= threads && alike;
  if (all && cgroup !== undefined && sameCpuset(first.cpus, cgroup.cpus) && cgroupActed(evidence)) {
    return 'cgroup';
  }
  if (strays.every((stray) => isNew(stray, evidence))) return 'new_threads';
  return all && threads > 1 ? 'whole_process' : 'threads';
}

function cgroupActed(evidence: DriftEvidence): boolean {
  return cgroupChange(evidence) !== '' || reloaded(evidence) !== '';
}

function cgroupChange({ cgroup, cgroupBefore }: DriftEvidence): string {
  if (cgroup === undefined || cgroupBefore === undefined) return '';
  if (isAbove(cgroupBefore.path, cgroup.path)) {
    return `a cpuset was switched on there; before, that of ${cgroupBefore.path} held`;
  }
  if (cgroup.path !== cgroupBefore.path) return `the process was moved there from ${cgroupBefore.path}`;
  if (sameCpuset(cgroup.cpus, cgroupBefore.cpus)) return '';
  return `that was ${formatCpuset(cgroupBefore.cpus)} before`;
}

function isAbove(path: string, other: string): boolean {
  return path !== other && other.startsWith(path === '/' ? path : `${path}/`);
}

function reloaded({ reloadedSeconds: ago, sinceSeconds }: DriftEvidence): string {
  if (ago === undefined || ago > sinceSeconds + RELOAD_SECONDS) return '';
  return `systemd read its units again ${ago.toFixed(1)} s ago (systemctl daemon-reload)`;
}

function isNew({ ageSeconds }: Stray, { sinceSeconds }: DriftEvidence): boolean {
  return ageSeconds <= sinceSeconds + SLACK_SECONDS;
}

const WORDS: Record<DriftCause, (evidence: DriftEvidence) => string> = {
  cgroup: (evidence) => {
    const { path, cpus } = evidence.cgroup!;
    const why = [cgroupChange(evidence), reloaded(evidence)].filter((part) => part !== '').join('; ');
    return `its cgroup ${path} gave every thread the CPUs ${formatCpuset(cpus)}: ${why}`;
  },
  whole_process: ({ strays, threads }) =>
    `all ${threads} threads had been set to CPUs ${formatCpuset(strays[0]!.cpus)}: another process did it, such as taskset -ap`,
  new_threads: ({ strays, changed }) =>
    `${changed} new ${changed === 1 ? 'thread' : 'threads'} chose other CPUs at the start: ${named(strays)}`,
  threads: ({ strays, changed, threads }) =>
    `${changed} of ${threads} threads were set to other CPUs, by themselves or by another process such as taskset -p: ${named(strays)}`,
  offline: ({ wanted }) => `of its CPUs ${formatCpuset(wanted)} none is online and allowed`,
};

/** The kernel refuses to pin: no CPU that is wanted is online and allowed by the cgroup. */
export function explainRefusal(
  wanted: Cpuset,
  threads: number,
  cgroup: CgroupCpus | undefined,
  online: Cpuset,
): Drift {
  const offline = wanted.filter((cpu) => !online.includes(cpu));
  if (cgroup !== undefined && isSubset(wanted, online)) {
    const text = `its cgroup ${cgroup.path} allows CPUs ${formatCpuset(cgroup.cpus)} only, none of ${formatCpuset(wanted)}; its threads run on those`;
    return { cause: 'cgroup', threads, text };
  }
  const gone = offline.length > 0 ? offline : wanted;
  return {
    cause: 'offline',
    threads,
    text: `CPUs ${formatCpuset(gone)} are offline: its threads run anywhere`,
  };
}

function named(strays: readonly Stray[]): string {
  const shown = strays
    .slice(0, MOST_NAMED)
    .map(({ tid, name, cpus }) => `${name === '' ? 'thread' : name} (${tid}) on ${formatCpuset(cpus)}`);
  const more = strays.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}
