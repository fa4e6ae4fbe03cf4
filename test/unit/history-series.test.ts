import { expect, test } from 'vitest';
import { SERIES, seriesOf, unitOf } from '../../src/history/series.js';
import type { HostSample } from '../../src/monitor/sample.js';
import { hostState, T0 } from '../support/history.js';
import { hostDetail, processSample } from '../support/host-detail.js';

const sample: HostSample = {
  atMs: T0,
  monotonicMs: 15_000,
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
        ...processSample,
        cores: 0.98765,
        waitCores: 0.01,
        cpuSeconds: 1,
        rssBytes: 100_000,
      },
    ],
  ]),
  detail: hostDetail,
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

test('details come with the first tick of each ten seconds, devices by name, and what is unknown has no point', () => {
  const use = { busy: 0.5, user: 0.25, system: 0.125, steal: 0.0625, iowait: 0.1 };
  const detail = {
    ...hostDetail,
    cpus: new Map([[12, use]]),
    frequencyHz: new Map([[12, 2_400_400_000]]),
    disks: new Map([['nvme0n1', { readBytesPerS: 4_096, writtenBytesPerS: 0, busy: 0.5, queue: 1.5 }]]),
    interfaces: new Map([
      ['eth0.100', { receivedBps: 2e6, sentBps: 1e6, receiveDropsPerS: 3, sendDropsPerS: 0 }],
    ]),
    gpus: [
      {
        name: 'Stand-in',
        busy: 0.5,
        memoryUsedBytes: 1_048_576,
        memoryTotalBytes: 4_194_304,
        encoderBusy: 0.25,
        decoderBusy: Number.NaN,
      },
    ],
  };
  const encoder = { fps: 25, bitrateBps: 4_000_400, droppedFrames: 3, duplicatedFrames: 1 };
  const process = { ...processSample, widestMask: 4, pressure: { cpu: 0.5, memory: 0, io: 0.25 } };
  const at = (monotonicMs: number) =>
    seriesOf(
      { ...sample, monotonicMs, elapsedS: 1, detail, processes: new Map([[7, process]]) },
      { channels: [{ id: 'ab-1', pid: 7, encoder }], queued: 0 },
    );
  const named = Object.fromEntries(at(20_300).map(({ series, value }) => [series, value]));
  expect(named).toMatchObject({
    'cpu.12.user': 0.25,
    'cpu.12.steal': 0.063,
    'cpu.12.frequency': 2.4e9,
    'disk.nvme0n1.read': 4_096,
    'disk.nvme0n1.queue': 1.5,
    'net.eth0.100.received_bps': 2e6,
    'net.eth0.100.receive_drops': 3,
    'gpu.0.memory_used': 1_048_576,
    'gpu.0.encoder_busy': 0.25,
    'channel.ab-1.fps': 25,
    'channel.ab-1.bitrate_bps': 4_000_000,
    'channel.ab-1.dropped_frames': 3,
    'channel.ab-1.widest_mask': 4,
    'channel.ab-1.cpu_pressure': 0.5,
  });
  expect(named).not.toHaveProperty(['gpu.0.decoder_busy']);
  for (const series of Object.keys(named)) expect(unitOf(series), series).not.toBe('');
  expect(at(21_300).some(({ series }) => series === 'cpu.12.user')).toBe(false);
  expect(at(21_300).some(({ series }) => series === 'host.busy')).toBe(true);
});

test('every series has a unit, by its kind; other names have none', () => {
  for (const [kind, { unit }] of Object.entries(SERIES))
    expect(
      unitOf(kind.replace('.N.', '.17.').replace('.ID.', '.01-x.y.').replace('.NAME.', '.eth0.7.')),
      kind,
    ).toBe(unit);
  expect(unitOf('channel.7.rss')).toBe('bytes');
  expect(unitOf('cpu.3.rss')).toBe('');
  expect(unitOf('host')).toBe('');
  expect(unitOf('')).toBe('');
  expect(unitOf('constructor.a.b')).toBe('');
});
