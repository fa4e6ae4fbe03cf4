import { describe, expect, it } from 'vitest';
import { signatureClass } from '../../src/forecast/calibration-class.js';
import { MOST_STREAMS } from '../../src/forecast/calibration-state.js';
import {
  modelForecast,
  normals,
  Replay,
  type Told,
  X264_HEAVY,
  X264_LIGHT,
  X265_HEAVY,
} from '../support/calibration-streams.js';
import { output, signatureOf } from '../support/forecast-signatures.js';

const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);
/** 30 % too low, and half as wide as outcomes lie. */
const NARROW: Told = { median: 0.7, spread: 0.1 };

/** Outcomes with a median of `scale` and a log standard deviation of 0.2. */
function told(seed: number, outcomes: number, how: Told, scale = 1, replay = new Replay()): Replay {
  const normal = normals(seed);
  for (let i = 0; i < outcomes; i++) replay.tell(scale * Math.exp(0.2 * normal()), how);
  return replay;
}

const meanOver = (of: (seed: number) => number) => SEEDS.map(of).reduce((a, b) => a + b, 0) / SEEDS.length;

describe('a class that begins', () => {
  it.each([
    ['30 % too low and half as wide', NARROW],
    ['30 % too low and twice as wide', { median: 0.7, spread: 0.4 }],
    ['30 % too high and half as wide', { median: 1 / 0.7, spread: 0.1 }],
    ['right', { median: 1, spread: 0.2 }],
  ])('covers 0.85 to 0.95 over its first 50 outcomes of a model that is %s', (_, how) => {
    const first = meanOver((seed) => told(seed, 50, how).coverage());
    expect(first).toBeGreaterThan(0.85);
    expect(first).toBeLessThan(0.95);
  });

  it('stands at 90 % within a point later', () => {
    expect(meanOver((seed) => told(seed, 600, NARROW).coverage(50))).toBeCloseTo(0.9, 1.7);
  });

  it('changes nothing before the first outcome, whatever other models were told', () => {
    const replay = told(1, 50, NARROW);
    const forecast = modelForecast(1, 0.2);
    for (const other of [{ ...forecast, modelId: 'another' }, modelForecast(1, 0.2, 'cost_table')])
      expect(replay.calibration.correct([other], X264_LIGHT)[0]!.horizons).toEqual(other.horizons);
  });

  it('takes what the host has shown in other classes, more of it in the same family', () => {
    const q50 = (replay: Replay, signature: typeof X264_LIGHT) =>
      replay.forecast({ signature, median: 1 }).horizons[0]!.demand.q50;
    const replay = told(1, 40, { median: 1, signature: X264_LIGHT }, 1.5);
    expect(q50(replay, X264_LIGHT)).toBeCloseTo(1.5, 1);
    expect(q50(replay, X264_HEAVY)).toBeGreaterThan(1.4);
    told(2, 40, { median: 1, signature: X265_HEAVY }, 1, replay);
    expect(q50(replay, X264_HEAVY)).toBeGreaterThan(q50(replay, X265_HEAVY) + 0.15);
  });

  it('covers its first ten channels when its family is known, at a wrong scale of the host', () => {
    const first = meanOver((seed) => {
      const replay = told(seed, 60, { ...NARROW, signature: X264_LIGHT });
      return told(seed + 500, 10, { ...NARROW, signature: X264_HEAVY }, 1, replay).coverage(60);
    });
    expect(first).toBeGreaterThan(0.87);
  });

  it('takes for a later horizon what an earlier one has shown', () => {
    const replay = told(1, 40, { median: 1, horizon: 0 }, 1.5);
    const [, second, third] = replay.forecast({ median: 1 }).horizons;
    expect(second!.demand.q50).toBeGreaterThan(1.35);
    expect(third!.demand.q50).toBeCloseTo(second!.demand.q50, 6);
    expect(second!.demand.q90 / second!.demand.q50).toBeGreaterThan(Math.exp(1.2816 * 0.2));
  });
});

describe('after a shift', () => {
  it.each([1.2, 1.4, 2])('to %f times as much it covers 0.85 again within 30 outcomes', (shift) => {
    const after = SEEDS.map((seed) => {
      const replay = told(seed, 200, { median: 1 });
      return told(seed + 500, 45, { median: 1 }, shift, replay).covered.slice(200);
    });
    const byOutcome = after[0]!.map((_, i) => after.filter((one) => one[i]).length / after.length);
    const late = byOutcome.slice(30);
    expect(late.reduce((a, b) => a + b, 0) / late.length).toBeGreaterThan(0.85);
    // And it was needed: the first outcome after the shift.
    expect(byOutcome[0]).toBeLessThan(0.75);
  });

  it('gives back what it took once the shift is over', () => {
    const replay = told(1, 100, { median: 1 });
    told(2, 60, { median: 1 }, 1.5, replay);
    told(3, 100, { median: 1 }, 1, replay);
    const { q90 } = replay.forecast({ median: 1 }).horizons[0]!.demand;
    expect(q90 / Math.exp(1.2816 * 0.2)).toBeLessThan(1.2);
  });
});

describe('a channel that speaks often', () => {
  const LOUD: Told = { median: 1, channel: 'camera-1' };

  it('does not drown its class: 300 outcomes of one at 1.6 times, 20 others at 1', () => {
    const covered = meanOver((seed) => {
      const replay = new Replay();
      const normal = normals(seed);
      for (let i = 0; i < 300; i++) {
        replay.tell(1.6 * Math.exp(0.02 * normal()), LOUD);
        if (i % 15 === 0) replay.tell(Math.exp(0.2 * normal()), { median: 1 });
      }
      return replay.forecast({ median: 1 }).horizons[0]!.demand.q50;
    });
    // Half way would be 1.26; by count it would be 1.55.
    expect(covered).toBeLessThan(1.36);
  });

  it('counts 1, 1/2, 1/3 …, and as 1 again when sixteen others were between', () => {
    const clock = (replay: Replay) => replay.calibration.state().streams['lstm:m']!.tracks[0]!.clock;
    const replay = new Replay();
    for (let i = 0; i < 3; i++) replay.tell(1, LOUD);
    expect(clock(replay)).toBeCloseTo(1 + 1 / 2 + 1 / 3, 4);
    for (let i = 0; i < 16; i++) replay.tell(1);
    const before = clock(replay);
    replay.tell(1, LOUD);
    expect(clock(replay) - before).toBeCloseTo(1, 4);
  });

  it('learns one lesson of twenty channels that began together, not twenty', () => {
    const replay = told(1, 40, { median: 1 });
    const together = Array.from({ length: 20 }, () => replay.forecast({ median: 1 }));
    for (const [i, forecast] of together.entries()) {
      const outcome = { forecast, signature: X264_LIGHT, horizon: 0, channel: `late-${i}` };
      replay.calibration.observe({ ...outcome, demand: 1.5 });
    }
    const { q50, q90 } = replay.forecast({ median: 1 }).horizons[0]!.demand;
    expect(q50).toBeLessThan(1.55);
    expect(q90).toBeLessThan(2.3);
  });
});

describe('what is counted', () => {
  it('is each outcome against what was handed out, by class, horizon and quantile, and the newest fifty', () => {
    const replay = new Replay();
    for (let i = 0; i < 60; i++) replay.tell(i < 20 ? 1e-3 : 1, { median: 1 });
    const rows = replay.calibration.coverage().filter(({ horizon }) => horizon === 0);
    expect(rows.map(({ quantile, observed }) => [quantile, observed])).toEqual([
      [0.5, 60],
      [0.9, 60],
      [0.99, 60],
    ]);
    const q90 = rows[1]!;
    expect(q90).toMatchObject({ source: 'lstm', modelId: 'm', running: false, class: 'x264/light' });
    expect(q90.recentObserved).toBe(50);
    expect(q90.covered).toBe(replay.covered.filter(Boolean).length);
    expect(q90.recentCovered).toBe(replay.covered.slice(-50).filter(Boolean).length);
    expect(q90.factor).toBeGreaterThan(0.25);
  });

  it('is nothing of a forecast that nobody acted on, nor of one that calibration has not seen', () => {
    const replay = new Replay();
    const outcome = { signature: X264_LIGHT, horizon: 0, demand: 2, channel: 'a' };
    replay.calibration.observe({ ...outcome, forecast: replay.forecast(), issued: false });
    expect(replay.calibration.coverage()).toEqual([]);
    expect(replay.forecast().horizons[0]!.demand.q90).toBeGreaterThan(1.4);
    const before = replay.forecast().horizons;
    replay.calibration.observe({ ...outcome, forecast: modelForecast(1, 0.2) });
    expect(replay.forecast().horizons).toEqual(before);
  });

  it('stays within bounds: the models used last, and their classes', () => {
    const replay = new Replay();
    for (let model = 0; model < MOST_STREAMS + 5; model++) {
      const made = { ...modelForecast(1, 0.2), modelId: `m${model}` };
      const forecast = replay.calibration.correct([made], X264_LIGHT)[0]!;
      replay.calibration.observe({ forecast, signature: X264_LIGHT, horizon: 0, demand: 1, channel: '' });
    }
    const models = replay.calibration.coverage().map(({ modelId }) => modelId);
    expect(new Set(models).size).toBe(MOST_STREAMS);
    expect(models).not.toContain('m4');
    expect(JSON.stringify(replay.calibration.state()).length).toBeLessThan(60_000);
  });
});

describe('the class of a signature', () => {
  it.each([
    ['x264/light', X264_LIGHT],
    ['x264/medium', signatureOf([output({ width: 640, height: 360 })])],
    ['x264/heavy', X264_HEAVY],
    ['x265/heavy', X265_HEAVY],
    ['copy/light', signatureOf([output({ encoder: 'copy', preset: '' })])],
  ])('is %s', (name, signature) => {
    expect(signatureClass(signature).name).toBe(name);
  });
});
