import { describe, expect, it } from 'vitest';
import { createCalibration } from '../../src/forecast/calibration.js';
import {
  CLEAR_AFTER,
  FALL_BACK_AT,
  type FamilyAlarm,
  HOLD_MS,
  levelAt,
  MOST_HOLD_MS,
  newAlarm,
  RAISE_AT,
  watch,
  widen,
} from '../../src/forecast/calibration-drift.js';
import { normals, Replay, X264_HEAVY, X264_LIGHT, X265_HEAVY } from '../support/calibration-streams.js';
import { seededRandom } from '../support/seeded-random.js';

const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);
const QUANTILES = { q50: 1, q90: 2, q99: 3 };

/** One outcome in each bin. */
const [LOW, MIDDLE, HIGH, EXTREME] = [0.5, 1.5, 2.5, 3.5];

function see(alarm: FamilyAlarm, demand: number, nowMs = 0, weight = 1) {
  const quantiles = { reference: QUANTILES, widened: QUANTILES };
  return watch(alarm, { horizon: 0, span: '0-10 s', weight, demand, ...quantiles }, nowMs);
}

/** Past the first outcomes, which only teach. */
function settledAlarm(): FamilyAlarm {
  const alarm = newAlarm(1);
  for (let i = 0; i < 6; i++) see(alarm, LOW);
  return alarm;
}

function fellBack(alarm: FamilyAlarm, nowMs = 0): void {
  for (let i = 0; i < 60 && alarm.level < 2; i++) see(alarm, EXTREME, nowMs);
  expect(alarm.level).toBe(2);
}

describe('the drift alarm', () => {
  it('widens first and falls back only when that does not help', () => {
    const alarm = settledAlarm();
    const levels = Array.from({ length: 20 }, () => see(alarm, EXTREME)).filter(Boolean);
    expect(levels).toEqual([1, 2]);
    expect(alarm.reason).toMatch(/above the 0.9 quantile, calibrated and widened: left out for 30 minutes/);
  });

  it('takes q90 and q99 a quarter farther from q50, and leaves the rest', () => {
    const { q50, q90, q99 } = widen({ q50: 1, q90: 2, q99: 4 }, 1);
    expect([q50, q90, q99].map(Math.log2)).toEqual([0, 1.25, 2.5]);
    expect(widen(QUANTILES, 0)).toEqual(QUANTILES);
  });

  it('is silent after some outcomes without evidence, but not after fewer', () => {
    const alarm = settledAlarm();
    while (alarm.level === 0) see(alarm, HIGH);
    const calm = () => see(alarm, [LOW, MIDDLE][Math.round(alarm.quiet) % 2]!);
    for (let i = 0; i < CLEAR_AFTER - 1; i++) calm();
    expect(alarm.level).toBe(1);
    calm();
    expect(alarm).toMatchObject({ level: 0, reason: '' });
  });

  it('tries a model again after half an hour, and leaves it out twice as long when it fails again', () => {
    const alarm = settledAlarm();
    fellBack(alarm);
    expect([levelAt(alarm, HOLD_MS - 1), levelAt(alarm, HOLD_MS)]).toEqual([2, 1]);
    let nowMs = HOLD_MS;
    see(alarm, LOW, nowMs);
    expect(alarm).toMatchObject({ level: 1, reason: expect.stringContaining('on trial again') });
    fellBack(alarm, nowMs);
    expect(alarm.untilMs - nowMs).toBe(2 * HOLD_MS);
    for (let i = 0; i < 10; i++) {
      nowMs = alarm.untilMs;
      see(alarm, LOW, nowMs);
      fellBack(alarm, nowMs);
    }
    expect(alarm.untilMs - nowMs).toBe(MOST_HOLD_MS);
  });

  it('is not held by a clock that was set back', () => {
    const alarm = settledAlarm();
    fellBack(alarm, 1e12);
    expect(levelAt(alarm, 1e12 + 1)).toBe(2);
    expect(levelAt(alarm, 5e11)).toBe(1);
  });

  it('takes outcomes that come during a fallback for what was forecast before it', () => {
    const alarm = settledAlarm();
    fellBack(alarm);
    const { untilMs, reason } = alarm;
    for (let i = 0; i < 50; i++) see(alarm, EXTREME, 1);
    expect(alarm).toMatchObject({ untilMs, reason, level: 2 });
  });
});

describe('false alarms', () => {
  it.each([
    ['as likely as the null allows', [0.45, 0.43, 0.105, 0.015]],
    ['as they are without drift', [0.5, 0.4, 0.09, 0.01]],
  ] as const)('are fewer than one in RAISE_AT outcomes when bins are %s', (_, shares) => {
    let [raised, fallen] = [0, 0];
    const outcomes = 20_000;
    for (const seed of SEEDS) {
      const random = seededRandom(seed);
      const alarm = settledAlarm();
      for (let i = 0; i < outcomes; i++) {
        const u = random();
        const bin =
          u < shares[0] ? LOW : u < shares[0] + shares[1] ? MIDDLE : u < 1 - shares[3] ? HIGH : EXTREME;
        const level = see(alarm, bin, i * 60_000);
        if (level === 1) raised++;
        if (level === 2) fallen++;
      }
    }
    const all = outcomes * SEEDS.length;
    expect(raised).toBeLessThan(all / RAISE_AT);
    expect(fallen).toBeLessThan(all / FALL_BACK_AT);
    // The thresholds are not so high that nothing would ever be seen.
    expect(raised).toBeGreaterThan(all / RAISE_AT / 1_000);
  });

  it('are at most 5 in 10,000 outcomes of a calibrated model that does not drift, and no fallback', () => {
    let raised = { 1: 0, 2: 0 };
    for (const seed of SEEDS) {
      const replay = new Replay();
      const normal = normals(seed);
      for (let i = 0; i < 1_000; i++) replay.tell(Math.exp(0.2 * normal()));
      raised = { 1: raised[1] + replay.calibration.raised[1], 2: raised[2] + replay.calibration.raised[2] };
    }
    expect(raised[1]).toBeLessThanOrEqual((5 * SEEDS.length * 1_000) / 10_000);
    expect(raised[2]).toBe(0);
  });
});

describe('a drift', () => {
  /** Outcomes from the drift to the alarm, undefined for never within 100. */
  function delay(seed: number, shift: number): number | undefined {
    const replay = new Replay();
    const normal = normals(seed);
    for (let i = 0; i < 200; i++) replay.tell(Math.exp(0.2 * normal()));
    const before = replay.calibration.raised[1];
    for (let i = 1; i <= 100; i++) {
      replay.tell(shift * Math.exp(0.2 * normal()));
      if (replay.calibration.raised[1] > before) return i;
    }
    return undefined;
  }

  it.each([
    [1.5, 0.9, 10],
    [2, 1, 6],
  ])('to %f times as much is seen in most streams, within some outcomes', (shift, seen, within) => {
    const delays = SEEDS.map((seed) => delay(seed, shift)).filter((one) => one !== undefined);
    expect(delays.length / SEEDS.length).toBeGreaterThanOrEqual(seen);
    const median = delays.sort((a, b) => a - b)[Math.floor(delays.length / 2)]!;
    expect(median).toBeLessThanOrEqual(within);
  });

  it('is an alarm of its family alone, told with its reason, and kept over a restart', () => {
    const replay = new Replay();
    for (let i = 0; i < 40; i++) {
      const usual = 1 + (i % 5) / 20;
      replay.tell(usual, { signature: X264_LIGHT });
      replay.tell(usual, { signature: X265_HEAVY });
    }
    for (let i = 0; i < 12 && replay.calibration.alarms().length === 0; i++)
      replay.tell(3, { signature: X264_HEAVY });
    const [alarm, ...others] = replay.calibration.alarms();
    expect(others).toEqual([]);
    expect(alarm).toMatchObject({ source: 'lstm', modelId: 'm', family: 'x264', level: 1 });
    const notes = replay.forecast({ signature: X264_LIGHT }).notes.join('\n');
    expect(notes).toContain(`calibration: drift alarm: q90 and q99 widened: ${alarm!.reason}`);
    expect(replay.forecast({ signature: X265_HEAVY }).notes.join('\n')).not.toContain('drift');
    const saved = JSON.parse(JSON.stringify(replay.calibration.state()));
    const restarted = createCalibration({ saved, nowMs: () => replay.nowMs });
    expect(restarted.alarms()).toEqual([alarm]);
  });

  it('beyond what can be corrected leaves the model out, with the reason', () => {
    const replay = new Replay();
    for (let i = 0; i < 30; i++) replay.tell(1 + (i % 5) / 20);
    for (let i = 0; i < 40 && replay.calibration.raised[2] === 0; i++) replay.tell(50);
    expect(replay.calibration.raised).toEqual({ 1: 1, 2: 1 });
    expect(replay.calibration.drifting('lstm', 'm', X264_LIGHT)).toMatch(/left out for 30 minutes/);
    expect(replay.calibration.drifting('lstm', 'm', X265_HEAVY)).toBeUndefined();
    expect(replay.calibration.drifting('lstm', 'another', X264_LIGHT)).toBeUndefined();
    replay.nowMs += HOLD_MS;
    expect(replay.calibration.drifting('lstm', 'm', X264_LIGHT)).toBeUndefined();
  });
});
