import { expect, test } from 'vitest';
import { Attention } from '../../src/monitor/attention.js';
import { Collector } from '../../src/monitor/collector.js';
import { GpuCollector } from '../../src/monitor/gpu.js';
import { IngressReports } from '../../src/monitor/reported-ingress.js';
import { listeningLog } from '../support/history.js';

function slowCollector() {
  let nowMs = 0;
  const log = listeningLog();
  const seen: number[] = [];
  const takesMs = { value: 1 };
  const collector = new Collector(
    'disk',
    -1,
    (elapsedS) => {
      nowMs += takesMs.value;
      seen.push(elapsedS);
      return seen.length;
    },
    { monotonicMs: () => nowMs, log, limitMs: 250 },
  );
  return { collector, log, seen, takesMs };
}

test('a collector that takes too long is left out of ever more ticks, and its next run spans them all', () => {
  const { collector, log, seen, takesMs } = slowCollector();
  takesMs.value = 300;
  const values = Array.from({ length: 12 }, () => collector.run(1));
  // Runs at ticks 1, 3, 6 and 11: one, two and four ticks without it in between.
  expect(values).toEqual([1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4]);
  expect(seen).toEqual([1, 2, 3, 5]);
  expect(collector.metrics()).toMatchObject({
    successes: 4,
    failures: 0,
    timeouts: 4,
    skipped: 8,
    lastMs: 300,
  });
  expect(log.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1);
  takesMs.value = 1;
  for (let i = 0; i < 20; i++) collector.run(1);
  expect(collector.metrics().skipped).toBe(8 + 7);
  expect(collector.metrics().timeouts).toBe(4);
});

test('a failure is a failure however long it took, and its last value stands', () => {
  let fail = true;
  const log = listeningLog();
  const collector = new Collector(
    'load',
    0,
    () => {
      if (fail) throw new Error('EIO');
      return 7;
    },
    { monotonicMs: () => 0, log, limitMs: 250 },
  );
  expect(collector.run(1)).toBe(0);
  fail = false;
  expect(collector.run(1)).toBe(7);
  fail = true;
  expect(collector.run(1)).toBe(7);
  expect(collector.metrics()).toMatchObject({ successes: 1, failures: 2, failing: 'EIO', timeouts: 0 });
});

test('a start does not use up the attention that a deviation soon after it gets', () => {
  let nowMs = 0;
  const attention = new Attention(() => nowMs);
  attention.start(7);
  nowMs = 1_000;
  expect(attention.begin(7)).toBe(false);
  nowMs = 10_000;
  expect(attention.ended()).toEqual([7]);
  nowMs = 11_000;
  expect(attention.begin(7)).toBe(true);
  nowMs = 21_000;
  expect(attention.ended()).toEqual([7]);
  expect(attention.begin(7)).toBe(false);
});

test('the host gets attention for two seconds, no sooner than ten after the last time', () => {
  let nowMs = 0;
  const attention = new Attention(() => nowMs);
  attention.host();
  expect(attention.any).toBe(true);
  nowMs = 2_000;
  attention.host();
  expect(attention.any).toBe(false);
  nowMs = 10_000;
  attention.host();
  expect(attention.any).toBe(true);
});

test('attention ends after ten seconds and returns no sooner than a minute after it began', () => {
  let nowMs = 0;
  const attention = new Attention(() => nowMs);
  expect(attention.begin(7)).toBe(true);
  expect(attention.begin(7)).toBe(false);
  nowMs = 9_999;
  expect(attention.ended()).toEqual([]);
  expect(attention.any).toBe(true);
  nowMs = 10_000;
  expect(attention.ended()).toEqual([7]);
  expect(attention.ended()).toEqual([]);
  expect(attention.any).toBe(false);
  nowMs = 59_999;
  expect(attention.begin(7)).toBe(false);
  nowMs = 60_000;
  expect(attention.begin(7)).toBe(true);
  attention.forget(7);
  expect(attention.any).toBe(false);
  expect(attention.begin(7)).toBe(true);
});

test('a driver that does not answer is a failure; one that is not there is none', () => {
  const log = listeningLog();
  const gpu = { name: 'g', busy: 1, memoryUsedBytes: 1, memoryTotalBytes: 2, encoderBusy: 0, decoderBusy: 0 };
  let reading = { gpus: [gpu], answers: 1, pendingMs: 0, absent: '' };
  const collector = new GpuCollector({ poll: () => reading, close: () => {} }, log);
  expect(collector.collect()).toEqual([gpu]);
  reading = { ...reading, pendingMs: 5_001 };
  expect(() => collector.collect()).toThrow('the driver has owed an answer for 5001 ms');
  reading = { ...reading, absent: 'no such library' };
  expect(collector.collect()).toEqual([]);
  collector.collect();
  expect(log.lines.filter((line) => line.includes('no NVIDIA GPU'))).toHaveLength(1);
});

test('a channel’s reported ingress is the sum of its streams that are fresh', () => {
  let nowMs = 100_000;
  const reports = new IngressReports(() => nowMs);
  const report = (stream: string, bitrateBps: number, atMs: number, reservationId = 'r1') =>
    reports.report([{ stream, bitrateBps, queueLength: 0, atMs, reservationId }]);
  expect(reports.bpsOf('r1')).toBeNaN();
  expect(reports.bpsOf(undefined)).toBeNaN();
  report('a', 1_000, 90_000);
  report('b', 2_000, 100_000);
  report('c', 4_000, 100_000, '');
  expect(reports.bpsOf('r1')).toBe(3_000);
  report('a', 9_000, 80_000); // older than what is known
  expect(reports.bpsOf('r1')).toBe(3_000);
  report('b', 5_000, 100_001, 'r2'); // the stream went to another channel
  expect([reports.bpsOf('r1'), reports.bpsOf('r2')]).toEqual([1_000, 5_000]);
  nowMs = 125_000;
  expect(reports.bpsOf('r1')).toBeNaN();
  expect(
    reports
      .current()
      .map(({ stream }) => stream)
      .sort(),
  ).toEqual(['b', 'c']);
  expect(reports.totals().bps).toBe(9_000);
});
