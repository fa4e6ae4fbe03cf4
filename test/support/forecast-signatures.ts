import fc from 'fast-check';
import { INPUT_CODECS } from '../../src/forecast/codecs.js';
import { ENCODER_NAMES, encoderSpec } from '../../src/forecast/encoders.js';
import type { Forecast, HostState } from '../../src/forecast/forecast.js';
import type { Complexity, Signature, VideoOutput } from '../../src/forecast/signature.js';
import type { Run } from '../../src/history/records.js';

export function output(change: Partial<VideoOutput> = {}): VideoOutput {
  return {
    encoder: 'libx264',
    preset: 'veryfast',
    width: 1280,
    height: 720,
    fps: 25,
    rate: { bitrateBps: 3_000_000 },
    bitDepth: 8,
    options: {},
    ...change,
  };
}

export function signatureOf(
  outputs: readonly VideoOutput[] = [output()],
  complexity: Complexity = {},
): Signature {
  return {
    input: { codec: 'h264', width: 1920, height: 1080, fps: 25, bitrateBps: 6_000_000, bitDepth: 8 },
    outputs,
    complexity,
  };
}

export const IDLE_HOST: HostState = {
  busy: 0.1,
  coreSpread: 0.05,
  busiestCore: 0.2,
  memoryUsed: 0.4,
  diskBusy: 0.01,
  ingressBps: 5e6,
  queueLength: 0,
  cpuPressure: 0.02,
  channels: 1,
  reserved: 0.2,
};

export function runOf(id: string, signature: Signature, demand: number, change: Partial<Run> = {}): Run {
  return {
    id,
    origin: 'live',
    startedMs: 1_760_000_000_000,
    signature,
    cpuCount: 2,
    schedulableCpus: 8,
    hostBefore: [],
    samples: [],
    cpuSeconds: demand * 60,
    wallSeconds: 60,
    mediaSeconds: 60,
    source: id,
    ...change,
  };
}

const side = fc.integer({ min: 16, max: 16_384 });
const fps = fc.oneof(fc.constantFrom(24, 25, 30, 50, 60), fc.double({ min: 0.01, max: 480, noNaN: true }));
const bitDepth = fc.constantFrom(8, 10, 12);
const bitrate = fc.integer({ min: 1_000, max: 4_000_000_000 });
const measured = (most: number) =>
  fc.option(fc.double({ min: 0, max: most, noNaN: true }), { nil: undefined });

/** Any output that validation lets through. */
export const anyOutput: fc.Arbitrary<VideoOutput> = fc.constantFrom(...ENCODER_NAMES).chain((encoder) => {
  const spec = encoderSpec(encoder)!;
  return fc.record({
    encoder: fc.constant(encoder),
    preset: fc.constantFrom('', ...spec.presets),
    width: side,
    height: side,
    fps,
    rate: fc.oneof(
      bitrate.map((bitrateBps) => ({ bitrateBps })),
      fc.double({ min: 0, max: spec.maxCrf, noNaN: true }).map((crf) => ({ crf })),
    ),
    bitDepth,
    options: anyOptions(encoder),
  });
});

function anyOptions(encoder: string): fc.Arbitrary<Record<string, string>> {
  const ranges = Object.entries(encoderSpec(encoder)!.options);
  const choices = ranges.map(([name, range]) => {
    const value =
      'words' in range
        ? fc.constantFrom(...range.words)
        : fc.integer({ min: range.from, max: range.to }).map(String);
    return fc.option(value, { nil: undefined }).map((picked) => [name, picked] as const);
  });
  return fc.tuple(...choices).map((pairs) => {
    const named = pairs.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
    return Object.fromEntries(named);
  });
}

/** Any signature that validation lets through. */
export const anySignature: fc.Arbitrary<Signature> = fc.record({
  input: fc.record({
    codec: fc.constantFrom(...INPUT_CODECS),
    width: side,
    height: side,
    fps,
    bitrateBps: fc.oneof(fc.constant(0), bitrate),
    bitDepth,
  }),
  outputs: fc.array(anyOutput, { minLength: 1, maxLength: 6 }),
  complexity: fc
    .record({
      bitsPerPixel: measured(200),
      packetSizeVariation: measured(1e4),
      keyframeRatio: measured(1e6),
      spatial: measured(1e4),
      temporal: measured(1e4),
      probeCpuSecondsPerFrame: measured(1e3),
    })
    .map((record) => Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined))),
});

/** What is wrong with a forecast's numbers; empty when nothing is. */
export function faultsOf(forecast: Forecast): string[] {
  const faults: string[] = [];
  for (const { fromS, demand, coreUsage, hostLoad } of forecast.horizons) {
    const all = [
      { name: 'demand', q: demand, most: Number.POSITIVE_INFINITY },
      { name: 'hostLoad', q: hostLoad, most: 1 },
      ...coreUsage.map((q, i) => ({ name: `coreUsage[${i}]`, q, most: 1 })),
    ];
    for (const { name, q, most } of all) {
      const values = [q.q50, q.q90, q.q99];
      const fine =
        values.every((x) => Number.isFinite(x) && x >= 0 && x <= most) && q.q50 <= q.q90 && q.q90 <= q.q99;
      if (!fine) faults.push(`${name} at ${fromS} s: ${values.join(', ')}`);
    }
    if (!(demand.q50 > 0)) faults.push(`demand at ${fromS} s is ${demand.q50}`);
    if (coreUsage.length !== forecast.cpuCount)
      faults.push(`${coreUsage.length} cores of ${forecast.cpuCount}`);
    for (let i = 1; i < coreUsage.length; i++) {
      if (coreUsage[i]!.q50 > coreUsage[i - 1]!.q50) faults.push(`core ${i} is busier than core ${i - 1}`);
    }
  }
  return faults;
}
