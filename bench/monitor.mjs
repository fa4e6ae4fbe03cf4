/**
 * What watching costs: the monitor at one tick a second over --processes processes of --command.
 *
 *   npm run -s bench -- monitor [--json] [--processes 100] [--seconds 20] [--command 'sleep 600']
 */
import { spawn } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { hostAddon } = await import(`${dist}/lib/native.js`);
const { createMonitor } = await import(`${dist}/monitor/monitor.js`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function run({ processes = 100, seconds = 20, command = 'sleep 600' } = {}) {
  const addon = hostAddon();
  const monitor = createMonitor({
    sampler: addon.openSampler('/proc'),
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
    intervalMs: 1000,
  });
  // exec: the shell becomes the command, so that its pid is the one that is watched.
  const start = () => spawn('sh', ['-c', `exec ${command}`], { stdio: 'ignore' });
  const children = Array.from({ length: Number(processes) }, start);
  try {
    await sleep(2_000 + children.length * 20);
    for (const { pid } of children) monitor.track(pid, addon.startTicks(pid));
    monitor.start();
    await sleep(3_000);
    return { figures: await measure(monitor, Number(seconds)) };
  } finally {
    await monitor.stop();
    for (const child of children) child.kill('SIGKILL');
  }
}

async function measure(monitor, seconds) {
  const cpu = process.cpuUsage();
  const before = monitor.metrics();
  const began = systemClock.monotonicMs();
  await sleep(seconds * 1000);
  const used = process.cpuUsage(cpu);
  const wallMs = systemClock.monotonicMs() - began;
  const after = monitor.metrics();
  const ticks = after.ticks - before.ticks;
  const watched = [...monitor.latest().processes.values()];
  const collectors = after.collectors.map(({ name, totalMs }, i) => [
    `${name}WallMs`,
    (totalMs - before.collectors[i].totalMs) / ticks,
  ]);
  return {
    processes: watched.length,
    threads: watched.reduce((sum, { threads }) => sum + threads, 0),
    ticks,
    missedTicks: after.missedTicks - before.missedTicks,
    cpuPercentOfOne: (used.user + used.system) / 10 / wallMs,
    cpuMsPerTick: (used.user + used.system) / 1000 / ticks,
    tickWallMs: (after.totalTickMs - before.totalTickMs) / ticks,
    ...Object.fromEntries(collectors),
  };
}
