import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/feedback/outcome.js';
import { judgeShadow, judgeWatch, Tally, type TrialTerms } from '../../src/feedback/promotion-trial.js';
import { seededRandom } from '../support/seeded-random.js';

const TERMS: TrialTerms = { outcomes: 90, giveUpMs: 7 * 86_400_000 };
const HOUR_MS = 3_600_000;

interface World {
  readonly channels: number;
  /** The 0.9 quantiles as a share of the mean demand. */
  readonly served: number;
  readonly beside: number;
  readonly seed?: number;
  /** Only this horizon's quantile of the trial. */
  readonly besideAt?: Readonly<Record<number, number>>;
}

/** Demand is 1 core, more or less by 10 % (standard deviation), the same for all horizons of a channel up to 2 %. */
function outcomes({ channels, served, beside, seed = 1, besideAt = {} }: World): Outcome[] {
  const random = seededRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Array.from({ length: channels }, (_, i) => {
    const level = 1 + 0.1 * normal();
    return [0, 1, 2].map((horizon) => ({
      atMs: i,
      channel: `channel-${i}`,
      encoder: 'x264',
      horizon,
      demand: level + 0.02 * normal(),
      served: { model: 'now', q50: 1, q90: served },
      shadows: [
        { model: 'other', q50: 5, q90: 5 },
        { model: 'trial', q50: 1, q90: besideAt[horizon] ?? beside },
      ],
    }));
  }).flat();
}

function tallyOf(world: World): Tally {
  const tally = new Tally('trial');
  for (const outcome of outcomes(world)) tally.add(outcome);
  return tally;
}

/** The right 0.9 quantile of the world above. */
const RIGHT = 1.13;

describe('a candidate in shadow', () => {
  it('is promoted when it is better by more than luck, and the reason has the numbers', () => {
    const tally = tallyOf({ channels: 60, served: 1.5, beside: RIGHT });
    const { verdict, reason } = judgeShadow(tally, HOUR_MS, TERMS);
    expect(reason).toMatch(
      /^promoted: on 180 outcomes of 60 live channels it had pinball loss 0\.0\d+ and coverage \d+ % against 0\.0\d+ and \d+ %/,
    );
    expect(verdict).toBe('better');
    expect(tally.scores().map(({ method }) => method)).toEqual(['served', 'trial']);
  });

  it.each<[string, World, number, RegExp]>([
    [
      'while there are too few outcomes',
      { channels: 20, served: 1.5, beside: RIGHT },
      HOUR_MS,
      /^60 of 90 outcomes after 1\.0 hours$/,
    ],
    ['while it is as good', { channels: 60, served: RIGHT, beside: RIGHT }, HOUR_MS, /0\.0 standard errors$/],
    [
      'while it is better by less than the margin',
      { channels: 200, served: 1.2, beside: 1.199 },
      HOUR_MS,
      /standard errors$/,
    ],
    [
      'while it covers less, though its loss is less',
      { channels: 60, served: 1.5, beside: 1.04 },
      HOUR_MS,
      /it covers less$/,
    ],
    [
      'while it covers less in one horizon',
      { channels: 60, served: 1.5, beside: 1.25, besideAt: { 2: 1.08 } },
      HOUR_MS,
      /at 60-300 s it covers \d+ % against 100 %$/,
    ],
  ])('waits %s', (_, world, ageMs, reason) => {
    const verdict = judgeShadow(tallyOf(world), ageMs, TERMS);
    expect(verdict.reason).toMatch(reason);
    expect(verdict.verdict).toBe('wait');
  });

  it.each<[string, World, number, RegExp]>([
    [
      'at once when it is clearly worse',
      { channels: 60, served: RIGHT, beside: 1.5 },
      HOUR_MS,
      /-\d+\.\d standard errors; it is worse$/,
    ],
    [
      'when its time is over without a difference',
      { channels: 60, served: RIGHT, beside: RIGHT },
      TERMS.giveUpMs,
      /standard errors are needed$/,
    ],
    [
      'when its time is over with too few outcomes',
      { channels: 20, served: 1.5, beside: RIGHT },
      TERMS.giveUpMs,
      /^not promoted: only 60 of 90 outcomes after 7\.0 days$/,
    ],
    [
      'when its time is over and it covers less',
      { channels: 60, served: 1.5, beside: 1.04 },
      TERMS.giveUpMs,
      /^not promoted: .*it covers less$/,
    ],
    [
      'when eight times the outcomes show no difference that matters',
      { channels: 260, served: 1.2, beside: 1.199 },
      HOUR_MS,
      /^not promoted: on 780 outcomes/,
    ],
  ])('is given up %s', (_, world, ageMs, reason) => {
    const verdict = judgeShadow(tallyOf(world), ageMs, TERMS);
    expect(verdict.reason).toMatch(reason);
    expect(verdict.verdict).toBe('over');
  });

  it('is not promoted by luck: of 200 equals that are looked at after every outcome, few are', () => {
    let promoted = 0;
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(1000 + seed);
      const tally = new Tally('trial');
      for (const outcome of outcomes({ channels: 240, served: 0, beside: 0, seed })) {
        // Two quantiles with as much noise each: neither is better.
        const [a, b] = [RIGHT + 0.05 * (random() - 0.5), RIGHT + 0.05 * (random() - 0.5)];
        tally.add({
          ...outcome,
          served: { model: 'now', q50: 1, q90: a },
          shadows: [{ model: 'trial', q50: 1, q90: b }],
        });
        if (judgeShadow(tally, HOUR_MS, TERMS).verdict !== 'better') continue;
        promoted++;
        break;
      }
    }
    expect(promoted).toBeLessThanOrEqual(200 * 0.1);
  });

  it('gains nothing from three horizons that say the same thing three times', () => {
    const [one, three] = [new Tally('trial'), new Tally('trial')];
    for (const outcome of outcomes({ channels: 60, served: 1.3, beside: 1.2 })) {
      if (outcome.horizon === 0) {
        one.add(outcome);
        for (const horizon of [0, 1, 2]) three.add({ ...outcome, horizon });
      }
    }
    expect(three.outcomes).toBe(3 * one.outcomes);
    expect(three.channels).toBe(one.channels);
    expect(three.z).toBeCloseTo(one.z, 9);
  });

  it('is not judged by outcomes on which it did not answer', () => {
    const tally = new Tally('trial');
    const [outcome] = outcomes({ channels: 1, served: 1, beside: 1 });
    tally.add({ ...outcome!, shadows: [{ model: 'other', q50: 1, q90: 1 }] });
    tally.add({ ...outcome!, horizon: 9 });
    expect(tally.outcomes).toBe(0);
    expect(tally.z).toBe(0);
  });
});

describe('a promoted model beside its predecessor', () => {
  it('is rolled back when the predecessor was clearly better', () => {
    const { verdict, reason } = judgeWatch(
      tallyOf({ channels: 60, served: 1.5, beside: RIGHT }),
      HOUR_MS,
      TERMS,
    );
    expect(reason).toMatch(
      /^rolled back: on 180 outcomes .* the predecessor had pinball loss .* was better by/,
    );
    expect(verdict).toBe('better');
  });

  it('is rolled back when it covers clearly less, though its loss is no larger', () => {
    const { verdict, reason } = judgeWatch(
      tallyOf({ channels: 120, served: 1.06, beside: 1.24 }),
      HOUR_MS,
      TERMS,
    );
    expect(reason).toMatch(/it covered more by \d+\.\d standard errors$/);
    expect(verdict).toBe('better');
  });

  it.each<[string, World]>([
    ['is as good', { channels: 60, served: RIGHT, beside: RIGHT }],
    ['is better', { channels: 60, served: RIGHT, beside: 1.5 }],
    ['is worse by little', { channels: 200, served: 1.16, beside: RIGHT }],
    ['has answered too little', { channels: 20, served: 1.5, beside: RIGHT }],
  ])('stays while it %s', (_, world) => {
    expect(judgeWatch(tallyOf(world), HOUR_MS, TERMS).verdict).toBe('wait');
  });

  it('has stood its test after eight times the outcomes, or when the time is over', () => {
    const same = { served: RIGHT, beside: RIGHT };
    expect(judgeWatch(tallyOf({ channels: 240, ...same }), HOUR_MS, TERMS).verdict).toBe('over');
    expect(judgeWatch(tallyOf({ channels: 60, ...same }), TERMS.giveUpMs, TERMS).verdict).toBe('over');
    expect(judgeWatch(tallyOf({ channels: 5, ...same }), TERMS.giveUpMs, TERMS).verdict).toBe('over');
  });
});
