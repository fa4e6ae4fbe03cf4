import { expect, test } from 'vitest';
import { SERIES, seriesOf, unitOf } from '../../src/history/series.js';
import type { HostSample } from '../../src/monitor/sample.js';
import { hostState, T0 } from '../support/history.js';

const sample: HostSample = {
  atMs: T0,
  monotonicMs: 1,
  elapsedS: 1,
  busyByCpu: new Map([
    [0, 0.123456],
    [12, 1],
  ]),
  state: { ...hostState, busy: 0.1 + 0.2, ingressBps: 1_234_567, reserved: -0 },
  load1m: 1.5,
  memoryAvailableBytes: 1,
  memoryTotalBytes: 2,
  processes: new Map([
    [
      7,
      {
        pid: 7,
        cores: 0.98765,
        coresByCpu: new Map(),
        waitCores: 0.01,
        cpuSeconds: 1,
        threads: 1,
        rssBytes: 100_000,
        ingressBps: Number.NaN,
      },
    ],
  ]),
};

test('a tick becomes one point a series, rounded to what was measured; what is unknown has none', () => {
  const channels = [
    { id: 'ab-1', pid: 7, speed: 1.00049 },
    { id: 'gone', pid: 8 },
  ];
  const points = seriesOf(sample, { channels, queued: 3 });
  expect(points.every(({ atMs }) => atMs === T0)).toBe(true);
  expect(Object.fromEntries(points.map(({ series, value }) => [series, value]))).toEqual({
    'host.busy': 0.3,
    'host.load1m': 1.5,
    'host.memory_used': 0.4,
    'host.cpu_pressure': 0.01,
    'host.disk_busy': 0,
    'host.ingress_bps': 1_235_000,
    'host.queue_length': 0,
    'host.reserved': 0,
    'host.channels': 1,
    'host.queued': 3,
    'cpu.0.busy': 0.123,
    'cpu.12.busy': 1,
    'channel.ab-1.cores': 0.988,
    'channel.ab-1.wait': 0.01,
    'channel.ab-1.speed': 1,
    'channel.ab-1.rss': 131_072,
  });
});

test('every series has a unit, by its kind; other names have none', () => {
  for (const [kind, { unit }] of Object.entries(SERIES))
    expect(unitOf(kind.replace('.N.', '.17.').replace('.ID.', '.01-x.y.')), kind).toBe(unit);
  expect(unitOf('channel.7.rss')).toBe('bytes');
  expect(unitOf('cpu.3.rss')).toBe('');
  expect(unitOf('host')).toBe('');
  expect(unitOf('')).toBe('');
  expect(unitOf('constructor.a.b')).toBe('');
});
