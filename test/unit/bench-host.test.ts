import { describe, expect, it } from 'vitest';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { seededRandom } from '../../src/feedback/random.js';
import { checkOutput } from '../../src/forecast/signature-check.js';

const { Lateness, PacketReader, FIRST_OUTPUT_S } = await import('../../bench/host/lateness.mjs' as string);
const { burstOf, compare, forecastsOf, outcomeOf } = await import('../../bench/host/score.mjs' as string);

describe('lateness of a channel', () => {
  const LATE_S = 1;
  const channel = () => new Lateness(0, LATE_S);

  it('is none for output that keeps the clock, however much the encoder holds back', () => {
    const one = channel();
    for (let i = 0; i < 100; i++) one.packet(i / 25, 2 + i / 25);
    expect(one.behindS(2 + 99 / 25)).toBeCloseTo(0);
    expect(one.wasLate(2 + 99 / 25)).toBe(false);
  });

  it('is none between groups of pictures that come at once', () => {
    const one = channel();
    for (let group = 0; group < 5; group++) {
      for (let i = 0; i < 16; i++) one.packet((group * 16 + i) / 25, 1 + ((group + 1) * 16) / 25);
    }
    expect(one.wasLate(1 + (5 * 16) / 25 + 0.6)).toBe(false);
  });

  it('is seen when it was made up before anybody looked', () => {
    const one = channel();
    one.packet(0, 1);
    one.packet(0.04, 2.5);
    for (let i = 2; i < 40; i++) one.packet(i / 25, 2.6);
    expect(one.behindS(2.6)).toBeLessThan(LATE_S);
    expect(one.wasLate(2.6)).toBe(true);
    expect(one.wasLate(2.6)).toBe(false);
  });

  it('is counted from its best time, so that one that began behind has no slack from it', () => {
    const one = channel();
    one.packet(0, 4);
    one.packet(3, 4.1);
    expect(one.wasLate(5)).toBe(false);
    one.packet(3.1, 5.5);
    expect(one.wasLate(5.5)).toBe(true);
  });

  it('is that of one that shows nothing', () => {
    const one = channel();
    expect(one.wasLate(FIRST_OUTPUT_S - 0.1)).toBe(false);
    expect(one.wasLate(FIRST_OUTPUT_S + 0.1)).toBe(true);
  });
});

it('packets are read in pieces of any length', () => {
  const text =
    '#software: Lavf\n#tb 0: 1/50\n#dimensions 0: 64x64\n0, 0, 2, 1, 900, 0x1\n0, 3, 1, 1, 30, 0x2\n';
  for (const length of [1, 7, 200]) {
    const times: number[] = [];
    const reader = new PacketReader((mediaS: number) => times.push(mediaS));
    for (let i = 0; i < text.length; i += length) reader.feed(text.slice(i, i + length));
    expect(times).toEqual([0, 0.06]);
  }
});

describe('figures of the host benchmark', () => {
  const mark = (channels: number, late = 0) => ({ channels, late, busy: 0.5, cpuS: 0 });
  const run = (policy: string, setting: number | undefined, counts: readonly number[], late: number) => {
    const marks = counts.map((count, i) => mark(count, i === counts.length - 1 ? late : 0));
    const seconds = counts.length;
    return outcomeOf({ policy, setting, marks, endings: [], refusedByRule: 3, seconds, fillS: 20, cpus: 2 });
  };
  const ramp = [...Array.from({ length: 20 }, (_, i) => i), ...Array.from({ length: 100 }, () => 20)];

  it('counts the mean of the full host as carried on time, and nothing where the limit is missed', () => {
    expect(run('count_cap', 20, ramp, 2)).toMatchObject({
      channels_on_time: 20,
      late_seconds: 2,
      refused: 3,
    });
    expect(run('count_cap', 20, ramp, 5)).toMatchObject({ channels_on_time: 0, channels: 20 });
  });

  it('takes the most at once from the time before it was late', () => {
    const marks = ramp.map((count, i) => mark(count, i >= 15 ? 1 : 0));
    const outcome = outcomeOf({
      policy: 'no_admission',
      marks,
      endings: ['failed', 'refused', 'done'],
      refusedByRule: 0,
      seconds: 120,
      fillS: 20,
      cpus: 2,
    });
    expect(outcome).toMatchObject({ most_at_once: 11.5, arrivals: 3, refused: 1, failed: 1 });
  });

  it('holds corecast to the best setting of the best peer', () => {
    const outcomes = [
      run('count_cap', 20, ramp, 30),
      run(
        'count_cap',
        10,
        ramp.map((n) => n / 2),
        0,
      ),
      run('mean_cpu', 0.8, ramp, 30),
      run(
        'corecast',
        undefined,
        ramp.map((n) => 0.6 * n),
        0,
      ),
    ];
    const { figures, peers } = compare(outcomes);
    expect(figures).toMatchObject({ ratio_to_best_peer: 1.2, channels_on_time: 12 });
    expect(peers).toMatchObject({ count_cap_setting: 10, mean_cpu_channels_on_time: 0 });
  });

  it('counts what comes after the measured seconds as the burst', () => {
    const marks = [...ramp.map((n) => mark(n)), mark(20, 1), mark(20, 0)];
    expect(burstOf(marks, ramp.length)).toEqual({
      burst_channels: 20,
      burst_late_seconds: 1,
      burst_late_share: 1 / 40,
    });
  });

  it('compares forecasts with what was used after the first step', () => {
    const horizon = { demand: { q50: 0.11, q90: 0.2, q99: 0.3 } };
    const results = [
      {
        run: {
          samples: [
            { atS: 5, demandCores: 3 },
            { atS: 10, demandCores: 0.1 },
          ],
          forecast: { source: 'lstm', horizons: [horizon, horizon] },
        },
      },
      { run: undefined },
    ];
    const { forecasts, forecast_median_error_percent: error, ...rest } = forecastsOf(results);
    expect(forecasts).toBe(1);
    expect(error).toBeCloseTo(10);
    expect(rest).toMatchObject({ forecast_q90_coverage: 1, by_lstm: 1 });
    expect(rest.forecast_q90_over_used).toBeCloseTo(2);
  });
});

describe('channels of the host benchmark', async () => {
  const { drawOutput } = await import('../../bench/host/kinds.mjs' as string);

  it('are ones that the daemon takes, the same for the same seed', () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 200 }, () => drawOutput(random));
    };
    expect(draw(3)).toEqual(draw(3));
    for (const { output } of draw(1)) {
      const words = ['ffmpeg', '-i', 'a.mkv', ...output, '-f', 'framecrc', 'pipe:1'];
      const [planned] = plannedOutputs(parseFfmpegCommand(words), [
        { width: 854, height: 480, fps: 25, bitDepth: 8 },
      ]);
      expect(checkOutput(planned!.video, 'output')).toEqual([]);
    }
  });
});
