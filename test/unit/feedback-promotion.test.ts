import { describe, expect, it } from 'vitest';
import { COVERAGE_SLACK, judgePromotion, LEAST_TEST_ROWS, MARGIN } from '../../src/feedback/promotion.js';
import type { ModelScore } from '../../src/forecast/network.js';

/** method: [pinball90, coverage90] */
type Table = Readonly<Record<string, readonly [number, number]>>;

const PEERS: Table = { signature_lookup: [0.08, 0.88], cost_table: [0.12, 0.9] };
const RUNNING: Table = { last_value: [0.05, 0.9], mean_12: [0.06, 0.9], ewma: [0.055, 0.9] };

describe('a candidate is better offline', () => {
  it.each<[string, Table, Table]>([
    ['when it beats the simple methods and no model is in use', { lstm: [0.05, 0.9], ...PEERS }, {}],
    [
      'when it also beats the model in use by the margin',
      { lstm: [0.05, 0.9], ...PEERS },
      { incumbent: [0.06, 0.9] },
    ],
    [
      'when it covers more than 0.9 and the model in use covers even more',
      { lstm: [0.05, 0.91], ...PEERS },
      { incumbent: [0.06, 0.99] },
    ],
    [
      'when it covers less by no more than the slack',
      { lstm: [0.05, 0.9 - COVERAGE_SLACK / 2], ...PEERS },
      { incumbent: [0.06, 0.9] },
    ],
    [
      'when it beats repeating the past of running channels',
      { lstm: [0.05, 0.9], ...PEERS, lstm_running: [0.04, 0.9], ...RUNNING },
      { incumbent: [0.06, 0.9], incumbent_running: [0.03, 0.9] },
    ],
    [
      'when it does not, but beats the model in use there',
      { lstm: [0.05, 0.9], ...PEERS, lstm_running: [0.06, 0.9], ...RUNNING },
      { incumbent: [0.06, 0.9], incumbent_running: [0.07, 0.9] },
    ],
  ])('%s', (_, scores, incumbent) => {
    const verdict = judge(scores, incumbent);
    expect(verdict.reason).toMatch(/^pinball loss 0\.05/);
    expect(verdict.better).toBe(true);
  });
});

describe('a candidate is not better offline', () => {
  it.each<[string, Table, Table, RegExp]>([
    [
      'when the signature lookup is better',
      { lstm: [0.09, 0.9], ...PEERS },
      { incumbent: [0.5, 0.5] },
      /lstm \(0\.0900\) does not beat signature_lookup \(0\.0800\)/,
    ],
    [
      'when the cost table is better',
      { lstm: [0.05, 0.9], ...PEERS, cost_table: [0.04, 0.9] },
      {},
      /does not beat cost_table \(0\.0400\)/,
    ],
    [
      'when a simple method was not scored',
      { lstm: [0.05, 0.9], cost_table: [0.12, 0.9] },
      {},
      /signature_lookup was not scored/,
    ],
    [
      'when it is only as good as a simple method',
      { lstm: [0.08, 0.9], ...PEERS },
      {},
      /does not beat signature_lookup/,
    ],
    [
      'when it is better than the model in use by less than the margin',
      { lstm: [0.06 * (1 - MARGIN / 2), 0.9], ...PEERS },
      { incumbent: [0.06, 0.9] },
      /below 0\.0588 is needed/,
    ],
    [
      'when it covers less than the model in use',
      { lstm: [0.05, 0.85], ...PEERS },
      { incumbent: [0.06, 0.9] },
      /covers less/,
    ],
    [
      'when running channels are better told by their last value and by the model in use',
      { lstm: [0.05, 0.9], ...PEERS, lstm_running: [0.052, 0.9], ...RUNNING },
      { incumbent: [0.06, 0.9], incumbent_running: [0.051, 0.9] },
      /lstm_running \(0\.0520\) does not beat last_value \(0\.0500\)/,
    ],
    [
      'when running channels are better told by their last value and no model is in use',
      { lstm: [0.05, 0.9], ...PEERS, lstm_running: [0.052, 0.9], ...RUNNING },
      {},
      /does not beat last_value/,
    ],
    [
      'when its score is not a number',
      { lstm: [Number.NaN, 0.9], ...PEERS },
      { incumbent: [0.06, 0.9] },
      /no usable score/,
    ],
    [
      'when the score of the model in use is not a number',
      { lstm: [0.05, 0.9], ...PEERS },
      { incumbent: [Number.NaN, 0.9] },
      /is needed/,
    ],
    ['when it was not scored', PEERS, {}, /no usable score/],
  ])('%s', (_, scores, incumbent, reason) => {
    const verdict = judge(scores, incumbent);
    expect(verdict.reason).toMatch(reason);
    expect(verdict.better).toBe(false);
  });

  it('when there are too few unseen rows', () => {
    const verdict = judge({ lstm: [0.05, 0.9], ...PEERS }, {}, LEAST_TEST_ROWS - 1);
    expect(verdict).toEqual({
      better: false,
      reason: 'only 9 unseen rows to judge by, 10 are needed',
    });
  });
});

it('coverage of few runs is given the benefit of luck, and no more', () => {
  const covers = (coverage: number, runs: number) =>
    judge({ lstm: [0.05, coverage], ...PEERS }, { incumbent: [0.06, 0.98] }, 100, runs).better;
  // Two standard errors of 0.9 are 0.11 of 30 runs and 0.02 of 900.
  expect(covers(0.77, 30)).toBe(true);
  expect(covers(0.75, 30)).toBe(false);
  expect(covers(0.86, 900)).toBe(true);
  expect(covers(0.84, 900)).toBe(false);
});

it('the reason of a promotion names both scores, both coverages and the beaten methods', () => {
  expect(judge({ lstm: [0.05, 0.91], ...PEERS }, { incumbent: [0.06, 0.93] }).reason).toBe(
    'pinball loss 0.0500 and coverage 91 % against pinball loss 0.0600 and coverage 93 % of the model in ' +
      'use on 100 unseen rows, better than signature_lookup 0.0800, cost_table 0.120',
  );
});

function judge(scores: Table, incumbent: Table, testRows = 100, testRuns = 1e6) {
  return judgePromotion({ scores: scoresOf(scores), incumbent: scoresOf(incumbent), testRows, testRuns });
}

function scoresOf(table: Table): ModelScore[] {
  return Object.entries(table).map(([method, [pinball90, coverage90]]) => ({
    method,
    mapePercent: 10,
    pinball90,
    coverage90,
  }));
}
