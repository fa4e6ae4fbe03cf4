import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import os from 'node:os';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { hostAddon } from '../../src/lib/native.js';
import { readInventory } from '../../src/monitor/inventory.js';
import { createMonitor, type RunningMonitor } from '../../src/monitor/monitor.js';
import type { HostSample } from '../../src/monitor/sample.js';
import { DATAGRAM_CHARGE_BYTES } from '../../src/monitor/socket-tables.js';

function realMonitor(intervalMs: number, fastIntervalMs = intervalMs): RunningMonitor {
  return createMonitor({
    sampler: hostAddon().openSampler('/proc'),
    tcp: tcpReader(),
    gpu: hostAddon().openGpuReader('no-such-library.so'),
    procRoot: '/proc',
    sysRoot: '/sys',
    clock: systemClock,
    schedulable: () => os.cpus().map((_, cpu) => cpu),
    gauges: {
      channels: () => 0,
      queued: () => 0,
      reserved: () => 0,
      reportedIngress: () => ({ bps: 0, queueLength: 0 }),
    },
    intervalMs,
    fastIntervalMs,
  });
}

function tcpReader() {
  try {
    return hostAddon().openTcpReader();
  } catch {
    return undefined;
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function hasFfmpeg(): boolean {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('this host: every collector works and every number is one', async () => {
  const monitor = realMonitor(200);
  monitor.start();
  await sleep(1_100);
  const sample = monitor.latest()!;
  const { ticks, missedTicks, collectors } = monitor.metrics();
  await monitor.stop();
  expect(ticks + missedTicks).toBeGreaterThanOrEqual(5);
  expect(collectors.map(({ name, failing }) => [name, failing])).toEqual(
    [
      'sampler',
      'cpu',
      'load',
      'memory',
      'paging',
      'disk',
      'network',
      'pressure',
      'frequency',
      'gpu',
      'ingress',
      'channel_pressure',
      'processes',
    ].map((name) => [name, '']),
  );
  expect(sample.busyByCpu.size).toBe(os.cpus().length);
  for (const [key, value] of Object.entries(sample.state)) expect(value, key).toBeGreaterThanOrEqual(0);
  for (const key of ['busy', 'busiestCore', 'memoryUsed', 'diskBusy', 'cpuPressure'] as const)
    expect(sample.state[key], key).toBeLessThanOrEqual(1);
  expect(sample.memoryTotalBytes).toBe(os.totalmem());
});

test('the CPU seconds of an FFmpeg process agree with its own getrusage within 10 %, in sum and by CPU', async (ctx) => {
  if (!hasFfmpeg()) return ctx.skip('needs ffmpeg');
  const source = 'testsrc2=size=640x360:rate=25:duration=60';
  const args = `-nostdin -v error -f lavfi -i ${source} -c:v libx264 -preset veryfast -f null -`;
  // "times" prints the shell's own and its children's user and system seconds: getrusage(RUSAGE_CHILDREN).
  const shell = spawn('sh', ['-c', `ffmpeg ${args} & echo $!; wait $!; times`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  shell.stdout.on('data', (bytes) => {
    out += bytes;
  });
  await once(shell.stdout, 'data');
  const pid = Number.parseInt(out, 10);
  const monitor = realMonitor(100);
  monitor.track(pid, hostAddon().startTicks(pid));
  let integral = 0;
  let byCpu = 0;
  let rssBytes = 0;
  let last: HostSample | undefined;
  monitor.onTick((sample) => {
    const process = sample.processes.get(pid)!;
    rssBytes = Math.max(rssBytes, process.rssBytes);
    integral += process.cores * sample.elapsedS;
    for (const cores of process.coresByCpu.values()) byCpu += cores * sample.elapsedS;
    last = sample;
  });
  monitor.start();
  await once(shell, 'close');
  await monitor.stop();
  const children = out.trim().split('\n').at(-1)!;
  const rusage = [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, m, s]) => sum + Number(m) * 60 + Number(s),
    0,
  );
  expect(rusage).toBeGreaterThan(2); // so that two CPUs' last tick, 0.2 s, is less than a tenth
  expect(last!.processes.get(pid)!.cpuSeconds).toBeGreaterThan(rusage * 0.9);
  expect(last!.processes.get(pid)!.cpuSeconds).toBeLessThan(rusage * 1.1);
  expect(integral).toBeGreaterThan(rusage * 0.85); // without what came before the first tick
  expect(integral).toBeLessThan(rusage * 1.1);
  expect(byCpu).toBeGreaterThan(integral * 0.85); // without threads that lived between two ticks
  expect(byCpu).toBeLessThan(integral * 1.1);
  expect(rssBytes).toBeGreaterThan(10e6);
});

test('a process that reads a pipe at a known rate has that ingress', async () => {
  // cat reads what this test writes: 64 kB each 20 ms.
  const cat = spawn('sh', ['-c', 'exec cat > /dev/null'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const pid = cat.pid!;
  const monitor = realMonitor(250);
  monitor.track(pid, hostAddon().startTicks(pid));
  monitor.start();
  const startMs = systemClock.monotonicMs();
  let written = 0;
  const writing = setInterval(() => {
    written += 65_536;
    cat.stdin.write(Buffer.alloc(65_536));
  }, 20);
  const rates: number[] = [];
  monitor.onTick((sample) => rates.push(sample.processes.get(pid)!.ingressBps));
  await sleep(1_600);
  clearInterval(writing);
  const bps = (written * 8) / ((systemClock.monotonicMs() - startMs) / 1000);
  await monitor.stop();
  cat.stdin.end();
  await once(cat, 'close');
  const seen = rates.filter((rate) => rate > 0);
  const mean = seen.reduce((sum, rate) => sum + rate, 0) / seen.length;
  expect(mean).toBeGreaterThan(bps * 0.6);
  expect(mean).toBeLessThan(bps * 1.4);
});

test('datagrams that wait at a tracked process’ UDP socket are counted, and its ingress is not claimed to be known', async () => {
  const script = `
    const socket = require('dgram').createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => {
      process.stdout.write(String(socket.address().port) + '\\n');
      // The loop stands still: nothing is read.
      setTimeout(() => { const end = Date.now() + 60000; while (Date.now() < end) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000); }, 50);
    });`;
  const receiver = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = await once(receiver.stdout, 'data');
  await sleep(300);
  const pid = receiver.pid!;
  const monitor = realMonitor(100);
  monitor.track(pid, hostAddon().startTicks(pid));
  const sender = createSocket('udp4');
  for (let i = 0; i < 20; i++) {
    sender.send(Buffer.alloc(1316), Number(String(port)), '127.0.0.1');
    await sleep(2);
  }
  await sleep(50);
  monitor.start();
  await sleep(350);
  const sample = monitor.latest()!;
  await monitor.stop();
  sender.close();
  receiver.kill('SIGKILL');
  await once(receiver, 'close');
  // DATAGRAM_CHARGE_BYTES differs a little between kernels and drivers.
  expect(DATAGRAM_CHARGE_BYTES).toBeGreaterThan(1316);
  expect(sample.state.queueLength).toBeGreaterThanOrEqual(10);
  expect(sample.state.queueLength).toBeLessThanOrEqual(40);
  expect(sample.processes.get(pid)!.ingressBps).toBeNaN();
  expect(sample.processes.get(pid)!.sockets.datagrams).toBe(sample.state.queueLength);
});

test('a process that receives a known rate by TCP has that ingress, and what it leaves unread is counted', async (ctx) => {
  if (tcpReader() === undefined) return ctx.skip('needs sock_diag in the kernel');
  const script = `
    const { createServer } = require('node:net');
    const server = createServer((socket) => {
      socket.resume();
      // Then nothing is read any more.
      process.stdin.once('data', () => socket.pause());
    });
    server.listen(0, '127.0.0.1', () => process.stdout.write(String(server.address().port) + '\\n'));`;
  const receiver = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = await once(receiver.stdout, 'data');
  const sender = connect(Number(String(port)), '127.0.0.1');
  await once(sender, 'connect');
  const pid = receiver.pid!;
  const monitor = realMonitor(200);
  monitor.track(pid, hostAddon().startTicks(pid));
  monitor.start();
  const startMs = systemClock.monotonicMs();
  let written = 0;
  const writing = setInterval(() => {
    written += 20_000;
    sender.write(Buffer.alloc(20_000));
  }, 20);
  const rates: number[] = [];
  monitor.onTick((sample) => rates.push(sample.processes.get(pid)!.ingressBps));
  await sleep(2_600);
  const bps = (written * 8) / ((systemClock.monotonicMs() - startMs) / 1000);
  receiver.stdin.write('\n');
  let waiting = 0;
  for (let i = 0; i < 30 && waiting < 20_000; i++) {
    await sleep(200);
    waiting = monitor.latest()!.processes.get(pid)!.sockets.bytes;
  }
  clearInterval(writing);
  await monitor.stop();
  sender.destroy();
  receiver.kill('SIGKILL');
  await once(receiver, 'close');
  const seen = rates.filter((rate) => rate > 0);
  const mean = seen.reduce((sum, rate) => sum + rate, 0) / seen.length;
  // A busy host sends in bursts; bits taken for bytes, or all for a share, would be further off.
  expect(mean).toBeGreaterThan(bps * 0.3);
  expect(mean).toBeLessThan(bps * 2.5);
  expect(waiting).toBeGreaterThanOrEqual(20_000);
});

test('threads have their own times, switches and masks', async () => {
  const busy = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
  const pid = busy.pid!;
  const monitor = realMonitor(200);
  const cpus = hostAddon().getThreadAffinity(0);
  hostAddon().setProcessAffinity(pid, [cpus[0]!]);
  monitor.track(pid, hostAddon().startTicks(pid));
  monitor.start();
  await sleep(1_100);
  const sample = monitor.latest()!.processes.get(pid)!;
  const threads = monitor.threads(pid);
  await monitor.stop();
  busy.kill('SIGKILL');
  await once(busy, 'close');
  expect(threads).toHaveLength(sample.threads);
  const main = threads.find(({ tid }) => tid === pid)!;
  expect(main).toMatchObject({ cpu: cpus[0], maskCpus: 1 });
  expect(main.cores).toBe(sample.busiestThreadCores);
  expect(main.cores).toBeGreaterThan(0);
  expect(main.switches).toBeGreaterThan(0);
  expect(main.waitSeconds).toBeGreaterThanOrEqual(0);
  expect(sample.widestMask).toBe(1);
});

test('ticks come faster while a channel starts, and as ever once it is gone; a new pace holds at once', async () => {
  const idle = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  const monitor = realMonitor(60_000, 50);
  monitor.start();
  const ticks = () => monitor.metrics().ticks;
  const reach = async (count: number) => {
    for (let i = 0; i < 200 && ticks() < count; i++) await sleep(50);
    expect(ticks()).toBeGreaterThanOrEqual(count);
  };
  expect(ticks()).toBe(0);
  monitor.track(idle.pid!, hostAddon().startTicks(idle.pid!));
  await reach(5);
  monitor.untrack(idle.pid!);
  await sleep(100); // the tick that was due
  const before = ticks();
  await sleep(500);
  expect(ticks() - before).toBeLessThanOrEqual(1);
  monitor.setPace({ intervalMs: 50 });
  await reach(before + 5);
  await monitor.stop();
  idle.kill('SIGKILL');
  await once(idle, 'close');
});

test('the inventory names this host, and what takes too long is left out with a note', async () => {
  const inventory = await readInventory({ timeoutMs: 20_000 });
  expect(inventory.hostname).toBe(os.hostname());
  expect(inventory.cpuModel).not.toBe('');
  expect(inventory.memoryBytes).toBe(os.totalmem());
  const hurried = await readInventory({ timeoutMs: 0 });
  expect(hurried.hostname).toBe(os.hostname());
  expect(hurried.memoryBytes).toBe(os.totalmem());
  expect(hurried.notes.join()).toMatch(/no answer within 0 ms/);
});
