import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { createHostPinning } from '../../src/pinning/backend.js';
import { createCgroupPinning } from '../../src/pinning/cgroup.js';
import { enterOwnCgroup, type OwnCgroupOptions } from '../../src/pinning/own-cgroup.js';
import type { Pinning } from '../../src/pinning/pinning.js';
import { type FakeProcess, fakeKernel } from '../support/fake-kernel.js';
import { makeTree } from '../support/make-tree.js';

const ref = { pid: 42, startTicks: 777 };
const OWN = 'cg/a.service/corecast-42';
const ONLINE = [0, 1, 2, 3, 4, 5, 6, 7];

describe('a channel with a cpuset of its own', () => {
  let tree: ReturnType<typeof makeTree>;
  let process: FakeProcess;
  let pinning: Pinning;
  let without: string[];

  const begin = (more: { cgroup?: string; notAsked?: string } = {}) => {
    tree = makeTree({
      'proc/42/cgroup': `0::${more.cgroup ?? '/a.service/corecast-42'}\n`,
      [`${OWN}/cpuset.cpus`]: '0-1\n',
      [`${OWN}/cpuset.cpus.effective`]: '0-1\n',
    });
    process = { ...ref, threads: new Map([42, 43].map((tid) => [tid, [0, 1]])), calls: [] };
    without = [];
    const addon = fakeKernel(process, ONLINE);
    const roots = { procRoot: join(tree.root, 'proc'), cgroupRoot: join(tree.root, 'cg') };
    pinning = createCgroupPinning({
      ...{ addon, roots, affinity: createPinning({ addon, procRoot: roots.procRoot, sysRoot: tree.root }) },
      onWithout: (_, why) => without.push(why),
      ...(more.notAsked === undefined ? {} : { notAsked: more.notAsked }),
    });
  };
  /** As the kernel reads it: up to the newline. */
  const asked = () => readFileSync(join(tree.root, OWN, 'cpuset.cpus'), 'utf8').split('\n')[0];
  const grant = (text: string) => writeFileSync(join(tree.root, OWN, 'cpuset.cpus.effective'), `${text}\n`);
  afterEach(() => tree.remove());

  it('is moved inside a cpuset that holds old and new CPUs, which is narrowed last', () => {
    begin();
    const seen: [string, string | undefined][] = [];
    process.onCall = (name) => {
      if (name === 'setProcessAffinity') seen.push([name, asked()]);
    };
    const { threads, repaired } = pinning.pin(ref, [4, 5]);
    expect(seen.map(([, cpus]) => cpus)).toEqual(['0-1,4-5', '0-1,4-5']);
    expect(asked()).toBe('4-5');
    expect(threads.every(({ cpus, verified }) => verified && String(cpus) === '4,5')).toBe(true);
    expect(repaired).toBe(2);
    expect(pinning.backend()).toEqual({
      kind: 'cgroup',
      reason: '1 of 1 channels have a cpuset of their own',
      ownCpusets: 1,
    });
    expect(without).toEqual([]);
  });

  it('has its masks looked at after the cpuset was narrowed: older kernels reset them', () => {
    begin();
    let resets = 0;
    process.onCall = (name) => {
      // As kernels before 6.2 do at a write of the cpuset.
      if (name !== 'getProcessAffinity' || asked() !== '4' || resets++ > 0) return;
      process.threads.set(43, [0]);
    };
    const { threads } = pinning.pin(ref, [4]);
    expect(threads.map(({ cpus }) => cpus)).toEqual([[4], [4]]);
  });

  it('costs a look and no write while all is in order', () => {
    begin();
    pinning.pin(ref, [0, 1]);
    writeFileSync(join(tree.root, OWN, 'cpuset.cpus'), 'untouched\n');
    expect(pinning.repair(ref, [0, 1])).toEqual({ threads: 2, repaired: 0 });
  });

  it('gets its CPUs back from whoever wrote others, and the event says what they were', () => {
    begin();
    pinning.pin(ref, [0, 1]);
    writeFileSync(join(tree.root, OWN, 'cpuset.cpus'), '6\n');
    grant('6');
    const { repaired, drift } = pinning.repair(ref, [0, 1]);
    expect(asked()).toBe('0-1');
    expect(repaired).toBe(2);
    expect(drift).toMatchObject({ cause: 'cgroup', threads: 2 });
    expect(drift?.text).toBe(
      'the CPUs of its cgroup /a.service/corecast-42 had been set to 6 by another process',
    );
  });

  it('is left alone where the kernel grants less because CPUs are offline', () => {
    begin();
    pinning.pin(ref, [0, 1]);
    grant('1');
    expect(pinning.repair(ref, [0, 1]).drift).toBeUndefined();
    expect(pinning.repair(ref, [0, 1]).drift).toBeUndefined();
    expect(asked()).toBe('0-1');
  });

  it('is put right at a look after a restart of the daemon', () => {
    begin();
    expect(pinning.verify(ref, [2])).toMatchObject({ repaired: 2, threads: [{ cpus: [2] }, { cpus: [2] }] });
    expect(asked()).toBe('2');
    expect(pinning.verify(ref, [2]).repaired).toBe(0);
  });

  it('keeps a cpuset that it has when the configuration asks for affinity', () => {
    begin({ notAsked: 'pinning.backend = "affinity"' });
    pinning.pin(ref, [4]);
    expect(asked()).toBe('4');
    expect(pinning.backend()).toEqual({
      kind: 'affinity',
      reason: 'pinning.backend = "affinity"',
      ownCpusets: 1,
    });
  });

  it('does not touch the cgroup of a pid that names another process now', () => {
    begin();
    process.startTicks = 778;
    for (const call of [pinning.pin, pinning.verify, pinning.repair]) {
      expect(() => call(ref, [5])).toThrow(/has ended/);
    }
    expect(asked()).toBe('0-1');
  });

  it('is held by its affinity where its cgroup is not its own, and says why', () => {
    begin({ cgroup: '/system.slice/encoder.service' });
    expect(pinning.pin(ref, [4]).threads).toMatchObject([{ cpus: [4] }, { cpus: [4] }]);
    expect(asked()).toBe('0-1');
    expect(without).toEqual(['/system.slice/encoder.service is not a cgroup of its own']);
    expect(pinning.backend().reason).toBe(
      '0 of 1 channels have a cpuset of their own; the others their affinity, such as: /system.slice/encoder.service is not a cgroup of its own',
    );
  });

  it('shares no cpuset with another channel', () => {
    begin();
    mkdirSync(join(tree.root, 'proc/43'));
    writeFileSync(join(tree.root, 'proc/43/cgroup'), '0::/a.service/corecast-42\n');
    pinning.pin(ref, [4]);
    pinning.verify({ pid: 43, startTicks: 777 }, [4]);
    expect(pinning.backend().reason).toContain('its cgroup is that of process 42');
  });

  it('is the next process that the wrapper starts in the same cgroup', () => {
    begin();
    mkdirSync(join(tree.root, 'proc/43'));
    writeFileSync(join(tree.root, 'proc/43/cgroup'), '0::/a.service/corecast-42\n');
    pinning.pin(ref, [4]);
    process.startTicks = 778;
    expect(pinning.pin({ pid: 43, startTicks: 778 }, [5]).threads).toMatchObject([
      { cpus: [5] },
      { cpus: [5] },
    ]);
    expect(asked()).toBe('5');
    expect(pinning.backend().reason).toBe('1 of 1 channels have a cpuset of their own');
  });

  it('refuses an empty list', () => {
    begin();
    let caught: unknown;
    try {
      pinning.pin(ref, []);
    } catch (error) {
      caught = error;
    }
    expect(isCorecastError(caught, 'INVALID_ARGUMENT')).toBe(true);
  });
});

describe('the back end', () => {
  const kindOn = (controllers: string | undefined, backend: 'auto' | 'affinity' | 'cgroup') => {
    const tree = makeTree({
      'proc/x': '',
      ...(controllers === undefined ? {} : { 'sys/fs/cgroup/cgroup.controllers': controllers }),
    });
    try {
      const process: FakeProcess = { ...ref, threads: new Map(), calls: [] };
      return createHostPinning({
        ...{ addon: fakeKernel(process, ONLINE), backend, onWithout: () => {} },
        ...{ procRoot: join(tree.root, 'proc'), sysRoot: join(tree.root, 'sys') },
      }).backend();
    } finally {
      tree.remove();
    }
  };

  it('is cgroup where version 2 has the cpuset controller, unless the configuration says otherwise', () => {
    expect(kindOn('cpuset cpu io\n', 'auto').kind).toBe('cgroup');
    expect(kindOn('cpuset cpu io\n', 'cgroup').kind).toBe('cgroup');
    expect(kindOn('cpuset cpu io\n', 'affinity')).toEqual({
      kind: 'affinity',
      reason: 'pinning.backend = "affinity"',
      ownCpusets: 0,
    });
  });

  it('is affinity elsewhere, whatever the configuration says, and says why', () => {
    expect(kindOn('cpu io\n', 'auto').reason).toContain('have no cpuset controller');
    expect(kindOn(undefined, 'cgroup')).toMatchObject({
      kind: 'affinity',
      reason: expect.stringContaining('no cgroups of version 2'),
    });
  });
});

describe('the cgroup that the wrapper makes', () => {
  let tree: ReturnType<typeof makeTree>;
  const gid = process.getgid!();
  const options = (more: Partial<OwnCgroupOptions> = {}): OwnCgroupOptions => ({
    procRoot: join(tree.root, 'proc'),
    cgroupRoot: join(tree.root, 'cg'),
    runRoot: join(tree.root, 'run'),
    ...{ uid: 1000, pid: 42, daemon: { uid: 998, gid } },
    ...more,
  });
  const text = (path: string) => readFileSync(join(tree.root, 'cg/a.service', path), 'utf8');
  beforeEach(() => {
    tree = makeTree({
      'proc/42/cgroup': '0::/a.service\n',
      'cg/a.service/cgroup.controllers': 'cpuset pids\n',
      'cg/a.service/cgroup.procs': '',
      'cg/a.service/cgroup.subtree_control': '',
    });
  });
  afterEach(() => tree.remove());

  it('is threaded, has the reserved CPUs before anybody is in it, and the daemon may write them', () => {
    const own = enterOwnCgroup([2, 3], options());
    expect(own).toMatchObject({ path: '/a.service/corecast-42' });
    expect(text('cgroup.subtree_control')).toBe('+cpuset');
    expect(text('corecast-42/cgroup.type')).toBe('threaded');
    expect(text('corecast-42/cpuset.cpus')).toBe('2-3');
    expect(text('corecast-42/cgroup.procs')).toBe('42');
    const { mode, gid: group } = statSync(join(tree.root, 'cg/a.service/corecast-42/cpuset.cpus'));
    expect([mode & 0o777, group]).toEqual([0o664, gid]);
    if (typeof own !== 'string') own.leave();
    expect(text('cgroup.procs')).toBe('42');
  });

  it('is handed to nobody where the daemon is root or the same user', () => {
    for (const daemon of [
      { uid: 0, gid },
      { uid: 1000, gid },
    ]) {
      enterOwnCgroup([2], options({ daemon, pid: 42 }));
      expect(statSync(join(tree.root, 'cg/a.service/corecast-42/cpuset.cpus')).mode & 0o022).toBe(0);
      tree.remove();
      tree = makeTree({
        'proc/42/cgroup': '0::/a.service\n',
        'cg/a.service/cgroup.controllers': 'cpuset\n',
        'cg/a.service/cgroup.procs': '',
        'cg/a.service/cgroup.subtree_control': '',
      });
    }
  });

  it('is none without the controller, without delegation or without version 2, and nothing has changed', () => {
    writeFileSync(join(tree.root, 'cg/a.service/cgroup.controllers'), 'cpu pids\n');
    expect(enterOwnCgroup([2], options())).toBe(
      '/a.service has no cpuset controller: Delegate=cpuset in its unit gives it one',
    );
    writeFileSync(join(tree.root, 'cg/a.service/cgroup.controllers'), 'cpuset\n');
    mkdirSync(join(tree.root, 'run/systemd/system'), { recursive: true });
    expect(enterOwnCgroup([2], options({ uid: 0 }))).toMatch(/is not delegated/);
    writeFileSync(join(tree.root, 'proc/42/cgroup'), '3:cpuset:/a\n');
    expect(enterOwnCgroup([2], options())).toBe('there are no cgroups of version 2');
    expect(text('cgroup.subtree_control')).toBe('');
  });
});
