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
  return Object.fromEntries(collector.collect(sample.cpus, sample.cpuCount));
}

test('busy is everything but idle and iowait, steal and interrupts too', () => {
  const collector = new CpuCollector();
  expect(cpuShares(collector, [{ cpu: 0, user: 5, idle: 5 }])).toEqual({});
  const later = [{ cpu: 0, user: 5.1, system: 0.1, irq: 0.1, steal: 0.1, idle: 5.4, iowait: 0.2 }];
  expect(cpuShares(collector, later)[0]).toBeCloseTo(0.4, 10);
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
  return collector.collect(procSample(rows), elapsedS, () => Number.NaN);
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
        { pid: 7, tid: 7, cpu: 0, cpuSeconds: 61 },
        { pid: 7, tid: 8, cpu: 0, cpuSeconds: 61 },
        { pid: 7, tid: 9, cpu: 3, cpuSeconds: 0.5 },
      ],
    },
    2,
  );
  expect(second.get(7)).toMatchObject({ cores: 1.5, waitCores: 0.5, cpuSeconds: 123 });
  expect(Object.fromEntries(second.get(7)!.coresByCpu)).toEqual({ 0: 1, 3: 0.25 });
});

test('a thread that ended takes no time back, and a reused tid starts at nothing', () => {
  const collector = new ProcessCollector();
  processes(collector, {
    processes: [{ pid: 7, userSeconds: 10, waitSeconds: 5 }],
    threads: [{ pid: 7, tid: 8, cpu: 1, cpuSeconds: 9 }],
  });
  const after = processes(collector, {
    processes: [{ pid: 7, userSeconds: 10.5, waitSeconds: 1 }],
    threads: [{ pid: 7, tid: 8, cpu: 2, cpuSeconds: 0.25 }],
  });
  expect(after.get(7)).toMatchObject({ cores: 0.5, waitCores: 0 });
  expect(Object.fromEntries(after.get(7)!.coresByCpu)).toEqual({ 2: 0.25 });
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

test('threads keep their marks when rows move because another one ended or began', () => {
  const collector = new ProcessCollector();
  const rows = (threads: Rows['threads'] & object) => ({ processes: [{ pid: 7 }], threads });
  processes(
    collector,
    rows([
      { pid: 7, tid: 1, cpu: 0, cpuSeconds: 10 },
      { pid: 7, tid: 2, cpu: 1, cpuSeconds: 20 },
      { pid: 7, tid: 3, cpu: 2, cpuSeconds: 30 },
    ]),
  );
  const after = processes(
    collector,
    rows([
      { pid: 7, tid: 2, cpu: 1, cpuSeconds: 20.5 },
      { pid: 7, tid: 3, cpu: 2, cpuSeconds: 30.25 },
      { pid: 7, tid: 4, cpu: 3, cpuSeconds: 0.125 },
    ]),
  );
  expect(Object.fromEntries(after.get(7)!.coresByCpu)).toEqual({ 1: 0.5, 2: 0.25, 3: 0.125 });
});
