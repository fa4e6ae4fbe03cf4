import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { effectsOf } from '../../src/forecast/effects.js';
import { hostEffects } from '../../src/forecast/host-effects.js';
import type { Signature } from '../../src/forecast/signature.js';
import { createSpeedFactorTrack, type SpeedFactorTrack } from '../../src/forecast/speed-factor.js';
import { anySignature, output, signatureOf } from '../support/forecast-signatures.js';
import { seededNormal, seededRandom } from '../support/seeded-random.js';

const PRESETS = ['ultrafast', 'veryfast', 'fast', 'medium', 'slow', 'veryslow'];
const SIZES = [
  [640, 360],
  [1280, 720],
  [1920, 1080],
] as const;

function channels(count: number, seed: number): Signature[] {
  const random = seededRandom(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  return Array.from({ length: count }, () => {
    const [width, height] = pick(SIZES);
    return signatureOf([output({ preset: pick(PRESETS), width, height, rate: { crf: 23 } })]);
  });
}

/** A host that takes 1.3 times as long, and by up to 40 % more the more subpixel refinement a preset does. */
function slowAtSubpel(signature: Signature): number {
  const subme = Number(effectsOf(signature.outputs[0]!).settings['subme']);
  return 1.3 * Math.exp(0.35 * (subme / 11 - 0.5));
}

function calibrated(
  runs: number,
  ratio: (signature: Signature) => number,
  noise = 0,
  seed = 1,
): SpeedFactorTrack {
  const normal = seededNormal(seed + 77);
  const track = createSpeedFactorTrack(undefined);
  for (const signature of channels(runs, seed)) {
    track.add({ signature, costTable: ratio(signature) * Math.exp(noise * normal()) });
  }
  return track;
}

/** Mean absolute log error over channels that were not calibrated on. */
function miss(of: (signature: Signature) => number, truth: (signature: Signature) => number): number {
  const unseen = channels(200, 999);
  return unseen.reduce((sum, s) => sum + Math.abs(Math.log(of(s) / truth(s))), 0) / unseen.length;
}

describe('the speed factor', () => {
  it('is 1 until five runs were measured, then their median', () => {
    const track = createSpeedFactorTrack(undefined);
    const [signature] = channels(1, 1);
    for (const ratio of [1.4, 1.5, 1.6, 9]) track.add({ signature: signature!, costTable: ratio });
    expect(track.current()).toEqual({ costTable: 1, baseline: 1, runs: 0 });
    expect(track.factorFor('costTable', signature!)).toBe(1);
    track.add({ signature: signature!, costTable: 1.5 });
    expect(track.current().costTable).toBeCloseTo(1.5, 9);
    expect(track.current().runs).toBe(5);
  });

  it('remains one factor where all kinds of channels take equally longer', () => {
    const track = calibrated(50, () => 1.7);
    for (const signature of channels(20, 3))
      expect(track.factorFor('costTable', signature)).toBeCloseTo(1.7, 9);
  });

  it('learns what a host is slow at: a planted effect is found through noise', () => {
    const track = calibrated(300, slowAtSubpel, 0.1);
    const own = miss((s) => track.factorFor('costTable', s), slowAtSubpel);
    const oneFactor = miss(() => track.current().costTable, slowAtSubpel);
    expect(oneFactor).toBeGreaterThan(0.08);
    expect(own).toBeLessThan(0.03);
  });

  it('says nearly the one factor while runs are few', () => {
    const spread = (track: SpeedFactorTrack) => {
      const factors = channels(100, 4).map((signature) => Math.log(track.factorFor('costTable', signature)));
      return Math.max(...factors) - Math.min(...factors);
    };
    const spreads = [5, 30, 300].map((runs) => spread(calibrated(runs, slowAtSubpel)));
    expect(spreads[0]).toBeLessThan(spreads[1]!);
    expect(spreads[1]).toBeLessThan(spreads[2]!);
    expect(spreads[0]).toBeLessThan(0.15);
  });

  it('costs at most 2 % where a host has no effects and the runs scatter as pictures make them', () => {
    for (const runs of [5, 20, 100]) {
      let [own, one] = [0, 0];
      for (let seed = 0; seed < 20; seed++) {
        const track = calibrated(runs, () => 1.3, 0.4, seed);
        own += miss(
          (s) => track.factorFor('costTable', s),
          () => 1.3,
        );
        one += miss(
          () => track.current().costTable,
          () => 1.3,
        );
      }
      expect((own - one) / 20).toBeLessThan(0.02);
    }
  });

  it('never moves a factor by more than half, whatever was measured', () => {
    const measurement = fc.record({
      signature: anySignature,
      costTable: fc.double({ min: 0.01, max: 100, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(measurement, { minLength: 5, maxLength: 20 }),
        anySignature,
        (measured, signature) => {
          const track = createSpeedFactorTrack(undefined);
          for (const one of measured) track.add(one);
          const moved = track.factorFor('costTable', signature) / track.current().costTable;
          expect(moved).toBeGreaterThan(1 / 1.5 - 1e-9);
          expect(moved).toBeLessThan(1.5 + 1e-9);
        },
      ),
    );
  });

  it('leaves out ratios that are none', () => {
    const track = calibrated(5, () => 1.5);
    for (const bad of [Number.NaN, 0, -1, Number.POSITIVE_INFINITY]) {
      track.add({ signature: signatureOf(), costTable: bad, baseline: { id: 'b', ratio: bad } });
    }
    expect(track.current()).toEqual({
      costTable: expect.closeTo(1.5, 9),
      baseline: expect.closeTo(1.5, 9),
      runs: 5,
    });
  });

  it('forgets what another baseline expected, and takes the table for it until the new one was compared', () => {
    const track = createSpeedFactorTrack(undefined);
    const add = (id: string, ratio: number, count: number) => {
      for (let i = 0; i < count; i++) {
        track.add({ signature: signatureOf(), costTable: 2, baseline: { id, ratio } });
      }
    };
    add('one', 1.2, 6);
    expect(track.current().baseline).toBeCloseTo(1.2, 9);
    add('two', 3, 4);
    expect(track.current().baseline).toBeCloseTo(2, 9);
    add('two', 3, 1);
    expect(track.current().baseline).toBeCloseTo(3, 9);
    expect(track.factorFor('baseline', signatureOf())).toBeCloseTo(3, 9);
  });
});

describe('what is kept of it', () => {
  const overJson = (track: SpeedFactorTrack) =>
    createSpeedFactorTrack(JSON.parse(JSON.stringify(track.state())));

  it('gives the same factors after a restart', () => {
    const track = calibrated(80, slowAtSubpel, 0.1);
    const again = overJson(track);
    expect(again.current()).toEqual(track.current());
    for (const signature of channels(20, 5)) {
      expect(again.factorFor('costTable', signature)).toBe(track.factorFor('costTable', signature));
    }
  });

  it('grows no further than 400 runs', () => {
    const track = overJson(calibrated(450, () => 1.2));
    expect(track.current().runs).toBe(400);
  });

  it('is read in the format before, which knew one factor', () => {
    const saved = {
      format: 1,
      baselineId: 'b',
      costTable: [1.4, 1.5, 1.5, 1.6, 9],
      baseline: [2, 2, 2, 2, 2],
    };
    const track = createSpeedFactorTrack(saved);
    expect(track.current()).toEqual({
      costTable: expect.closeTo(1.5, 9),
      baseline: expect.closeTo(2, 9),
      runs: 5,
    });
    const factors = channels(20, 6).map((signature) => track.factorFor('costTable', signature));
    for (const factor of factors) expect(factor).toBeCloseTo(factors[0]!, 9);
  });

  it('keeps the ratios and drops the effects when effects have come to mean something else', () => {
    const state = calibrated(100, slowAtSubpel).state() as Record<string, unknown>;
    const track = createSpeedFactorTrack({ ...state, effectsId: 'others' });
    expect(track.current().costTable).toBeCloseTo(calibrated(100, slowAtSubpel).current().costTable, 9);
    const [a, b] = [output({ preset: 'ultrafast' }), output({ preset: 'veryslow' })].map((o) =>
      track.factorFor('costTable', signatureOf([o])),
    );
    expect(a).toBeCloseTo(b!, 9);
  });

  it.each([
    [undefined],
    [null],
    [[1, 2]],
    [{ format: 3 }],
    [{ format: 2, baselineId: '', effectsId: '', runs: [{}] }],
  ])('begins anew from %j', (saved) => {
    expect(createSpeedFactorTrack(saved).current().runs).toBe(0);
  });
});

describe('the effects that act on a channel', () => {
  it('are finite for any signature', () => {
    fc.assert(
      fc.property(anySignature, (signature) => {
        for (const effect of hostEffects(signature)) expect(Number.isFinite(effect)).toBe(true);
      }),
    );
  });

  it('of x264 options say nothing of encoders that have none', () => {
    const options = (encoder: string) =>
      hostEffects(signatureOf([output({ encoder, preset: '' })])).slice(0, 6);
    expect(options('mpeg4')).toEqual([0, 0, 0, 0, 0, 0].map((zero) => expect.closeTo(zero, 9)));
    expect(options('libx264').some((effect) => Math.abs(effect) > 1e-3)).toBe(true);
  });
});
