import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { createRecorder } from '../../src/feedback/recorder.js';
import { seriesOf } from '../../src/history/series.js';
import { systemClock } from '../../src/lib/clock.js';
import { hostAddon } from '../../src/lib/native.js';
import { createMonitor } from '../../src/monitor/monitor.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import { decisionOf, historyFolder, open, read, T0 } from '../support/history.js';

function hasFfmpeg(): boolean {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('a real live channel: its run and summary agree with getrusage within 10 %, its series are in the history', async (ctx) => {
  if (!hasFfmpeg()) return ctx.skip('needs ffmpeg');
  const folder = historyFolder();
  const { history } = await open(folder.dir, { clock: systemClock });
  const addon = hostAddon();
  const monitor = createMonitor({
    sampler: addon.openSampler('/proc'),
    procRoot: '/proc',
    sysRoot: '/sys',
    clock: systemClock,
    schedulable: () => os.cpus().map((_, cpu) => cpu),
    gauges: {
      channels: () => 1,
      queued: () => 0,
      reserved: () => 0.5,
      reportedIngress: () => ({ bps: 0, queueLength: 0 }),
    },
    intervalMs: 500,
  });
  const recorder = createRecorder({
    history,
    clock: systemClock,
    schedulableCpus: () => os.cpus().length,
    processCpuSeconds: () => 0,
    processAgeS: ({ startTicks }) => os.uptime() - startTicks / addon.clockTicksPerSecond(),
  });
  monitor.onTick((sample) => {
    recorder.onTick(sample);
    history.append(seriesOf(sample, { channels: recorder.readings(), queued: 0 }));
  });
  monitor.start();

  const source = '-re -f lavfi -i testsrc2=size=640x360:rate=25:duration=7';
  const command = `ffmpeg -nostdin -v error -stats_period 0.5 -progress pipe:1 ${source} -c:v libx264 -preset veryfast -f null /dev/null`;
  const shell = spawn('sh', ['-c', `${command} & echo pid=$!; wait $!; times`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let pid = 0;
  let last = '';
  createInterface({ input: shell.stdout }).on('line', (line) => {
    const [key, value] = line.split('=');
    if (key === 'pid') {
      pid = Number(value);
      const startTicks = addon.startTicks(pid);
      monitor.track(pid, startTicks);
      const reservation: Reservation = {
        id: 'r1',
        state: 'ACTIVE',
        token: 1,
        name: 'test',
        channelClass: 'live',
        priority: 50,
        exclusive: true,
        cpus: os.cpus().map((_, cpu) => ({ cpu, shareMilli: 1000 })),
        process: { pid, startTicks },
        createdMs: T0,
        changedMs: T0,
        deadlineMs: 0,
        decisionId: 'd1',
        rung: 0,
        ladderRungs: 0,
        uid: 0,
        reason: '',
      };
      recorder.begin(reservation, decisionOf('d1', 'r1'), monitor.window());
    } else if (key === 'out_time_us') {
      const progress = {
        frame: 0,
        fps: 0,
        speed: 0,
        droppedFrames: 0,
        duplicatedFrames: 0,
        bitrateBps: 0,
        lagSeconds: 0,
      };
      recorder.progress('r1', { ...progress, outTimeUs: Number(value) });
    } else {
      last = line;
    }
  });
  await once(shell, 'close');
  const { run, summary, stored } = (await recorder.end('r1'))!;
  await monitor.stop();
  const rusage = [...last.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, m, s]) => sum + Number(m) * 60 + Number(s),
    0,
  );

  expect(rusage).toBeGreaterThan(0.2);
  expect(summary.cpuSeconds / rusage).toBeGreaterThan(0.9);
  expect(summary.cpuSeconds / rusage).toBeLessThan(1.1);
  expect(run.mediaSeconds).toBeGreaterThan(6.5);
  expect(run.wallSeconds).toBeGreaterThan(6.5);
  expect(stored).toBe(true);
  expect(run.samples.map(({ atS }) => Math.round(atS))[0]).toBe(5);
  for (const { demandCores, speed, coreUsage } of run.samples) {
    expect(demandCores).toBeGreaterThan(0.01);
    expect(demandCores).toBeLessThan(os.cpus().length);
    expect(speed).toBeGreaterThan(0.3);
    expect(coreUsage).toHaveLength(os.cpus().length);
  }
  expect(await history.run('r1')).toEqual(run);
  const cores = (await read(history, { series: 'channel.r1.cores' })).get('channel.r1.cores')!;
  expect(cores.length).toBeGreaterThan(8);
  // And details, where a tick of ten seconds fell into its time.
  expect(await history.seriesNames()).toEqual(
    expect.arrayContaining(
      ['cores', 'ingress_bps', 'lag', 'rss', 'speed', 'wait'].map((kind) => `channel.r1.${kind}`),
    ),
  );
  await history.close();
  folder.remove();
});
