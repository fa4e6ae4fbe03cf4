import { expect, test } from 'vitest';
import type { HorizonObserved } from '../../src/feedback/channel-record.js';
import { createRecorder } from '../../src/feedback/recorder.js';
import type { Forecast } from '../../src/forecast/forecast.js';
import type { Run } from '../../src/history/records.js';
import type { HostSample } from '../../src/monitor/sample.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import type { Progress } from '../../src/rpc/control.js';
import {
  decisionOf,
  hostState,
  forecast as onOneCpu,
  signature,
  stillClock,
  T0,
} from '../support/history.js';
import { hostDetail, processSample } from '../support/host-detail.js';

const forecast = { ...onOneCpu, cpuCount: 2 };
const reservation: Reservation = {
  id: 'r1',
  state: 'ACTIVE',
  token: 1,
  name: 'news',
  channelClass: 'live',
  priority: 50,
  exclusive: false,
  cpus: [
    { cpu: 2, shareMilli: 1000 },
    { cpu: 3, shareMilli: 500 },
  ],
  process: { pid: 7, startTicks: 70 },
  createdMs: T0,
  changedMs: T0,
  deadlineMs: 0,
  decisionId: 'd1',
  rung: 0,
  ladderRungs: 2,
  uid: 0,
  reason: '',
};

const progressAt = (outTimeS: number, lagSeconds = 0): Progress => ({
  outTimeUs: outTimeS * 1e6,
  frame: 0,
  fps: 25,
  speed: 1,
  droppedFrames: 0,
  duplicatedFrames: 0,
  bitrateBps: 0,
  lagSeconds,
});

/** A channel on a clock of its own: a second is a tick with what the process used in it and how its media went on. */
function channel({ ageS = 0, putRun = async (_run: Run) => {}, held = reservation } = {}) {
  const clock = stillClock();
  const stored: Run[] = [];
  const observed: HorizonObserved[] = [];
  const recorder = createRecorder({
    history: {
      putRun: async (run) => {
        await putRun(run);
        stored.push(run);
      },
    },
    clock,
    schedulableCpus: () => 4,
    processCpuSeconds: () => 0,
    processAgeS: () => ageS,
    onHorizonObserved: (one) => observed.push(one),
  });
  recorder.begin(held, { ...decisionOf('d1', 'r1'), forecast }, [hostState]);
  let cpuSeconds = 0;
  let mediaS = 0;
  const second = (use: {
    cores: number;
    speed?: number;
    byCpu?: [number, number][];
    busy?: number;
    ingressBps?: number;
    pid?: number;
  }) => {
    clock.monoMs += 1000;
    clock.wallMs += 1000;
    cpuSeconds += use.cores;
    if (use.speed !== undefined) {
      mediaS += use.speed;
      recorder.progress('r1', progressAt(mediaS, 0.25));
    }
    const pid = use.pid ?? 7;
    const sample: HostSample = {
      atMs: clock.wallMs,
      monotonicMs: clock.monoMs,
      elapsedS: 1,
      busyByCpu: new Map(),
      state: { ...hostState, busy: use.busy ?? 0.5 },
      load1m: 1,
      memoryAvailableBytes: 1,
      memoryTotalBytes: 2,
      processes: new Map([
        [
          pid,
          {
            ...processSample,
            pid,
            cores: use.cores,
            coresByCpu: new Map(use.byCpu ?? [[2, use.cores]]),
            cpuSeconds,
            ingressBps: use.ingressBps ?? Number.NaN,
          },
        ],
      ]),
      detail: hostDetail,
    };
    recorder.onTick(sample);
    return sample;
  };
  const seconds = (count: number, use: Parameters<typeof second>[0]) => {
    for (let i = 0; i < count; i++) second(use);
  };
  return { clock, recorder, stored, observed, second, seconds };
}

test('a live channel at real time: its run has steps of five seconds, with demand, cores, host and ingress', async () => {
  const { recorder, seconds, stored } = channel();
  seconds(20, {
    cores: 0.8,
    speed: 1,
    byCpu: [
      [2, 0.6],
      [3, 0.2],
    ],
    busy: 0.7,
    ingressBps: 2_000_000,
  });
  const ended = await recorder.end('r1');
  expect(stored).toEqual([ended!.run]);
  expect(ended!.stored).toBe(true);
  expect(ended!.run).toMatchObject({
    id: 'r1',
    origin: 'live',
    startedMs: T0,
    signature,
    cpuCount: 2,
    schedulableCpus: 4,
    hostBefore: [hostState],
    cpuSeconds: 16,
    wallSeconds: 20,
    mediaSeconds: 20,
    source: 'news',
  });
  expect(ended!.run.samples.map(({ atS }) => atS)).toEqual([5, 10, 15, 20]);
  for (const sample of ended!.run.samples)
    expect(sample).toEqual({
      atS: sample.atS,
      demandCores: 0.8,
      coreUsage: [0.6, 0.2],
      hostLoad: 0.7,
      ingressBps: 2_000_000,
      speed: 1,
      host: { ...hostState, busy: 0.7 },
    });
});

test('demand is per media second: a channel at half speed needs twice its cores', async () => {
  const { recorder, seconds } = channel();
  seconds(10, { cores: 1.5, speed: 0.5 });
  const { run, summary } = (await recorder.end('r1'))!;
  expect(run.samples.map(({ demandCores, speed }) => [demandCores, speed])).toEqual([
    [3, 0.5],
    [3, 0.5],
  ]);
  expect(run.mediaSeconds).toBe(5);
  expect(summary.meanCores).toBe(3);
});

test('the delay before the first output is not taken for a slow beginning', async () => {
  const { recorder, seconds } = channel();
  seconds(2, { cores: 1, speed: 0 }); // the look-ahead fills
  seconds(8, { cores: 1, speed: 1 });
  const { run } = (await recorder.end('r1'))!;
  expect(run.samples.map(({ demandCores }) => demandCores)).toEqual([1, 1]);
});

test('what loading FFmpeg takes counts in the totals and not in the first step', async () => {
  const { recorder, second, seconds } = channel();
  second({ cores: 1.5 });
  seconds(9, { cores: 0.2, speed: 1 });
  const { run } = (await recorder.end('r1'))!;
  expect(run.samples.map(({ demandCores }) => demandCores)).toEqual([0.2, 0.2]);
  expect(run.cpuSeconds).toBe(3.3);
});

test('without progress demand is per wall second and speed counts as 1', async () => {
  const { recorder, seconds } = channel();
  seconds(5, { cores: 0.4 });
  const { run, summary } = (await recorder.end('r1'))!;
  expect(run.samples[0]).toMatchObject({ demandCores: 0.4, speed: 1 });
  expect(run.mediaSeconds).toBe(0);
  expect(summary.meanCores).toBeCloseTo(0.4, 10);
});

test('where ingress is not measured the input’s own bit rate stands in, at the speed it was read', async () => {
  const { recorder, seconds } = channel();
  seconds(5, { cores: 0.4, speed: 2 });
  const { run } = (await recorder.end('r1'))!;
  expect(run.samples[0]!.ingressBps).toBe(2 * signature.input.bitrateBps);
});

test('usage speaks of the last five seconds and of the horizon that is present', () => {
  const { recorder, seconds, clock } = channel();
  expect(recorder.usage('nobody')).toBeUndefined();
  expect(recorder.usage('r1')).toEqual({ usageCores: 0, forecastQ90Cores: forecast.horizons[0]!.demand.q90 });
  seconds(7, { cores: 0.5, speed: 1 });
  seconds(5, { cores: 1.5, speed: 0.9 });
  const usage = recorder.usage('r1')!;
  expect(usage.usageCores).toBeCloseTo(1.5, 10);
  expect(usage.speed).toBeCloseTo(0.9, 6);
  expect(usage.lagSeconds).toBe(0.25);
  const later: Forecast = {
    ...forecast,
    horizons: forecast.horizons.map((one, i) => ({ ...one, demand: { q50: 1, q90: 10 + i, q99: 20 } })),
  };
  recorder.reforecast('r1', later);
  expect(recorder.usage('r1')!.forecastQ90Cores).toBe(10);
  clock.monoMs += 15_000;
  expect(recorder.usage('r1')!.forecastQ90Cores).toBe(11);
  clock.monoMs += 3_600_000;
  expect(recorder.usage('r1')!.forecastQ90Cores).toBe(12);
});

test('the window for a new forecast holds the last twelve steps, cores per wall second', () => {
  const { recorder, seconds } = channel();
  seconds(70, { cores: 1, speed: 0.5 });
  const window = recorder.channelWindow('r1');
  expect(window).toHaveLength(12);
  expect(window[0]).toMatchObject({ cores: 1, speed: 0.5 });
});

test('each horizon is observed once, when it is over, with its mean demand; at the end those half seen', async () => {
  const { recorder, seconds, observed } = channel();
  seconds(5, { cores: 0.5, speed: 1 });
  seconds(4, { cores: 1.5, speed: 1 });
  expect(observed).toEqual([]);
  seconds(1, { cores: 1.5, speed: 1 });
  const source = 'news';
  expect(observed).toEqual([{ id: 'r1', source, signature, forecast, horizon: 0, demandCores: 1 }]);
  seconds(30, { cores: 2, speed: 1 });
  await recorder.end('r1');
  expect(observed.map(({ horizon, demandCores }) => [horizon, demandCores])).toEqual([
    [0, 1],
    [1, 2],
  ]);
});

test('the summary sets each horizon beside its forecast', async () => {
  const { recorder, seconds } = channel();
  seconds(10, { cores: 0.5, speed: 1 });
  seconds(10, { cores: 0.9, speed: 1 });
  seconds(10, { cores: 1.5, speed: 1 });
  const { summary } = (await recorder.end('r1'))!;
  expect(
    summary.horizons.map(({ fromS, meanCores, maxCores, coveredQ90 }) => [
      fromS,
      meanCores,
      maxCores,
      coveredQ90,
    ]),
  ).toEqual([
    [0, 0.5, 0.5, 1],
    [10, 1.2, 1.5, 0.5],
  ]);
  expect(summary.horizons[0]!.forecastCores).toEqual(forecast.horizons[0]!.demand);
  expect(summary.cpuSeconds).toBe(29);
});

test('after another rung or number of CPUs a run takes no more samples, and its totals are those of before', async () => {
  const { recorder, seconds, observed } = channel();
  seconds(10, { cores: 1, speed: 1 });
  recorder.update({ ...reservation, rung: 1, process: { pid: 8, startTicks: 80 } });
  seconds(60, { cores: 0.25, speed: 1, pid: 8 });
  expect(recorder.usage('r1')!.usageCores).toBeCloseTo(0.25, 10);
  const { run, summary } = (await recorder.end('r1'))!;
  expect(run.samples).toHaveLength(2);
  expect(run).toMatchObject({ cpuSeconds: 10, wallSeconds: 10, mediaSeconds: 10, cpuCount: 2 });
  expect(summary.wallSeconds).toBe(70);
  expect(observed.map(({ horizon }) => horizon)).toEqual([0]);
});

test('a run that is too short, and a channel whose beginning was not seen, are summarised but not stored', async () => {
  const short = channel();
  short.seconds(1, { cores: 1, speed: 1 });
  const ended = (await short.recorder.end('r1'))!;
  expect(ended.summary).toMatchObject({ cpuSeconds: 1, wallSeconds: 1 });
  expect([ended.stored, short.stored.length]).toEqual([false, 0]);

  const adopted = channel({ ageS: 1000 });
  adopted.seconds(60, { cores: 1, speed: 1 });
  expect(adopted.recorder.usage('r1')!.usageCores).toBe(1);
  const { stored, summary } = (await adopted.recorder.end('r1'))!;
  expect([stored, adopted.stored.length, adopted.observed.length]).toEqual([false, 0, 0]);
  expect(summary).toMatchObject({ cpuSeconds: 60, wallSeconds: 1060 });
});

test('the time after the last tick is estimated, or taken from the exit where it is known', async () => {
  const estimated = channel();
  estimated.seconds(5, { cores: 0.8, speed: 1 });
  estimated.clock.monoMs += 500;
  expect((await estimated.recorder.end('r1'))!.run.cpuSeconds).toBeCloseTo(4.4, 10);
  const known = channel();
  known.seconds(5, { cores: 0.8, speed: 1 });
  known.clock.monoMs += 500;
  expect((await known.recorder.end('r1', 4.1))!.run.cpuSeconds).toBeCloseTo(4.1, 10);
});

test('a run keeps its first hour, and a channel that is over is forgotten', async () => {
  const { recorder, seconds } = channel();
  seconds(3_700, { cores: 0.5, speed: 1 });
  const { run } = (await recorder.end('r1'))!;
  expect(run.samples).toHaveLength(720);
  expect(run.samples.at(-1)!.atS).toBe(3600);
  expect(run.wallSeconds).toBe(3700);
  expect(await recorder.end('r1')).toBeUndefined();
  expect(recorder.usage('r1')).toBeUndefined();
  expect(recorder.readings()).toEqual([]);
});

test('when the history cannot take the run, the end says so', async () => {
  const { recorder, seconds } = channel({
    putRun: async () => {
      throw new Error('disk full');
    },
  });
  seconds(10, { cores: 1, speed: 1 });
  await expect(recorder.end('r1')).rejects.toThrow('disk full');
});

test('a tick is never split: steps end at the tick nearest to their boundary, also with an odd interval', async () => {
  const { recorder, second, clock } = channel();
  for (let i = 0; i < 14; i++) {
    clock.monoMs += 500; // ticks of 1.5 s, of which 1 s was measured
    second({ cores: 1, speed: 1 });
  }
  const { run } = (await recorder.end('r1'))!;
  expect(run.samples.map(({ atS }) => atS)).toEqual([5, 10, 15, 20]);
});

test('a live channel that shares CPUs is recorded with those that it was forecast for, however many it may use', async () => {
  const shared = { ...reservation, cpus: [0, 1, 2, 3].map((cpu) => ({ cpu, shareMilli: 100 })) };
  const { recorder, seconds } = channel({ held: shared });
  seconds(10, { cores: 1, speed: 1 });
  recorder.update({ ...shared, cpus: [2, 3, 4].map((cpu) => ({ cpu, shareMilli: 130 })) });
  seconds(10, { cores: 1, speed: 1 });
  const { run } = (await recorder.end('r1'))!;
  expect(run.cpuCount).toBe(2);
  expect(run.samples.map(({ coreUsage }) => coreUsage.length)).toEqual([2, 2, 2, 2]);
});
