import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import {
  addonPath,
  end,
  endChildren,
  has,
  nextLine,
  runNode,
  start,
  startIdleNode,
  startNode,
  until,
} from '../support/children.js';
import { cpuRows, processRows, threadRows } from '../support/sample-rows.js';

const host = hostAddon();

describe('sampler on /proc', () => {
  afterEach(endChildren);

  it('sees the CPU time that a process burned', async () => {
    const child = startNode(`
      while (process.cpuUsage().user < 400_000);
      const { user, system } = process.cpuUsage();
      console.log((user + system) / 1e6); setInterval(() => {}, 1e6)`);
    const sampler = host.openSampler('/proc');
    sampler.add(child.pid!, host.startTicks(child.pid!));
    const burned = Number(await nextLine(child));
    const sample = sampler.sample();
    sampler.close();
    const [row] = processRows(sample);
    expect(row!.userSeconds + row!.systemSeconds).toBeGreaterThan(burned - 0.03);
    expect(row!.userSeconds + row!.systemSeconds).toBeLessThan(burned + 0.15);
    expect(row!.runSeconds).toBeGreaterThan(burned - 0.03);
    expect(row!.waitSeconds).toBeGreaterThanOrEqual(0);
    expect(row!.rssBytes).toBeGreaterThan(20e6);
    expect(row!.minorFaults).toBeGreaterThan(100);
    const threads = threadRows(sample);
    expect(threads).toHaveLength(row!.threads);
    expect(threads.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)).toBeCloseTo(row!.runSeconds, 6);
    // The main thread did it.
    expect(threads.find(({ tid }) => tid === child.pid)!.cpuSeconds).toBeGreaterThan(0.35);
  });

  it('says which CPU a thread was last on', async () => {
    const sampler = host.openSampler('/proc');
    for (const cpu of host.getThreadAffinity(0).slice(0, 4)) {
      const child = startNode('for (;;);');
      host.setProcessAffinity(child.pid!, [cpu]);
      sampler.add(child.pid!, host.startTicks(child.pid!));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const main = threadRows(sampler.sample()).find(({ tid }) => tid === child.pid)!;
      expect(main).toMatchObject({ pid: child.pid, cpu });
      sampler.remove(child.pid!);
      await end(child);
    }
    sampler.close();
  });

  it('follows a thread to another CPU', async (ctx) => {
    const cpus = host.getThreadAffinity(0);
    if (cpus.length < 2) ctx.skip('one CPU');
    const child = startNode('for (;;);');
    const sampler = host.openSampler('/proc');
    sampler.add(child.pid!, host.startTicks(child.pid!));
    for (const cpu of [cpus[0]!, cpus[1]!, cpus[0]!]) {
      host.setProcessAffinity(child.pid!, [cpu]);
      const seen = () => threadRows(sampler.sample()).find(({ tid }) => tid === child.pid)!.cpu;
      await until(() => seen() === cpu, `thread seen on CPU ${cpu}`);
    }
    sampler.close();
  });

  it('counts the time of threads that ended, and finds those that took their place', async () => {
    const child = startNode(`
      const { Worker } = require('node:worker_threads');
      const script = 'require("node:worker_threads").parentPort.on("message", () => process.exit()); setInterval(() => {}, 1e6)';
      let worker = new Worker(script, { eval: true }).on('online', () => console.log('first'));
      process.stdin.on('data', () => {
        worker.on('exit', () => {
          const burn = new Worker('const before = process.cpuUsage(); while (process.cpuUsage(before).user < 200_000);', { eval: true });
          burn.on('exit', () => {
            worker = new Worker(script, { eval: true }).on('online', () => console.log('second'));
          });
        });
        worker.postMessage('');
      });`);
    await nextLine(child);
    const sampler = host.openSampler('/proc');
    sampler.add(child.pid!, host.startTicks(child.pid!));
    const before = sampler.sample();
    const [processBefore] = processRows(before);
    const tidsBefore = threadRows(before).map(({ tid }) => tid);
    child.stdin!.write('\n');
    await nextLine(child);
    const after = sampler.sample();
    const [processAfter] = processRows(after);
    const tidsAfter = threadRows(after).map(({ tid }) => tid);
    sampler.close();

    expect(processAfter!.threads).toBe(processBefore!.threads);
    expect([...tidsAfter].sort()).toEqual(readdirSync(`/proc/${child.pid}/task`).map(Number).sort());
    expect(tidsAfter).not.toEqual(tidsBefore);
    const burned = (row: typeof processAfter) => row!.userSeconds + row!.systemSeconds;
    // The burner lived and died between the two samples.
    expect(burned(processAfter) - burned(processBefore)).toBeGreaterThan(0.15);
    expect(burned(processAfter)).toBeGreaterThan(processAfter!.runSeconds);
  });

  it('keeps the row of a process that ended, marked, with its final times', async () => {
    const child = startNode(
      'while (process.cpuUsage().user < 200_000); console.log("done"); setInterval(() => {}, 1e6)',
    );
    await nextLine(child);
    const sampler = host.openSampler('/proc');
    sampler.add(child.pid!, host.startTicks(child.pid!));
    const [alive] = processRows(sampler.sample());
    await end(child);
    const sample = sampler.sample();
    const [gone] = processRows(sample);
    expect(alive!.alive).toBe(1);
    expect(gone).toEqual({ ...alive, alive: 0, threadsRead: 0, ioRead: 0 });
    expect(sample.threadCount).toBe(0);
    sampler.remove(child.pid!);
    expect(sampler.sample().processCount).toBe(0);
    sampler.close();
  });

  it('refuses a process that is gone or another: ESRCH', async () => {
    const child = await startIdleNode();
    const ticks = host.startTicks(child.pid!);
    const sampler = host.openSampler('/proc');
    expect(() => sampler.add(child.pid!, ticks + 1)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    await end(child);
    expect(() => sampler.add(child.pid!, ticks)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(sampler.sample().processCount).toBe(0);
    sampler.close();
    expect(() => sampler.sample()).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(() => sampler.add(1, 0)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    sampler.close();
  });

  it('gives CPU rows that are those of /proc/stat', () => {
    const sampler = host.openSampler('/proc');
    const hz = host.clockTicksPerSecond();
    const rows = cpuRows(sampler.sample());
    const lines = readFileSync('/proc/stat', 'utf8')
      .split('\n')
      .filter((line) => /^cpu\d/.test(line));
    sampler.close();
    expect(rows.map(({ cpu }) => cpu)).toEqual(lines.map((line) => Number(/\d+/.exec(line)![0])));
    for (const [i, line] of lines.entries()) {
      const [user, nice, system] = line.split(/\s+/).slice(1).map(Number) as [number, number, number];
      expect(Math.abs(rows[i]!.user - (user + nice) / hz)).toBeLessThan(0.5);
      expect(Math.abs(rows[i]!.system - system / hz)).toBeLessThan(0.5);
    }
  });

  it('knows how often threads were switched in and the CPUs they may use', async () => {
    const child = startNode('setInterval(() => {}, 10); console.log("beats")');
    await nextLine(child);
    const cpus = host.getThreadAffinity(0);
    host.setProcessAffinity(child.pid!, [cpus[0]!]);
    const sampler = host.openSampler('/proc');
    sampler.add(child.pid!, host.startTicks(child.pid!));
    const [before] = processRows(sampler.sample());
    expect(before!.widestMask).toBe(1);
    // Thirty beats: each is a switch.
    await until(() => processRows(sampler.sample())[0]!.switches >= before!.switches + 30, '30 switches');
    host.setThreadAffinity(child.pid!, cpus);
    // A mask is looked at with every eighth read.
    let sample = sampler.sample();
    for (let i = 1; i < 8; i++) sample = sampler.sample();
    expect(processRows(sample)[0]!.widestMask).toBe(cpus.length);
    const masks = threadRows(sample).map(({ tid, maskCpus }) => [tid === child.pid, maskCpus]);
    for (const [isMain, maskCpus] of masks) expect(maskCpus).toBe(isMain ? cpus.length : 1);
    sampler.close();
  });

  it('reuses its arrays from tick to tick', () => {
    const sampler = host.openSampler('/proc');
    sampler.add(process.pid, host.startTicks(process.pid));
    const first = sampler.sample();
    const second = sampler.sample();
    expect(second.threads).toBe(first.threads);
    expect(second.processes).toBe(first.processes);
    expect(second.cpus).toBe(first.cpus);
    // Even when someone has taken the memory away.
    structuredClone(second.threads.buffer, { transfer: [second.threads.buffer as ArrayBuffer] });
    const third = sampler.sample();
    expect(threadRows(third)).toHaveLength(third.threadCount);
    expect(threadRows(third)[0]!.pid).toBe(process.pid);
    sampler.close();
  });

  it('leaks no descriptor over many adds and removes', async () => {
    const pid = (await startIdleNode()).pid!;
    const ticks = host.startTicks(pid);
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    const sampler = host.openSampler('/proc');
    for (let i = 0; i < 300; i++) {
      sampler.add(pid, ticks);
      sampler.add(pid, ticks);
      sampler.sample();
      sampler.remove(pid);
      sampler.remove(pid);
    }
    sampler.add(pid, ticks);
    sampler.sample();
    expect(open()).toBeGreaterThan(before + 10);
    sampler.close();
    expect(open()).toBe(before);
  });

  it('goes on with right numbers when descriptors run short', async (ctx) => {
    if (!has('prlimit', '--version')) ctx.skip('no prlimit');
    const targets = await Promise.all([startIdleNode(), startIdleNode(), startIdleNode(), startIdleNode()]);
    const script = `
      const host = require(${JSON.stringify(addonPath)});
      const { readdirSync } = require('node:fs');
      const sampler = host.openSampler('/proc');
      const before = readdirSync('/proc/self/fd').length;
      const pids = ${JSON.stringify(targets.map(({ pid }) => pid))};
      for (const pid of pids) sampler.add(pid, host.startTicks(pid));
      let sample;
      for (let i = 0; i < 3; i++) sample = sampler.sample();
      const held = readdirSync('/proc/self/fd').length - before;
      const tids = pids.flatMap((pid) => readdirSync('/proc/' + pid + '/task').map(Number));
      const seen = Array.from({ length: sample.threadCount }, (_, i) => sample.threads[8 * i + 1]);
      const run = Array.from({ length: sample.threadCount }, (_, i) => sample.threads[8 * i + 3]);
      console.log(JSON.stringify({ held, tids, seen, burned: run.reduce((a, b) => a + b) }));`;
    const child = start('prlimit', ['--nofile=64:64', process.execPath, '-e', script]);
    const { held, tids, seen, burned } = JSON.parse(await nextLine(child));
    expect(tids.length * 2).toBeGreaterThan(32);
    expect(seen).toEqual(tids);
    expect(burned).toBeGreaterThan(0.05);
    // Half of 64 for threads, and three for each process.
    expect(held).toBeLessThanOrEqual(32 + 3 * targets.length);
    expect(held).toBeGreaterThan(16);
  });

  it('works in a process that exits with the sampler open', async () => {
    const { code, stdout } = await runNode(`
      const host = require(${JSON.stringify(addonPath)});
      const sampler = host.openSampler('/proc');
      sampler.add(process.pid, host.startTicks(process.pid));
      console.log(sampler.sample().processCount);
      globalThis.kept = sampler;`);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '1\n' });
  });
});
