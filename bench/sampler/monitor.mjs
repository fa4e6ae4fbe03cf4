/** The monitor as the daemon builds it, over the processes of argv[5..]; prints what it cost as JSON. */
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const [, , dist, seconds, threadsPerTick, ...pids] = process.argv;
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { hostAddon } = await import(`${dist}/lib/native.js`);
const { createMonitor } = await import(`${dist}/monitor/monitor.js`);

/**
 * Processes that begin are watched closely for ten seconds. Then, and a while longer, as many ticks as in half an
 * hour: the daemon runs for weeks, and V8 compiles in its first minutes.
 */
const WARM_UP_MS = 40_000;
const WARM_UP_INTERVAL_MS = 20;

const addon = hostAddon();
const monitor = createMonitor({
  sampler: addon.openSampler('/proc'),
  tcp: addon.openTcpReader(),
  gpu: addon.openGpuReader('libnvidia-ml.so.1'),
  procRoot: '/proc',
  sysRoot: '/sys',
  clock: systemClock,
  schedulable: () => os.cpus().map((_, cpu) => cpu),
  gauges: {
    channels: () => pids.length,
    queued: () => 0,
    reserved: () => 0,
    reportedIngress: () => ({ bps: 0, queueLength: 0 }),
    reportedIngressOf: () => Number.NaN,
  },
  intervalMs: WARM_UP_INTERVAL_MS,
  threadsPerTick: Number(threadsPerTick),
});
for (const pid of pids.map(Number)) monitor.track(pid, addon.startTicks(pid));
monitor.start();
await sleep(WARM_UP_MS);
monitor.setPace({ intervalMs: 1_000, threadsPerTick: Number(threadsPerTick) });
await sleep(1_000);
process.stdout.write('warm\n');
const cpu = process.cpuUsage();
const before = monitor.metrics();
const began = systemClock.monotonicMs();
await sleep(Number(seconds) * 1000);
const { user, system } = process.cpuUsage(cpu);
const wallMs = systemClock.monotonicMs() - began;
const after = monitor.metrics();
const ticks = after.ticks - before.ticks;
const watched = [...monitor.latest().processes.values()];
const threads = watched.reduce((sum, { pid }) => sum + monitor.threads(pid).length, 0);
await monitor.stop();
const collectorMs = after.collectors.map(({ name, totalMs }, i) => [
  name,
  (totalMs - before.collectors[i].totalMs) / ticks,
]);
const result = {
  cpuSeconds: (user + system) / 1e6,
  wallMs,
  ticks,
  missedTicks: after.missedTicks - before.missedTicks,
  tickWallMs: (after.totalTickMs - before.totalTickMs) / ticks,
  failing: after.collectors.filter(({ failing }) => failing !== '').map(({ name }) => name),
  processes: watched.length,
  threads,
  collectorMs: Object.fromEntries(collectorMs),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
