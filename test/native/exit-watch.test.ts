import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { addonPath, endChildren, nextLine, runNode, start, until } from '../support/children.js';

const host = hostAddon();

describe('exit watch', () => {
  afterEach(endChildren);

  it('tells within milliseconds that a process was killed', async () => {
    const watched: number[] = [];
    const byNode: number[] = [];
    for (let round = 0; round < 15; round++) {
      const child = start('sleep', ['60']);
      const killed = new Promise<number>((resolve) => {
        host.watchExit(child.pid!, host.startTicks(child.pid!), () => resolve(performance.now()));
      });
      const reaped = once(child, 'exit').then(() => performance.now());
      const began = performance.now();
      child.kill('SIGKILL');
      watched.push((await killed) - began);
      byNode.push((await reaped) - began);
    }
    // Against SIGCHLD in the same run, since a busy machine delays both.
    expect(Math.min(...watched)).toBeLessThan(10 + 2 * Math.min(...byNode));
  });

  it('sees the end of processes that are nobody here the parent of', async () => {
    // The shell ends at once; its sleep lives on, adopted by init.
    const shell = start('sh', ['-c', 'sleep 60 >/dev/null 2>&1 & echo $!']);
    const pid = Number(await nextLine(shell));
    let ended = false;
    host.watchExit(pid, host.startTicks(pid), () => {
      ended = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(ended).toBe(false);
    process.kill(pid, 'SIGKILL');
    await until(() => ended, 'exit of the orphan seen');
  });

  it('refuses a pid that now names another process: ESRCH', async () => {
    const pid = start('sleep', ['60']).pid!;
    const ticks = host.startTicks(pid);
    const refused = { code: 'ESRCH', syscall: 'pidfd_open' };
    expect(() => host.watchExit(pid, ticks - 1, () => {})).toThrow(expect.objectContaining(refused));
    expect(() => host.watchExit(pid, ticks + 1, () => {})).toThrow(expect.objectContaining(refused));
    const gone = start('true', []);
    await once(gone, 'exit');
    expect(() => host.watchExit(gone.pid!, ticks, () => {})).toThrow(expect.objectContaining(refused));
  });

  it('refuses the number of a thread that is no process', () => {
    const thread = host.getProcessAffinity(process.pid).find(({ tid }) => tid !== process.pid)!;
    expect(() => host.watchExit(thread.tid, host.startTicks(thread.tid), () => {})).toThrow(
      expect.objectContaining({ code: 'ESRCH', syscall: 'pidfd_open' }),
    );
  });

  it('calls each of many watches exactly once, and none that was closed', async () => {
    const counts = new Map<number, number>();
    const children = Array.from({ length: 40 }, () => start('sleep', ['60']));
    const handles = children.map((child, i) =>
      host.watchExit(child.pid!, host.startTicks(child.pid!), () => {
        counts.set(i, (counts.get(i) ?? 0) + 1);
      }),
    );
    for (let i = 0; i < 40; i += 2) {
      handles[i]!.close();
      handles[i]!.close();
    }
    for (const child of children) child.kill('SIGKILL');
    await until(() => counts.size >= 20, 'half of the watches called');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([...counts.entries()].sort(([a], [b]) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => [2 * i + 1, 1]),
    );
  });

  it('does not call a watch that was closed after the process had ended', async () => {
    const child = start('true', []);
    let called = false;
    const handle = host.watchExit(child.pid!, host.startTicks(child.pid!), () => {
      called = true;
    });
    // Let the watcher thread queue the exit while this thread is held, so that close() comes between.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    handle.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(called).toBe(false);
  });

  it('leaks no descriptor and no thread over many watches', async () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const threads = () => readdirSync('/proc/self/task').length;
    const child = start('sleep', ['60']);
    const ticks = host.startTicks(child.pid!);
    host.watchExit(child.pid!, ticks, () => {}).close();
    const before = [open(), threads()];
    for (let i = 0; i < 2000; i++) host.watchExit(child.pid!, ticks, () => {}).close();
    expect([open(), threads()]).toEqual(before);
  });

  it('keeps the event loop alive only while a watch is open', async () => {
    const began = performance.now();
    const { code, stdout } = await runNode(`
      const host = require(${JSON.stringify(addonPath)});
      const child = require('node:child_process').spawn('sleep', ['60'], { stdio: 'ignore' });
      child.unref();
      const ticks = host.startTicks(child.pid);
      host.watchExit(child.pid, ticks, () => {}).close();
      const watch = host.watchExit(child.pid, ticks, () => console.log('told'));
      setTimeout(() => child.kill('SIGKILL'), 100).unref();`);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'told\n' });
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  it('survives process.exit() with watches open and exits arriving', async () => {
    for (let round = 0; round < 3; round++) {
      const { code, signal } = await runNode(`
        const host = require(${JSON.stringify(addonPath)});
        const { spawn } = require('node:child_process');
        const children = Array.from({ length: 20 }, () => spawn('sleep', ['60'], { stdio: 'ignore' }));
        for (const { pid } of children) host.watchExit(pid, host.startTicks(pid), () => {});
        for (const child of children) child.kill('SIGKILL');
        setTimeout(() => process.exit(7), ${2 * round});`);
      expect({ code, signal }).toEqual({ code: 7, signal: null });
    }
  });

  it('works in worker threads, which may be terminated with watches open', async () => {
    const { code, signal, stdout } = await runNode(`
      const { Worker } = require('node:worker_threads');
      const { spawn } = require('node:child_process');
      const { readdirSync } = require('node:fs');
      const children = Array.from({ length: 8 }, () => spawn('sleep', ['60'], { stdio: 'ignore' }));
      const pids = children.map((child) => child.pid);
      const script = \`
        const { parentPort, workerData } = require('node:worker_threads');
        const host = require(${JSON.stringify(addonPath)});
        let told = 0;
        for (const pid of workerData) host.watchExit(pid, host.startTicks(pid), () => parentPort.postMessage(++told));
        const sampler = host.openSampler('/proc');
        for (const pid of workerData) sampler.add(pid, host.startTicks(pid));
        parentPort.postMessage('rows ' + sampler.sample().processCount);
        setInterval(() => sampler.sample(), 1);\`;
      const open = () => readdirSync('/proc/self/fd').length;
      (async () => {
        const message = (worker) => new Promise((resolve) => worker.once('message', resolve));
        const stopped = [];
        let before = 0;
        for (let round = 0; round < 6; round++) {
          const worker = new Worker(script, { eval: true, workerData: pids });
          console.log(await message(worker));
          if (round === 5) {
            const told = new Promise((resolve) => worker.on('message', (n) => n === 8 && resolve(n)));
            for (const child of children) child.kill('SIGKILL');
            console.log('told', await told);
          }
          await worker.terminate();
          if (round === 0) before = open();
        }
        console.log('leaked', Math.max(0, open() - before));
      })();`);
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stdout.trim().split('\n')).toEqual([
      ...Array.from({ length: 6 }, () => 'rows 8'),
      'told 8',
      'leaked 0',
    ]);
  });

  it('passes an error in the callback on as an uncaught exception', async () => {
    const { stdout } = await runNode(`
      const host = require(${JSON.stringify(addonPath)});
      process.on('uncaughtException', (error) => console.log('uncaught', error.message));
      const child = require('node:child_process').spawn('true', { stdio: 'ignore' });
      host.watchExit(child.pid, host.startTicks(child.pid), () => { throw new Error('mine'); });`);
    expect(stdout).toBe('uncaught mine\n');
  });

  it('tells at once of a process that is already a zombie', async () => {
    // A stopped parent cannot reap: the child stays a zombie until the parent goes on.
    const parent = spawn('sh', ['-c', 'sleep 0.05 & echo $!; kill -STOP $$; wait'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const pid = Number(await nextLine(parent));
      const ticks = host.startTicks(pid);
      await new Promise((resolve) => setTimeout(resolve, 300));
      const ended = new Promise<void>((resolve) => {
        host.watchExit(pid, ticks, resolve);
      });
      await ended;
      expect(host.startTicks(pid)).toBe(ticks);
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
