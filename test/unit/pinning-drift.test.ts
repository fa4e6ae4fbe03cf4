import { afterEach, describe, expect, it } from 'vitest';
import type { Stray } from '../../src/lib/native.js';
import { parseCgroupPaths, readCgroupCpus, systemdReloadedMs } from '../../src/pinning/cgroup-files.js';
import { type DriftEvidence, explainDrift, explainRefusal } from '../../src/pinning/drift.js';
import { makeTree } from '../support/make-tree.js';

const stray = (tid: number, cpus: number[], ageSeconds = 1000, name = `t${tid}`): Stray => ({
  ...{ tid, name, cpus, ageSeconds },
});
const ALL = [0, 1, 2, 3];
const evidence = (more: Partial<DriftEvidence>): DriftEvidence => ({
  wanted: [2],
  threads: 3,
  changed: more.strays?.length ?? 0,
  strays: [],
  sinceSeconds: 1,
  cgroup: { path: '/system.slice/a.service', cpus: ALL },
  cgroupBefore: { path: '/system.slice/a.service', cpus: ALL },
  reloadedSeconds: undefined,
  ...more,
});
const everyThread = [stray(1, ALL), stray(2, ALL), stray(3, ALL)];

describe('what took threads off their CPUs', () => {
  it('is the cgroup when all have its CPUs and systemd has just read its units', () => {
    const drift = explainDrift(evidence({ strays: everyThread, reloadedSeconds: 0.4 }));
    expect(drift).toMatchObject({ cause: 'cgroup', threads: 3 });
    expect(drift.text).toContain('/system.slice/a.service gave every thread the CPUs 0-3');
    expect(drift.text).toContain('0.4 s ago (systemctl daemon-reload)');
  });

  it('is the cgroup when its CPUs changed, or the process was moved to another', () => {
    const changed = evidence({
      strays: everyThread,
      cgroupBefore: { path: '/system.slice/a.service', cpus: [2] },
    });
    expect(explainDrift(changed)).toMatchObject({
      cause: 'cgroup',
      text: expect.stringContaining('was 2 before'),
    });
    const switchedOn = evidence({ strays: everyThread, cgroupBefore: { path: '/system.slice', cpus: ALL } });
    expect(explainDrift(switchedOn)).toMatchObject({
      cause: 'cgroup',
      text: expect.stringContaining('a cpuset was switched on there; before, that of /system.slice held'),
    });
    const moved = evidence({ strays: everyThread, cgroupBefore: { path: '/b', cpus: ALL } });
    expect(explainDrift(moved)).toMatchObject({
      cause: 'cgroup',
      text: expect.stringContaining('moved there from /b'),
    });
  });

  it('is another process when all have one mask and the cgroup did nothing', () => {
    const drift = explainDrift(evidence({ strays: everyThread, reloadedSeconds: 3600 }));
    expect(drift).toMatchObject({ cause: 'whole_process', text: expect.stringContaining('taskset -ap') });
    const elsewhere = [stray(1, [1]), stray(2, [1]), stray(3, [1])];
    expect(explainDrift(evidence({ strays: elsewhere, reloadedSeconds: 0.1 })).cause).toBe('whole_process');
  });

  it('is the threads themselves when they were made since the last look, and names them', () => {
    const drift = explainDrift(
      evidence({ threads: 9, strays: [stray(7, ALL, 0.8, 'x265'), stray(8, ALL, 0.2, 'x265')] }),
    );
    expect(drift.cause).toBe('new_threads');
    expect(drift.text).toBe('2 new threads chose other CPUs at the start: x265 (7) on 0-3, x265 (8) on 0-3');
  });

  it('leaves open who it was when some old threads have other masks', () => {
    const drift = explainDrift(evidence({ strays: [stray(2, [0]), stray(3, [1])] }));
    expect(drift).toMatchObject({ cause: 'threads', threads: 2 });
    expect(drift.text).toContain(
      '2 of 3 threads were set to other CPUs, by themselves or by another process',
    );
  });

  it('names four threads at most', () => {
    const strays = Array.from({ length: 9 }, (_, tid) => stray(tid, [tid % 2]));
    expect(explainDrift(evidence({ threads: 20, strays })).text).toMatch(/t3 \(3\) on 1 and 5 more$/);
  });

  it('says which CPUs are offline, or what the cgroup allows, when nothing can be repaired', () => {
    const cgroup = { path: '/a', cpus: [0] };
    expect(explainRefusal([3], 4, undefined, [0, 1])).toMatchObject({ cause: 'offline' });
    expect(explainRefusal([1], 4, cgroup, [0, 1])).toMatchObject({
      cause: 'cgroup',
      text: expect.stringContaining('/a allows CPUs 0 only, none of 1'),
    });
  });
});

describe('cgroup files', () => {
  let remove = () => {};
  afterEach(() => remove());
  const tree = (files: Record<string, string>) => {
    const made = makeTree(files);
    remove = made.remove;
    return { procRoot: `${made.root}/proc`, cgroupRoot: `${made.root}/cg`, root: made.root };
  };

  it('names the hierarchies of both versions', () => {
    expect(parseCgroupPaths('9:name=systemd:/\n3:cpu,cpuset:/a b\n0::/u:x\n')).toEqual({
      unified: '/u:x',
      cpuset: '/a b',
    });
    expect(parseCgroupPaths('')).toEqual({ unified: undefined, cpuset: undefined });
  });

  it('finds the nearest cgroup with a cpuset, from the process upwards', () => {
    const roots = tree({
      'proc/7/cgroup': '0::/s.slice/a.service\n',
      'cg/s.slice/cpuset.cpus.effective': '0-2\n',
      'cg/s.slice/a.service/cgroup.procs': '7\n',
      'cg/cpuset.cpus.effective': '0-7\n',
    });
    expect(readCgroupCpus(roots, 7)).toEqual({ path: '/s.slice', cpus: [0, 1, 2] });
    expect(readCgroupCpus(roots, 8)).toBeUndefined();
  });

  it('reads version 1, and gives up where a list is no list', () => {
    const roots = tree({ 'proc/7/cgroup': '3:cpuset:/d\n0::/\n', 'cg/cpuset/d/cpuset.cpus': '1,3\n' });
    expect(readCgroupCpus(roots, 7)).toEqual({ path: '/d', cpus: [1, 3] });
    remove();
    const bad = tree({ 'proc/7/cgroup': '0::/\n', 'cg/cpuset.cpus.effective': 'many\n' });
    expect(readCgroupCpus(bad, 7)).toBeUndefined();
  });

  it('takes the newest of the generator folders for the last daemon-reload', () => {
    const { root } = tree({ 'run/systemd/generator/a.mount': '' });
    expect(Math.abs(systemdReloadedMs(`${root}/run`)! - Date.now())).toBeLessThan(60_000);
    expect(systemdReloadedMs(`${root}/nothing`)).toBeUndefined();
  });
});
