import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Glance } from '../../src/monitor/glance.js';
import { createMonitor, type RunningMonitor } from '../../src/monitor/monitor.js';
import type { HostSample } from '../../src/monitor/sample.js';
import { FakeSampler } from '../support/fake-sampler.js';
import { listeningLog } from '../support/history.js';
import { makeTree } from '../support/make-tree.js';

const UDP_HEAD =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n';
const files = {
  'proc/loadavg': '0.50 0.40 0.30 1/100 99\n',
  'proc/meminfo': 'MemTotal:  1000 kB\nMemAvailable:  250 kB\n',
  'proc/vmstat': 'pgmajfault 10\npswpin 0\npswpout 0\n',
  'proc/diskstats': ' 253 0 vda 8 0 64 1 2 0 16 1 0 100 9\n',
  'proc/net/dev': 'a\nb\n eth0: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n',
  'proc/net/udp': UDP_HEAD,
  'proc/pressure/cpu': 'some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n',
  'proc/pressure/memory':
    'some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n',
  'proc/pressure/io':
    'some avg10=2.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.50 avg60=0.00 avg300=0.00 total=1\n',
  'proc/7/fd/none': '',
  'proc/7/cgroup': '0::/channels/seven\n',
  'sys/fs/cgroup/channels/seven/cpu.pressure': 'some avg10=50.00 avg60=0.00 avg300=0.00 total=1\n',
  'sys/fs/cgroup/channels/seven/memory.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
  'sys/fs/cgroup/channels/seven/io.pressure': 'some avg10=25.00 avg60=0.00 avg300=0.00 total=1\n',
  'sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq': '2400000\n',
  'sys/block/vda/size': '1\n',
  'sys/class/net/eth0/device/vendor': '1\n',
};

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A monitor over a made-up host, ticked by hand. */
function monitorOf(without: readonly string[] = []) {
  const tree = makeTree(
    Object.fromEntries(Object.entries(files).filter(([path]) => !without.includes(path))),
  );
  const clock = { ms: 0, nowMs: () => 1_700_000_000_000 + clock.ms, monotonicMs: () => clock.ms };
  const sampler = new FakeSampler();
  const log = listeningLog();
  const gauges = {
    channels: () => 3,
    queued: () => 2,
    reserved: () => 0.75,
    reportedIngress: () => ({ bps: 5_000, queueLength: 40 }),
    reportedIngressOf: (pid: number) => (pid === 8 ? 3_000 : Number.NaN),
  };
  const monitor: RunningMonitor = createMonitor({
    sampler,
    procRoot: join(tree.root, 'proc'),
    sysRoot: join(tree.root, 'sys'),
    clock,
    schedulable: () => [0, 1],
    gauges,
    intervalMs: 1,
    threadsPerTick: 123,
    log,
  });
  cleanups.push(() => void monitor.stop(), tree.remove);
  const next = () =>
    new Promise<HostSample>((resolve) => {
      const off = monitor.onTick((sample) => {
        off();
        resolve(sample);
      });
      clock.ms += 1000;
    });
  const write = (path: string, text: string) => writeFileSync(join(tree.root, path), text);
  return { monitor, sampler, log, next, write, root: tree.root };
}

test('one tick puts all collectors and gauges together', async () => {
  const { monitor, sampler, next, write } = monitorOf();
  sampler.rows = { cpus: [{ cpu: 0 }, { cpu: 1 }] };
  monitor.track(7, 70);
  expect(sampler.added.get(7)).toBe(70);
  expect(monitor.latest()).toBeUndefined();
  sampler.rows = {
    ...sampler.rows,
    processes: [{ pid: 7, userSeconds: 1, rssBytes: 4096, threads: 2, readBytes: 1000, ioRead: 1 }],
  };
  monitor.start();
  sampler.rows = {
    cpus: [
      { cpu: 0, user: 1 },
      { cpu: 1, user: 0.5, idle: 0.5 },
    ],
    processes: [{ pid: 7, userSeconds: 1.5, rssBytes: 8192, threads: 2, readBytes: 3500, ioRead: 1 }],
  };
  write('proc/diskstats', ' 253 0 vda 8 0 64 1 2 0 16 1 0 600 9\n');
  write('proc/net/dev', 'a\nb\n eth0: 2000 1 0 4 0 0 0 0 2000 1 0 0 0 0 0 0\n');
  write('proc/vmstat', 'pgmajfault 15\npswpin 0\npswpout 0\n');
  const sample = await next();
  expect(sample).toMatchObject({
    monotonicMs: 1000,
    elapsedS: 1,
    load1m: 0.5,
    memoryAvailableBytes: 256_000,
    memoryTotalBytes: 1_024_000,
    state: {
      busy: 0.75,
      coreSpread: 0.25,
      busiestCore: 1,
      memoryUsed: 0.75,
      diskBusy: 0.5,
      ingressBps: 8_000,
      queueLength: 42,
      cpuPressure: 0.125,
      channels: 3,
      reserved: 0.75,
    },
  });
  expect(Object.fromEntries(sample.busyByCpu)).toEqual({ 0: 1, 1: 0.5 });
  expect(sample.processes.get(7)).toMatchObject({
    cores: 0.5,
    rssBytes: 8192,
    threads: 2,
    ingressBps: 20_000,
    pressure: { cpu: 0.5, memory: 0, io: 0.25 },
  });
  expect(sample.detail).toMatchObject({
    load: { load5m: 0.4, load15m: 0.3, runnable: 1 },
    paging: { majorFaultsPerS: 5 },
    pressure: { cpu: 0.125, memory: 0.01, io: 0.02, memoryFull: 0.005, ioFull: 0.015 },
    gpus: [],
  });
  expect(sample.detail.cpus.get(1)).toMatchObject({ busy: 0.5, user: 0.5, system: 0 });
  expect(sample.detail.frequencyHz).toEqual(new Map([[1, 2.4e9]]));
  expect(sample.detail.disks.get('vda')).toMatchObject({ busy: 0.5, readBytesPerS: 0 });
  expect(sample.detail.interfaces.get('eth0')).toMatchObject({ receivedBps: 8_000, receiveDropsPerS: 4 });
  expect(sampler.maxThreads.every((threads) => threads === 123)).toBe(true);
  expect(monitor.latest()).toBe(sample);
  expect(monitor.window()).toHaveLength(1);
  monitor.untrack(7);
  expect(sampler.added.size).toBe(0);
});

for (const [name, file] of Object.entries({
  load: 'proc/loadavg',
  memory: 'proc/meminfo',
  disk: 'proc/diskstats',
  network: 'proc/net/dev',
  pressure: 'proc/pressure/cpu',
  paging: 'proc/vmstat',
}))
  test(`the ${name} collector fails alone: its last value stands, the failure is counted and said once`, async () => {
    const { monitor, sampler, log, next, write } = monitorOf();
    sampler.rows = { cpus: [{ cpu: 0 }] };
    monitor.start();
    const before = await next();
    write(file, 'x\ny\nnonsense');
    sampler.rows = { cpus: [{ cpu: 0, user: 1 }] };
    const during = await next();
    await next();
    write(file, files[file as keyof typeof files]);
    await next();
    expect(during.busyByCpu.get(0)).toBe(1);
    const metrics = monitor.metrics().collectors;
    expect(metrics.find((metric) => metric.name === name)).toMatchObject({
      failures: 2,
      successes: 3,
      failing: '',
    });
    for (const metric of metrics)
      if (metric.name !== name) expect(metric).toMatchObject({ failures: 0, successes: 5 });
    expect(log.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    expect(log.lines).toContain('info: the collector works again');
    expect(during.load1m).toBe(before.load1m);
    expect(during.memoryTotalBytes).toBe(before.memoryTotalBytes);
    expect(during.state.cpuPressure).toBe(before.state.cpuPressure);
  });

test('when the sampler fails, CPUs and processes keep their last values and the rest goes on', async () => {
  const { monitor, sampler, next } = monitorOf();
  sampler.rows = { cpus: [{ cpu: 0 }] };
  monitor.start();
  sampler.rows = { cpus: [{ cpu: 0, user: 1 }] };
  await next();
  sampler.rows = new Error('read: EIO');
  const sample = await next();
  expect(sample.busyByCpu.get(0)).toBe(1);
  expect(sample.load1m).toBe(0.5);
  const failing = monitor.metrics().collectors.filter((metric) => metric.failures > 0);
  expect(failing.map(({ name, failing: why }) => [name, why])).toEqual([
    ['sampler', 'read: EIO'],
    ['cpu', 'read: EIO'],
    ['processes', 'read: EIO'],
  ]);
});

test('a kernel without pressure information reads 0, and that is said once', async () => {
  const { monitor, log, next } = monitorOf(['proc/pressure/cpu', 'proc/pressure/memory', 'proc/pressure/io']);
  monitor.start();
  expect((await next()).state.cpuPressure).toBe(0);
  await next();
  expect(log.lines.filter((line) => line.includes('no pressure information'))).toHaveLength(1);
  expect(monitor.metrics().collectors.every(({ failures }) => failures === 0)).toBe(true);
});

test('a process that is gone cannot be tracked', () => {
  const { monitor } = monitorOf();
  const attempt = () => monitor.track(9, 0);
  expect(attempt).toThrow(expect.objectContaining({ code: 'PROCESS_GONE' }));
  expect(attempt).toThrow(/process 9 that started at tick 0 is gone/);
});

test('a listener that throws hurts neither the others nor the monitor', async () => {
  const { monitor, log, next } = monitorOf();
  monitor.onTick(() => {
    throw new Error('mine');
  });
  monitor.start();
  await next();
  await next();
  expect(
    log.lines.filter((line) => line.includes('listener of the monitor failed: mine')).length,
  ).toBeGreaterThan(0);
});

test('a process whose files vanish has no ingress, and no collector fails for it', async () => {
  const { monitor, sampler, next, root } = monitorOf();
  sampler.rows = { processes: [{ pid: 7 }] };
  monitor.track(7, 70);
  monitor.start();
  await next();
  rmSync(join(root, 'proc/7'), { recursive: true });
  const sample = await next();
  expect(sample.processes.has(7)).toBe(true);
  appendFileSync(join(root, 'proc/loadavg'), '');
  expect(monitor.metrics().collectors.every(({ failures }) => failures === 0)).toBe(true);
});

test('stop closes the sampler', async () => {
  const { monitor, sampler } = monitorOf();
  monitor.start();
  await monitor.stop();
  expect(sampler.closed).toBe(true);
});

test('the work of a background process is no load: it yields to everything else', async () => {
  const { monitor, sampler, next } = monitorOf();
  const at = (second: number) => ({
    cpus: [
      { cpu: 0, user: second * 0.9, idle: second * 0.1 },
      { cpu: 1, user: second * 0.3, idle: second * 0.7 },
    ],
    processes: [
      { pid: 7, userSeconds: second * 0.2, threads: 1 },
      { pid: 9, userSeconds: second * 0.6, threads: 1 },
    ],
    threads: [
      { pid: 7, tid: 7, cpu: 0, ranSeconds: 0.2 },
      { pid: 9, tid: 9, cpu: 0, ranSeconds: 0.6 },
    ],
  });
  sampler.rows = at(1);
  monitor.track(7, 70);
  monitor.start();
  sampler.rows = at(2);
  await next();
  expect(monitor.latest()!.state.busy).toBeCloseTo(0.6);
  monitor.background({ pid: 9, startTicks: 90 });
  expect(sampler.added.get(9)).toBe(90);
  sampler.rows = at(3);
  const sample = await next();
  expect(sample.busyByCpu.get(0)).toBeCloseTo(0.3);
  expect(sample.busyByCpu.get(1)).toBeCloseTo(0.3);
  expect(sample.state.busy).toBeCloseTo(0.3);
  expect([...sample.processes.keys()]).toEqual([7]);
  monitor.background(undefined);
  expect(sampler.added.has(9)).toBe(false);
  sampler.rows = at(4);
  expect((await next()).state.busy).toBeCloseTo(0.6);
  // One that is gone before it was sampled is no trouble.
  monitor.background({ pid: 11, startTicks: 0 });
  sampler.rows = at(5);
  expect((await next()).state.busy).toBeCloseTo(0.6);
});

test('what an ingest server reports stands in where the kernel does not tell', async () => {
  const { monitor, sampler, next } = monitorOf();
  sampler.rows = { processes: [{ pid: 7, ioRead: 1 }, { pid: 8 }] };
  monitor.track(7, 70);
  monitor.track(8, 80);
  monitor.start();
  const sample = await next();
  expect(sample.processes.get(7)!.ingressBps).toBe(0);
  expect(sample.processes.get(8)!.ingressBps).toBe(3_000);
});

test('a process is watched closely as it starts, and when something is amiss for ten seconds a minute at most', async () => {
  const { monitor, sampler, next } = monitorOf();
  sampler.rows = { processes: [{ pid: 7 }] };
  monitor.track(7, 70);
  monitor.start();
  const seconds = async (count: number) => {
    for (let i = 0; i < count; i++) await next();
  };
  await seconds(9);
  expect([...sampler.closely]).toEqual([7]);
  await seconds(1);
  expect([...sampler.closely]).toEqual([]);
  monitor.attend(7);
  expect([...sampler.closely]).toEqual([7]);
  await seconds(10);
  expect([...sampler.closely]).toEqual([]);
  monitor.attend(7);
  expect([...sampler.closely]).toEqual([]);
  await seconds(50);
  monitor.attend(7);
  expect([...sampler.closely]).toEqual([7]);
  monitor.untrack(7);
  monitor.track(7, 71);
  expect([...sampler.closely]).toEqual([7]);
});

test('a cgroup that goes away takes its pressure with it, and comes back with the process in another', async () => {
  const { monitor, sampler, next, root, write } = monitorOf();
  sampler.rows = { processes: [{ pid: 7 }] };
  monitor.track(7, 70);
  monitor.start();
  expect((await next()).processes.get(7)!.pressure).toMatchObject({ cpu: 0.5 });
  rmSync(join(root, 'sys/fs/cgroup/channels'), { recursive: true });
  write('proc/7/cgroup', '0::/\n');
  for (let i = 0; i < 60; i++) await next();
  expect(monitor.latest()!.processes.get(7)!.pressure).toBeUndefined();
  expect(monitor.metrics().collectors.every(({ failures }) => failures === 0)).toBe(true);
});

test('CPUs that go offline lose their frequency; others come in turn', async () => {
  const { monitor, sampler, next, root } = monitorOf();
  const cpus = Array.from({ length: 20 }, (_, cpu) => ({ cpu }));
  for (const { cpu } of cpus) {
    const folder = join(root, `sys/devices/system/cpu/cpu${cpu}/cpufreq`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'scaling_cur_freq'), `${1000 + cpu}\n`);
  }
  const at = (second: number, present = cpus) => ({
    cpus: present.map(({ cpu }) => ({ cpu, user: second })),
  });
  sampler.rows = at(0);
  monitor.start();
  for (let second = 1; second <= 4; second++) {
    sampler.rows = at(second);
    await next();
  }
  expect(monitor.latest()!.detail.frequencyHz.size).toBe(20);
  expect(monitor.latest()!.detail.frequencyHz.get(19)).toBe(1_019_000);
  sampler.rows = at(5, cpus.slice(0, 4));
  expect([...(await next()).detail.frequencyHz.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, 3]);
});

test('what memory made tasks wait since the last look is told at once, the mean of ten seconds beside it', async () => {
  const { monitor, next, write } = monitorOf();
  monitor.start();
  await next();
  const stalled = (microseconds: number) =>
    write('proc/pressure/memory', `some avg10=1.00 avg60=0.00 avg300=0.00 total=${microseconds}\n`);
  stalled(1_000_000);
  await next();
  stalled(1_500_000);
  expect((await next()).detail.pressure).toMatchObject({ memory: 0.01, memoryNow: 0.5 });
  expect((await next()).detail.pressure.memoryNow).toBe(0);
});

test('a glance between ticks sees more tasks than CPUs, and memory that goes', () => {
  const { root, write } = monitorOf();
  const glance = new Glance(join(root, 'proc'), listeningLog());
  const alarming = () => glance.alarming(4, 256_000);
  expect(alarming()).toBe(false);
  write('proc/loadavg', '0.50 0.40 0.30 5/100 99\n');
  expect(alarming()).toBe(true);
  write('proc/loadavg', '0.50 0.40 0.30 4/100 99\n');
  expect(alarming()).toBe(false);
  write('proc/meminfo', 'MemTotal:  1000 kB\nMemAvailable:  190 kB\n');
  expect(alarming()).toBe(true);
  glance.close();
});
