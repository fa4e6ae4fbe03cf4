import { describe, expect, it } from 'vitest';
import { buildDataset, LEAST_RUNS } from '../../src/feedback/dataset.js';
import { normalisationOf, pack } from '../../src/feedback/normalisation.js';
import { seededRandom } from '../../src/feedback/random.js';
import { rowsOfRun } from '../../src/feedback/rows.js';
import { samplesByHorizon, targetsOf } from '../../src/feedback/targets.js';
import { costTableDemand } from '../../src/forecast/cost-table.js';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { HORIZONS, WINDOW_STEPS } from '../../src/forecast/forecast.js';
import { SEQUENCE_FEATURES, TARGETS, TARGETS_PER_HORIZON } from '../../src/forecast/network.js';
import type { Run, RunSample } from '../../src/history/records.js';
import { isCorecastError } from '../../src/lib/errors.js';
import { IDLE_HOST, output, runOf, signatureOf } from '../support/forecast-signatures.js';
import { madeRuns } from '../support/training-runs.js';

const SIGNATURE = signatureOf();
const COST = costTableDemand(SIGNATURE);

describe('targets', () => {
  it('are the logarithm of the demand over the cost table, usage at four ranks, and host load', () => {
    const targets = targetsOf([sample(5, COST * 2, [0.9, 0.6, 0.3, 0])], COST);
    expect([...targets.slice(0, TARGETS_PER_HORIZON)]).toEqual(
      [Math.log(2), 0.9, 0.6, 0.3, 0, 0.5].map((x) => expect.closeTo(x, 6)),
    );
    expect([...targets.slice(TARGETS_PER_HORIZON)].every(Number.isNaN)).toBe(true);
  });

  it.each([
    ['no CPU', [], [Number.NaN, Number.NaN, Number.NaN, Number.NaN]],
    ['one CPU, which says nothing of others', [0.7], [0.7, Number.NaN, Number.NaN, Number.NaN]],
    ['two CPUs', [0.9, 0.3], [0.9, 0.7, 0.5, 0.3]],
    ['seven CPUs', [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.7, 0.5, 0.3, 0.1]],
  ])('read the usage of %s at the knots', (_, usage, expected) => {
    const targets = [...targetsOf([sample(5, 1, usage)], COST).slice(1, 5)];
    expect(targets).toEqual(expected.map((x) => (Number.isNaN(x) ? x : expect.closeTo(x, 6))));
  });

  it('take samples that end within each horizon', () => {
    const samples = [0, 5, 10, 10.1, 60, 61, 300, 361].map((atS) => sample(atS, 1, []));
    expect(samplesByHorizon(samples, 0)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(samplesByHorizon(samples, 60)).toEqual([[5], [], [6]]);
  });
});

describe('rows of a live run', () => {
  const samples = Array.from({ length: 30 }, (_, i) => sample((i + 1) * 5, 0.1 * (i + 1), [0.1, 0.05]));
  const run = runOf('r', SIGNATURE, 1, { samples, hostBefore: [host(0.125), host(0.25)] });
  const rows = rowsOfRun(run, seededRandom(1));

  it('ask before the start with the channel masked and the host as it was then', () => {
    const fresh = rows.filter(({ kind }) => kind === 'new');
    expect(fresh.length).toBeGreaterThan(1);
    for (const row of fresh) {
      expect(feature(row.sequence, 'channelPresent')).toEqual(new Array(WINDOW_STEPS).fill(0));
      expect(feature(row.sequence, 'busy').at(-1)).toBe(0.25);
      expect(new Set(feature(row.sequence, 'busy'))).toEqual(new Set([0.125, 0.25]));
      expect(row.recentCores).toEqual([]);
    }
  });

  it('take different samples for an answer', () => {
    const fresh = rows.filter(({ kind }) => kind === 'new');
    expect(new Set(fresh.map(({ target }) => target[TARGETS_PER_HORIZON])).size).toBe(fresh.length);
  });

  it('ask during the run with what came before, and answer with what came after', () => {
    const running = rows.filter(({ kind }) => kind === 'running');
    expect(running.length).toBeGreaterThan(4);
    for (const row of running) {
      expect(feature(row.sequence, 'channelPresent')).toEqual(new Array(WINDOW_STEPS).fill(1));
      // Demand grows by 0.1 a step: the answer of the next 10 s is one or two steps above the newest of the window.
      const newest = row.recentCores.at(-1)!;
      expect(feature(row.sequence, 'channelCores').at(-1)).toBeCloseTo(newest, 5);
      const steps = Math.round((Math.exp(row.target[0]!) * COST - newest) / 0.1);
      expect([1, 2]).toContain(steps);
    }
  });

  it('leave a horizon open that the run did not reach', () => {
    const short = runOf('r', SIGNATURE, 1, { samples: samples.slice(0, 2) });
    const made = rowsOfRun(short, seededRandom(1));
    expect(made).toHaveLength(2);
    expect(made[0]!.target[0]).not.toBeNaN();
    expect(made[0]!.target[TARGETS_PER_HORIZON]).toBeNaN();
    expect(made[0]!.target[2 * TARGETS_PER_HORIZON]).toBeNaN();
  });

  it('are none for a run that was never sampled', () => {
    expect(rowsOfRun(runOf('r', SIGNATURE, 1), seededRandom(1))).toEqual([]);
  });
});

describe('rows of a calibration run', () => {
  const run = runOf('c', SIGNATURE, 1, {
    origin: 'calibration',
    samples: [sample(2, 1.5, [0.8, 0.7])],
    hostBefore: [host(0.1)],
    schedulableCpus: 4,
  });
  const rows = rowsOfRun(run, seededRandom(3));
  const measured = rows.filter(({ imagined }) => !imagined);
  const imagined = rows.filter((row) => row.imagined);

  it('answer for every horizon', () => {
    expect(measured).toHaveLength(1);
    const demands = HORIZONS.map((_, h) => measured[0]!.target[h * TARGETS_PER_HORIZON]);
    expect(demands).toEqual(HORIZONS.map(() => expect.closeTo(Math.log(1.5 / COST), 5)));
  });

  it('also answer for busier and larger hosts, with the load that follows', () => {
    expect(imagined.length).toBeGreaterThan(0);
    const at = STATIC_FEATURE_NAMES.indexOf('schedulableLog');
    for (const row of imagined) {
      const cpus = Math.round(Math.exp(row.fixed[at]!));
      expect(cpus % 4).toBe(0);
      const background = feature(row.sequence, 'busy')[0]! - (0.1 * 4) / cpus;
      expect(background).toBeGreaterThanOrEqual(-1e-6);
      expect(row.target[TARGETS_PER_HORIZON - 1]).toBeCloseTo((0.5 * 4) / cpus + background, 5);
      expect(row.target[0]).toBe(measured[0]!.target[0]);
    }
  });
});

describe('the dataset', () => {
  it('is the same for the same runs and seed, and another for another', async () => {
    const runs = madeRuns({ seed: 1, sources: 5, runsPerSource: 5, samples: 12 });
    const [a, b, c] = [await buildDataset(runs, { seed: 4 }), await buildDataset(runs, { seed: 4 })].concat(
      await buildDataset(runs, { seed: 5 }),
    );
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });

  it('keeps at most as many rows as asked for, of old and new runs alike', async () => {
    const runs = madeRuns({ seed: 1, sources: 6, runsPerSource: 10, samples: 40 });
    const { training, validation, test } = await buildDataset(runs, { seed: 1, mostRows: 300 });
    const kept = training.rows.length + validation.rows.length + test.rows.length;
    // Some of the sample lies outside the time of its part.
    expect(kept).toBeLessThanOrEqual(300);
    expect(kept).toBeGreaterThan(250);
    expect(test.rows.length).toBeGreaterThan(20);
    expect(training.rows.length).toBeGreaterThan(validation.rows.length);
  });

  it('is named by what is in it, not by how it was read', async () => {
    const runs = madeRuns({ seed: 1, sources: 6, runsPerSource: 5, samples: 12 });
    const later = { ...runs[7]!, id: 'later', startedMs: runs.at(-1)!.startedMs + 86_400_000 };
    const untilMs = runs.at(-1)!.startedMs + 3_600_000;
    const { hash } = await buildDataset(runs, { seed: 4 });
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect((await buildDataset([...runs, later], { seed: 4, untilMs })).hash).toBe(hash);
    expect((await buildDataset([...runs, later], { seed: 4 })).hash).not.toBe(hash);
    expect((await buildDataset(runs.slice(1), { seed: 4 })).hash).not.toBe(hash);
  });

  it('judges by measured rows only', async () => {
    const runs = madeRuns({ seed: 1, sources: 5, runsPerSource: 5, origin: 'calibration' });
    const { training, test } = await buildDataset(runs, { seed: 1 });
    expect(training.rows.some(({ imagined }) => imagined)).toBe(true);
    expect(test.rows.some(({ imagined }) => imagined)).toBe(false);
  });

  it.each<[string, (run: Run) => Run]>([
    ['NaN demand', (run) => withSample(run, { demandCores: Number.NaN })],
    ['infinite host load', (run) => withSample(run, { hostLoad: Number.POSITIVE_INFINITY })],
    ['no outputs', (run) => ({ ...run, signature: signatureOf([]) })],
    ['a size of zero', (run) => ({ ...run, signature: signatureOf([output({ width: 0 })]) })],
    ['zero CPUs', (run) => ({ ...run, cpuCount: 0 })],
    ['missing fields', (run) => ({ id: run.id }) as unknown as Run],
  ])('leaves a run with %s out and says so', async (_, spoil) => {
    const runs = madeRuns({ seed: 1, sources: 5, runsPerSource: 6, samples: 12 });
    const dataset = await buildDataset([...runs.slice(1), spoil(runs[0]!)], { seed: 1 });
    expect(dataset.unusable).toBe(1);
    expect(dataset.unusableReason).toMatch(/^run run-0: /);
    for (const { rows } of [dataset.training, dataset.validation, dataset.test]) {
      expect(rows.some(({ runId }) => runId === 'run-0')).toBe(false);
    }
  });

  it('refuses a history that is too short, and says how many runs there are and how many it needs', async () => {
    const error = await failure(madeRuns({ seed: 1, sources: 3, runsPerSource: 3 }));
    expect(error.message).toContain(`9 usable runs, training needs ${LEAST_RUNS}`);
    expect(error.details.metadata).toMatchObject({ runs: '9', runsNeeded: '20' });
  });

  it('refuses a history of too few sources to keep some unseen', async () => {
    const error = await failure(madeRuns({ seed: 1, sources: 2, runsPerSource: 20 }));
    expect(error.message).toContain('40 runs come from 2 sources, training needs 3');
  });
});

describe('normalisation', () => {
  it('gives the training rows mean 0 and, where they vary enough, deviation 1', async () => {
    const { training } = await buildDataset(madeRuns({ seed: 2, sources: 8, runsPerSource: 8 }), { seed: 1 });
    const normalisation = normalisationOf(training.rows);
    const packed = pack(training.rows, normalisation);
    const width = STATIC_FEATURE_NAMES.length;
    const at = STATIC_FEATURE_NAMES.indexOf('outputPixelRateLog');
    const values = Array.from({ length: packed.count }, (_, i) => packed.fixed[i * width + at]!);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
    expect(mean).toBeCloseTo(0, 3);
    expect(deviation).toBeCloseTo(1, 3);
  });

  it('leaves features that never change alone and bounds what lies far out', async () => {
    const { training } = await buildDataset(madeRuns({ seed: 2, sources: 5, runsPerSource: 5 }), { seed: 1 });
    const normalisation = normalisationOf(training.rows);
    const at = STATIC_FEATURE_NAMES.indexOf('tenBitOutput');
    expect(normalisation.fixed.constant[at]).toBe(true);
    expect(normalisation.fixed.scale[at]).toBe(1);
    const odd = { ...training.rows[0]!, fixed: training.rows[0]!.fixed.map(() => 1e6) };
    expect(pack([odd], normalisation).fixed.every((x) => x === 10)).toBe(true);
  });

  it('knows as many features as the network', async () => {
    const { training } = await buildDataset(madeRuns({ seed: 2, sources: 5, runsPerSource: 5 }), { seed: 1 });
    const packed = pack(training.rows.slice(0, 3), normalisationOf(training.rows));
    expect(packed.sequence.length).toBe(3 * WINDOW_STEPS * SEQUENCE_FEATURES.length);
    expect(packed.target.length).toBe(3 * TARGETS);
  });
});

async function failure(runs: readonly Run[]) {
  const error = await buildDataset(runs, { seed: 1 }).catch((thrown: unknown) => thrown);
  if (!isCorecastError(error, 'WRONG_STATE')) throw error;
  return error;
}

function feature(sequence: Float32Array, name: (typeof SEQUENCE_FEATURES)[number]): number[] {
  const at = SEQUENCE_FEATURES.indexOf(name);
  return Array.from({ length: WINDOW_STEPS }, (_, step) => sequence[step * SEQUENCE_FEATURES.length + at]!);
}

function host(busy: number) {
  return { ...IDLE_HOST, busy };
}

function sample(atS: number, demandCores: number, coreUsage: readonly number[]): RunSample {
  return { atS, demandCores, coreUsage, hostLoad: 0.5, ingressBps: 1e6, speed: 1, host: IDLE_HOST };
}

function withSample(run: Run, change: Partial<RunSample>): Run {
  return { ...run, samples: run.samples.map((each) => ({ ...each, ...change })) };
}
