import { expect, test } from 'vitest';
import { STEP_S, WINDOW_STEPS } from '../../src/forecast/forecast.js';
import { CpuCollector } from '../../src/monitor/cpu.js';
import { spread } from '../../src/monitor/monitor.js';
import { ProcessCollector } from '../../src/monitor/processes.js';
import { StepWindow } from '../../src/monitor/step-window.js';
import { procSample, type Rows } from '../support/fake-sampler.js';
import { hostState } from '../support/history.js';

function cpuShares(collector: CpuCollector, cpus: Rows['cpus'] & object) {
  const sample = procSample({ cpus });
  const use = collector.collect(sample.cpus, sample.cpuCount);
  return Object.fromEntries([...use].map(([cpu, { busy }]) => [cpu, busy]));
}

test('busy is everything but idle and iowait, steal and interrupts too', () => {
  const collector = new CpuCollector();
  expect(cpuShares(collector, [{ cpu: 0, user: 5, idle: 5 }])).toEqual({});
  const later = [{ cpu: 0, user: 5.1, system: 0.1, irq: 0.1, steal: 0.1, idle: 5.4, iowait: 0.2 }];
  expect(cpuShares(collector, later)[0]).toBeCloseTo(0.4, 10);
});

test('what a CPU did is split by mode', () => {
  const collector = new CpuCollector();
  const use = (cpus: Rows['cpus'] & object) => {
    const sample = procSample({ cpus });
    return collector.collect(sample.cpus, sample.cpuCount).get(0);
  };
  use([{ cpu: 0 }]);
  const split = use([{ cpu: 0, user: 2, system: 1, steal: 0.5, iowait: 0.5, irq: 1, idle: 5 }])!;
  expect(split).toEqual({ busy: 0.45, user: 0.2, system: 0.1, steal: 0.05, iowait: 0.05 });
});

test('counters that go backwards give no negative share', () => {
  const collector = new CpuCollector();
  cpuShares(collector, [{ cpu: 0, user: 5, idle: 9, iowait: 3 }]);
  expect(cpuShares(collector, [{ cpu: 0, user: 6, idle: 8, iowait: 1 }])).toEqual({ 0: 1 });
  expect(cpuShares(collector, [{ cpu: 0, user: 0, idle: 9 }])).toEqual({ 0: 0 });
});

test('a CPU that goes away has no share, and when it returns one from its second read on', () => {
  const collector = new CpuCollector();
  cpuShares(collector, [{ cpu: 0 }, { cpu: 1 }]);
  expect(cpuShares(collector, [{ cpu: 0, user: 1 }])).toEqual({ 0: 1 });
  expect(
    cpuShares(collector, [
      { cpu: 0, user: 2 },
      { cpu: 1, idle: 5 },
    ]),
  ).toEqual({ 0: 1 });
  expect(
    cpuShares(collector, [
      { cpu: 0, user: 3 },
      { cpu: 1, idle: 6 },
    ]),
  ).toEqual({ 0: 1, 1: 0 });
});

test('while no time passed on a CPU its last share stands', () => {
  const collector = new CpuCollector();
  cpuShares(collector, [{ cpu: 0 }]);
  cpuShares(collector, [{ cpu: 0, user: 1, idle: 1 }]);
  expect(cpuShares(collector, [{ cpu: 0, user: 1, idle: 1 }])).toEqual({ 0: 0.5 });
});

test('the spread is over the schedulable CPUs that are there', () => {
  const busy = new Map([
    [0, 1],
    [1, 0.5],
    [2, 0],
  ]);
  expect(spread(busy, [1, 2, 7])).toEqual({ busy: 0.25, coreSpread: 0.25, busiestCore: 0.5 });
  expect(spread(busy, [])).toEqual({ busy: 0, coreSpread: 0, busiestCore: 0 });
});

function processes(collector: ProcessCollector, rows: Rows, elapsedS = 1) {
  return collector.collect(procSample(rows), elapsedS, () => ({ ingress: undefined, pressure: undefined }));
}

test('a process has its rates from the second tick on; threads are charged to the CPU they were seen on', () => {
  const collector = new ProcessCollector();
  const first = processes(collector, {
    processes: [
      { pid: 7, alive: 1, threads: 2, userSeconds: 100, systemSeconds: 20, waitSeconds: 3, rssBytes: 4096 },
    ],
    threads: [
      { pid: 7, tid: 7, cpu: 0, cpuSeconds: 60 },
      { pid: 7, tid: 8, cpu: 1, cpuSeconds: 60 },
    ],
  });
  expect(first.get(7)).toMatchObject({ cores: 0, waitCores: 0, cpuSeconds: 120, threads: 2, rssBytes: 4096 });
  expect(first.get(7)!.coresByCpu.size).toBe(0);
  const second = processes(
    collector,
    {
      processes: [{ pid: 7, alive: 1, threads: 3, userSeconds: 102, systemSeconds: 21, waitSeconds: 4 }],
      threads: [
        { pid: 7, tid: 7, cpu: 0, cpuSeconds: 61, ranSeconds: 1 },
        { pid: 7, tid: 8, cpu: 0, cpuSeconds: 61, ranSeconds: 1 },
        { pid: 7, tid: 9, cpu: 3, cpuSeconds: 0.5, ranSeconds: 0.5 },
      ],
    },
    2,
  );
  expect(second.get(7)).toMatchObject({
    cores: 1.5,
    waitCores: 0.5,
    cpuSeconds: 123,
    busiestThreadCores: 0.5,
  });
  expect(Object.fromEntries(second.get(7)!.coresByCpu)).toEqual({ 0: 1, 3: 0.25 });
});

test('ticks that pass over the threads of a process share out what it used as the last look found it', () => {
  const collector = new ProcessCollector();
  const at = (userSeconds: number, rows: Partial<Rows> = {}, threadsRead = 0) =>
    processes(collector, {
      processes: [
        { pid: 7, userSeconds, threadsRead, waitSeconds: userSeconds / 10, switches: userSeconds * 100 },
      ],
      ...rows,
    }).get(7)!;
  at(10, { threads: [{ pid: 7, tid: 7, cpu: 0, ranSeconds: 10 }] }, 1);
  expect(at(11)).toMatchObject({ cores: 1, waitCores: 0, switchesPerS: 0 });
  expect(at(11).coresByCpu.size).toBe(0);
  const looked = at(
    14,
    {
      threads: [
        { pid: 7, tid: 7, cpu: 0, ranSeconds: 3 },
        { pid: 7, tid: 8, cpu: 5, ranSeconds: 1, maskCpus: 2 },
      ],
    },
    1,
  );
  // Over the three seconds since the look before.
  expect(Object.fromEntries(looked.coresByCpu)).toEqual({ 0: 1, 5: expect.closeTo(1 / 3, 10) });
  expect(looked.busiestThreadCores).toBe(1);
  expect(looked.waitCores).toBeCloseTo(0.4 / 3, 10);
  expect(looked.switchesPerS).toBeCloseTo(400 / 3, 10);
  const passedOver = at(14.4);
  expect(Object.fromEntries(passedOver.coresByCpu)).toEqual({
    0: expect.closeTo(0.3, 10),
    5: expect.closeTo(0.1, 10),
  });
  expect(passedOver.waitCores).toBeCloseTo(0.4 / 3, 10);
  expect(collector.threads(7).map(({ tid, cores, maskCpus }) => [tid, cores, maskCpus])).toEqual([
    [7, 1, 0],
    [8, expect.closeTo(1 / 3, 10), 2],
  ]);
  expect(collector.threads(8)).toEqual([]);
});

test('sums that step back (a thread ended before it was read) give no negative rate', () => {
  const collector = new ProcessCollector();
  processes(collector, { processes: [{ pid: 7, userSeconds: 10, waitSeconds: 5, majorFaults: 9 }] });
  const after = processes(collector, {
    processes: [{ pid: 7, userSeconds: 9.5, waitSeconds: 1, majorFaults: 3 }],
  });
  expect(after.get(7)).toMatchObject({ cores: 0, waitCores: 0, majorFaultsPerS: 0 });
});

test('rows of processes that are watched closely may come before those of others', () => {
  const collector = new ProcessCollector();
  const rows = (ranSeconds: number): Rows => ({
    processes: [{ pid: 3 }, { pid: 7 }],
    threads: [
      { pid: 7, tid: 7, cpu: 1, ranSeconds },
      { pid: 7, tid: 8, cpu: 2, ranSeconds },
      { pid: 3, tid: 3, cpu: 0, ranSeconds: ranSeconds / 2 },
    ],
  });
  processes(collector, rows(1));
  const after = processes(collector, rows(0.5));
  expect(Object.fromEntries(after.get(7)!.coresByCpu)).toEqual({ 1: 0.5, 2: 0.5 });
  expect(Object.fromEntries(after.get(3)!.coresByCpu)).toEqual({ 0: 0.25 });
});

test('a window step is the mean of its ticks by their length; a tick that ends on a boundary belongs before it', () => {
  const window = new StepWindow();
  expect(window.steps()).toEqual([]);
  const add = (busy: number, elapsedS: number, endS: number) =>
    window.add({ ...hostState, busy }, elapsedS, endS * 1000);
  add(1, 1, 1);
  expect(window.steps()).toHaveLength(1);
  add(0, 3, 4);
  add(0, 1, STEP_S);
  expect(window.steps().map(({ busy }) => busy)).toEqual([0.2]);
  add(0.5, 1, STEP_S + 1);
  expect(window.steps().map(({ busy }) => busy)).toEqual([0.2]);
});

test('the window holds the newest steps only; a gap in time (a suspended host) leaves no steps', () => {
  const window = new StepWindow();
  for (let second = 1; second <= 200; second++) {
    const step = Math.floor((second - 0.5) / STEP_S);
    window.add({ ...hostState, channels: step }, 1, second * 1000);
  }
  window.add({ ...hostState, channels: 999 }, 1, 10_000_000);
  const steps = window.steps();
  expect(steps).toHaveLength(WINDOW_STEPS);
  expect(steps.map(({ channels }) => channels)).toEqual(
    Array.from({ length: WINDOW_STEPS }, (_, i) => 28 + i),
  );
  expect(steps[0]).toMatchObject({ busy: hostState.busy, memoryUsed: hostState.memoryUsed });
});
