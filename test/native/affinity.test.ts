import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import {
  addonPath,
  end,
  endChildren,
  has,
  nextLine,
  runNode,
  startIdleNode,
  startNode,
} from '../support/children.js';

const host = hostAddon();
const allowed = host.getThreadAffinity(0);
const first = allowed[0]!;
const last = allowed[allowed.length - 1]!;

const caught = (call: () => unknown): NodeJS.ErrnoException => {
  try {
    call();
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error('expected the call to throw');
};

describe('affinity', () => {
  afterEach(endChildren);

  it('sets and reads every thread of a process', async () => {
    const pid = (await startIdleNode()).pid!;
    const before = host.getProcessAffinity(pid);
    expect(before.length).toBeGreaterThan(4);
    expect(before.map(({ tid }) => tid)).toContain(pid);
    expect(before.every(({ name }) => name.length > 0)).toBe(true);

    const result = host.setProcessAffinity(pid, [first]);
    expect(result.threads).toBe(before.length);
    expect(result.changed).toBe(allowed.length > 1 ? before.length : 0);
    expect(host.getProcessAffinity(pid).map(({ cpus }) => cpus)).toEqual(before.map(() => [first]));
    expect(host.setProcessAffinity(pid, [first])).toEqual({ threads: before.length, changed: 0 });
  });

  it('reaches threads that are born while it works', async () => {
    const child = startNode(`
      const { Worker } = require('node:worker_threads');
      const next = () => new Worker('', { eval: true }).on('exit', next);
      next(); next(); setInterval(() => {}, 1e6); console.log('up')`);
    await nextLine(child);
    for (let round = 0; round < 20; round++) {
      const cpu = round % 2 === 0 ? first : last;
      host.setProcessAffinity(child.pid!, [cpu]);
      await new Promise((resolve) => setTimeout(resolve, 10));
      for (const { cpus } of host.getProcessAffinity(child.pid!)) expect(cpus).toEqual([cpu]);
    }
  });

  it('names the errno when the process is gone', async () => {
    const child = await startIdleNode();
    const pid = child.pid!;
    await end(child);
    for (const call of [
      () => host.setProcessAffinity(pid, [first]),
      () => host.confineProcess(pid, [first]),
      () => host.getProcessAffinity(pid),
      () => host.setThreadAffinity(pid, [first]),
      () => host.getThreadAffinity(pid),
      () => host.setIdlePriority(pid),
      () => host.startTicks(pid),
      () => host.processUid(pid),
    ]) {
      expect(caught(call)).toMatchObject({ code: 'ESRCH', syscall: expect.any(String), errno: -3 });
    }
  });

  it('refuses CPU lists that the kernel refuses, and impossible numbers, with EINVAL', () => {
    for (const cpus of [[], [65_535], [-1], [0.5], [Number.NaN], [2 ** 40]]) {
      const error = caught(() => host.setThreadAffinity(0, cpus));
      expect(error).toMatchObject({ code: 'EINVAL', syscall: 'sched_setaffinity' });
    }
    expect(caught(() => host.setProcessAffinity(-1, [0]))).toMatchObject({ code: 'EINVAL' });
    expect(caught(() => host.setThreadAffinity(0, 'all' as never))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    });
    expect(host.getThreadAffinity(0)).toEqual(allowed);
  });

  it('takes CPU numbers far above 1023 and leaves the absent ones to the kernel', () => {
    host.setThreadAffinity(0, [first, 1024, 8191, 65_535]);
    expect(host.getThreadAffinity(0)).toEqual([first]);
    host.setThreadAffinity(0, allowed);
  });

  it('settles when a part of the list is absent, and changes nothing the second time', async () => {
    const pid = (await startIdleNode()).pid!;
    host.setProcessAffinity(pid, [first, 65_535]);
    expect(host.setProcessAffinity(pid, [first, 65_535]).changed).toBe(0);
    expect(host.getThreadAffinity(pid)).toEqual([first]);
  });

  it('keeps a process open between looks, says what strayed and how old it is, and takes no other for it', async () => {
    const child = await startIdleNode();
    const pid = child.pid!;
    const startTicks = host.startTicks(pid);
    const confiner = host.openConfiner();
    try {
      const { threads } = confiner.confine(pid, startTicks, allowed);
      expect(threads).toBe(host.getProcessAffinity(pid).length);
      host.setProcessAffinity(pid, [first]);
      host.setThreadAffinity(pid, [last]);
      const outcome = confiner.confine(pid, startTicks, [first]);
      expect(outcome).toMatchObject({ threads, changed: first === last ? 0 : 1 });
      for (const stray of outcome.strays) {
        expect(stray).toMatchObject({ tid: pid, name: 'node', cpus: [last] });
        expect(stray.ageSeconds).toBeGreaterThan(0);
        expect(stray.ageSeconds).toBeLessThan(60);
      }
      expect(host.getThreadAffinity(pid)).toEqual([first]);
      expect(caught(() => confiner.confine(pid, startTicks + 1, [first])).code).toBe('ESRCH');
      confiner.confine(pid, startTicks, [first]);
      await end(child);
      expect(caught(() => confiner.confine(pid, startTicks, [first])).code).toBe('ESRCH');
      confiner.forget(pid);
    } finally {
      confiner.close();
    }
  });

  it('confines only threads that are outside', async (ctx) => {
    if (allowed.length < 2) ctx.skip('one CPU: no thread can be outside');
    const pid = (await startIdleNode()).pid!;
    const tids = host.getProcessAffinity(pid).map(({ tid }) => tid);
    host.setThreadAffinity(tids[0]!, [first]);
    host.setThreadAffinity(tids[1]!, [last]);
    expect(host.confineProcess(pid, allowed)).toMatchObject({ threads: tids.length, changed: 0 });
    expect(host.getThreadAffinity(tids[0]!)).toEqual([first]);

    expect(host.confineProcess(pid, [first])).toMatchObject({
      threads: tids.length,
      changed: tids.length - 1,
    });
    for (const tid of tids) expect(host.getThreadAffinity(tid)).toEqual([first]);
  });

  it('may not touch processes of another user: EPERM', async (ctx) => {
    if (process.getuid!() !== 0) ctx.skip('only root can become another user');
    if (!has('setpriv', '--version')) ctx.skip('no setpriv');
    const dir = mkdtempSync(join(tmpdir(), 'corecast-addon-'));
    chmodSync(dir, 0o755);
    copyFileSync(addonPath, join(dir, 'host.node'));
    const target = (await startIdleNode()).pid!;
    const { stdout } = await runNode(
      `require('node:child_process').spawnSync('setpriv', ['--reuid', '65534', '--clear-groups', process.execPath, '-e', \`
        const host = require('${dir}/host.node');
        for (const call of ['setProcessAffinity', 'setIdlePriority'])
          try { host[call](${target}, [${first}]) } catch (e) { console.log(call, e.code, e.syscall) }
        console.log(host.processUid(${target}), host.processUid(process.pid));
      \`], { stdio: 'inherit' })`,
    );
    rmSync(dir, { recursive: true });
    expect(stdout.trim().split('\n')).toEqual([
      'setProcessAffinity EPERM sched_setaffinity',
      'setIdlePriority EPERM sched_setscheduler',
      '0 65534',
    ]);
  });

  it('makes every thread of a process idle, for the CPU and for the disk', async (ctx) => {
    if (!has('chrt', '--version') || !has('ionice', '--version')) ctx.skip('no chrt or ionice');
    const pid = (await startIdleNode()).pid!;
    host.setIdlePriority(pid);
    const { execFileSync } = await import('node:child_process');
    const policies = execFileSync('chrt', ['-ap', String(pid)], { encoding: 'utf8' });
    const lines = policies
      .trim()
      .split('\n')
      .filter((line) => line.includes('policy'));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(line).toContain('SCHED_IDLE');
    for (const { tid } of host.getProcessAffinity(pid)) {
      expect(execFileSync('ionice', ['-p', String(tid)], { encoding: 'utf8' }).trim()).toBe('idle');
    }
  });
});
