import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { reportPage } from '../../src/client/report/page.js';
import { summarise, wilson } from '../../src/client/report/summary.js';
import type { Answer__Output } from '../../src/rpc/generated/corecast/v1/Answer.js';
import type { GetModelReportResponse__Output } from '../../src/rpc/generated/corecast/v1/GetModelReportResponse.js';

const SCORE = { method: 'lstm', mapePercent: 9.54, pinball90: 0.0512, coverage90: 0.905 };

function answer(change: Partial<Answer__Output> = {}): Answer__Output {
  return {
    encoder: 'x264',
    fromSeconds: 0,
    toSeconds: 10,
    actual: 0.55,
    q50: 0.5,
    q90: 0.7,
    atMs: 1_700_000_000_000,
    handedOut: true,
    ...change,
  };
}

function report(change: Partial<GetModelReportResponse__Output> = {}): GetModelReportResponse__Output {
  const part = { runs: 40, rows: 400, sources: 3, fromMs: 1_699_000_000_000, toMs: 1_700_000_000_000 };
  return {
    model: {
      id: 'lstm-abc',
      inUse: true,
      trainedMs: 1_700_000_000_000,
      origin: 'history',
      trainingRuns: 100,
      validationRuns: 20,
      seed: 7,
      scores: [SCORE, { ...SCORE, method: 'cost_table', mapePercent: 37.25 }],
      note: '',
      state: 'in_use',
      why: 'promoted: on 200 outcomes',
      live: { ...SCORE, method: 'live' },
      liveOutcomes: 2,
    },
    evidence: {
      data: { hash: 'ab12', fromMs: part.fromMs, toMs: part.toMs, runs: 120, sources: 9 },
      training: part,
      validation: part,
      test: part,
      timeOrdered: true,
      leftOut: 4,
      unusable: 1,
      start: 'random weights',
      keptEpoch: 2,
      resumedAfter: [],
      epochs: [
        { epoch: 1, trainingLoss: 0.3, validationLoss: 0.4 },
        { epoch: 2, trainingLoss: 0.2, validationLoss: 0.3 },
        { epoch: 3, trainingLoss: 0.1 },
      ],
      groups: [
        {
          encoder: 'x264',
          fromSeconds: 0,
          toSeconds: 10,
          runs: 30,
          rows: 300,
          covered: 270,
          pinball: 6,
          demand: 200,
          error: 30,
        },
        {
          encoder: 'x265',
          fromSeconds: 0,
          toSeconds: 10,
          runs: 10,
          rows: 100,
          covered: 50,
          pinball: 9,
          demand: 150,
          error: 20,
        },
      ],
      answers: [answer(), answer({ encoder: 'x265', actual: 2.5, q50: 1.9 }), answer({ actual: 0 })],
    },
    live: [answer({ actual: 0.9 }), answer({ fromSeconds: 10, toSeconds: 60 })],
    steps: [
      {
        atMs: 1_700_000_000_000,
        kind: 'rolled_back',
        modelId: 'lstm-abc',
        inUseId: '',
        by: 'alarm',
        reason: 'worse <script>alert(1)</script> & "so"',
        seed: 0,
        data: null,
        scores: [],
      },
    ],
    ...change,
  };
}

describe('the report page', () => {
  const page = reportPage(report(), 1_700_000_500_000);
  const { document } = parseHTML(page);

  it('is whole in itself: no script, nothing to load', () => {
    expect(document.querySelectorAll('script, link, img, iframe, object').length).toBe(0);
    expect(page).not.toMatch(/\b(src|href|xlink:href)=|@import|url\(/);
    expect(page.replaceAll('http://www.w3.org/', '')).not.toMatch(/https?:/);
  });

  it('has the four plots, each a drawing with its dots, bars and lines', () => {
    const headings = [...document.querySelectorAll('h2')].map(({ textContent }) => textContent);
    expect(headings).toEqual([
      'Forecast against actual',
      'Coverage by horizon',
      'Error by encoder',
      'Training',
      'Beside other methods',
      'Data',
      'What happened to it',
    ]);
    const plots = [...document.querySelectorAll('.plot')];
    expect(plots).toHaveLength(4);
    const count = (plot: number, marks: string) => plots[plot]!.querySelectorAll(marks).length;
    // An answer without any demand has no place on a log axis.
    expect(count(0, '[aria-label="dot"] circle')).toBe(4);
    expect(count(1, '[aria-label="dot"] circle')).toBe(3);
    expect(count(2, '[aria-label="bar"] rect')).toBe(3);
    expect(count(3, '[aria-label="line"] path')).toBe(2);
    expect(plots[2]!.textContent).toContain('10.0 %, n = 300');
    expect(plots[3]!.textContent).toContain('kept: epoch 2');
  });

  it('says in words what the numbers are, and escapes what comes from outside', () => {
    const text = document.querySelector('main')!.textContent!;
    expect(text).toContain('9.5 %');
    expect(text).toContain('0.0512');
    expect(text).toContain('4 runs lie outside the time of their part and are in none.');
    expect(text).toContain('worse <script>alert(1)</script> & "so"');
    expect(text).toContain('rolled back');
    expect(document.querySelector('tr.own')!.textContent).toContain('this model');
  });

  it('tells of a model without evidence and outcomes what it can', () => {
    const bare = reportPage(report({ evidence: null, live: [], steps: [] }), 1);
    expect(bare).toContain('No answers of this model are kept');
    expect(bare).not.toContain('<svg');
  });

  it('shows live channels alone where that is all there is', () => {
    const { document: live } = parseHTML(reportPage(report({ evidence: null }), 1));
    expect(live.querySelectorAll('.plot')).toHaveLength(3);
    expect(live.querySelectorAll('.plot')[0]!.textContent).not.toContain('unseen test sources');
  });
});

describe('the summary', () => {
  it('counts coverage by span over encoders, and error by encoder over spans', () => {
    const { coverage, errors, spans } = summarise(report());
    expect(spans).toEqual(['0–10 s', '10–60 s']);
    expect(
      coverage.map(({ origin, span, covered, outcomes, runs }) => [origin, span, covered, outcomes, runs]),
    ).toEqual([
      ['unseen test sources', '0–10 s', 0.8, 400, 40],
      ['live channels', '0–10 s', 0, 1, 1],
      ['live channels', '10–60 s', 1, 1, 1],
    ]);
    expect(
      errors.map(({ origin, encoder, mapePercent }) => [origin, encoder, Math.round(mapePercent)]),
    ).toEqual([
      ['unseen test sources', 'x264', 10],
      ['unseen test sources', 'x265', 20],
      ['live channels', 'x264', 27],
    ]);
  });

  it.each([
    // Newcombe 1998, table I: the score method without continuity correction.
    [81 / 263, 263, 0.2553, 0.3662],
    [15 / 148, 148, 0.0624, 0.1605],
    [0 / 20, 20, 0, 0.1611],
    [1 / 29, 29, 0.0061, 0.1718],
  ])('has the interval of %f of %i as the literature has it', (share, n, low, high) => {
    const interval = wilson(share, n);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });
});
