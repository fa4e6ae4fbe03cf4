import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { costTableDemand } from '../../src/forecast/cost-table.js';
import type { Forecast, ForecastQuery } from '../../src/forecast/forecast.js';
import { createForecaster, type HostForecaster } from '../../src/forecast/forecaster.js';
import { onnxSession, type SessionFactory } from '../../src/forecast/inference.js';
import { OUTPUTS } from '../../src/forecast/network.js';
import { type ModelRegistry, openRegistry } from '../../src/forecast/registry.js';
import type { HistoryStore } from '../../src/history/store.js';
import { makeModel, writeModelFolder } from '../support/forecast-models.js';
import {
  anySignature,
  faultsOf,
  IDLE_HOST,
  output,
  runOf,
  signatureOf,
} from '../support/forecast-signatures.js';
import { type Folder, historyFolder, open, stillClock } from '../support/history.js';

let folder: Folder;
let history: HistoryStore;
let baseline: string;
let clock: ReturnType<typeof stillClock>;
const toClose: (() => unknown)[] = [];

beforeEach(async () => {
  folder = historyFolder();
  baseline = join(folder.parent, 'baseline');
  clock = stillClock();
  ({ history } = await open(folder.dir, { clock }));
  toClose.push(() => history.close());
});

afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
  folder.remove();
});

interface Made {
  readonly forecaster: HostForecaster;
  readonly registry: ModelRegistry;
}

async function make(createSession?: SessionFactory, timeoutMs = 5_000): Promise<Made> {
  const registry = await openRegistry({
    directory: join(folder.parent, 'models'),
    baseline,
    clock,
    ...(createSession === undefined ? {} : { createSession }),
  });
  const forecaster = await createForecaster({ registry, history, clock, timeoutMs });
  toClose.push(() => registry.close());
  toClose.push(() => forecaster.close());
  await forecaster.indexed;
  return { forecaster, registry };
}

function query(change: Partial<ForecastQuery> = {}): ForecastQuery {
  return {
    signature: signatureOf(),
    host: new Array(12).fill(IDLE_HOST),
    candidates: [1, 2, 4],
    schedulableCpus: 8,
    ...change,
  };
}

const notesOf = (forecasts: readonly Forecast[]) => forecasts[0]!.notes.join('\n');

describe('the fallback chain', () => {
  it('forecasts by the LSTM: one forecast per candidate, in order, ordered and finite', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    const { forecaster } = await make();
    const forecasts = await forecaster.forecast(query());
    expect(forecasts.map(({ source, modelId, cpuCount }) => [source, modelId, cpuCount])).toEqual([
      ['lstm', 'baseline-1', 1],
      ['lstm', 'baseline-1', 2],
      ['lstm', 'baseline-1', 4],
    ]);
    expect(forecasts.flatMap(faultsOf)).toEqual([]);
    expect(forecasts[0]).not.toEqual(forecasts[2]);
  });

  it('gives finite ordered forecasts for any valid signature, from the LSTM and from the table', async () => {
    const { forecaster, registry } = await make();
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }, 1));
    const { forecaster: byModel } = await make();
    expect(registry.inUse()).toBeUndefined();
    await fc.assert(
      fc.asyncProperty(
        anySignature,
        fc.uniqueArray(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 4 }),
        async (signature, candidates) => {
          for (const one of [forecaster, byModel]) {
            const forecasts = await one.forecast(query({ signature, candidates }));
            expect(forecasts.flatMap(faultsOf)).toEqual([]);
          }
        },
      ),
      { numRuns: 50 },
    );
    expect(byModel.counters().bySource.cost_table).toBe(0);
  });

  it('goes by the cost table when there is neither model nor history, and says both', async () => {
    const { forecaster } = await make();
    const [forecast] = await forecaster.forecast(query());
    expect(forecast!.source).toBe('cost_table');
    expect(forecast!.horizons[0]!.demand.q50).toBeCloseTo(costTableDemand(signatureOf()), 9);
    expect(notesOf([forecast!])).toMatch(
      /lstm: no model in use[\s\S]*nearest: 0 of 0 runs[\s\S]*cost table: q90/,
    );
  });

  it('goes by three similar runs where there is no model, scaled by the cost table', async () => {
    for (const [i, ratio] of [0.5, 0.5, 0.52].entries()) {
      await history.putRun(runOf(`r${i}`, signatureOf(), costTableDemand(signatureOf()) * ratio));
    }
    const { forecaster } = await make();
    const [forecast] = await forecaster.forecast(query());
    expect(forecast!.source).toBe('nearest');
    expect(forecast!.horizons[0]!.demand.q50).toBeCloseTo(costTableDemand(signatureOf()) * 0.507, 2);
    expect(notesOf([forecast!])).toMatch(/3 similar runs/);
    expect(faultsOf(forecast!)).toEqual([]);

    const wider = signatureOf([output({ width: 1440 })]);
    const [scaled] = await forecaster.forecast(query({ signature: wider }));
    expect(scaled!.source).toBe('nearest');
    expect(scaled!.horizons[0]!.demand.q50 / costTableDemand(wider)).toBeCloseTo(0.507, 2);

    const other = signatureOf([output({ encoder: 'libx265', preset: 'slow' })]);
    const [unlike] = await forecaster.forecast(query({ signature: other }));
    expect(unlike!.source).toBe('cost_table');
    expect(notesOf([unlike!])).toMatch(/0 of 3 runs/);
  });

  it('learns a run at once', async () => {
    const { forecaster } = await make();
    for (let i = 0; i < 3; i++) await forecaster.learn(runOf(`r${i}`, signatureOf(), 0.3 + i / 100));
    expect((await forecaster.forecast(query()))[0]!.source).toBe('nearest');
  });

  it("goes by a running channel's own last steps where there is no model", async () => {
    const { forecaster } = await make();
    const channel = new Array(6).fill({ cores: 1.2, ingressBps: 0, speed: 0.8 });
    const [forecast] = await forecaster.forecast(query({ channel }));
    expect(forecast!.source).toBe('nearest');
    expect(forecast!.horizons[0]!.demand.q50).toBeCloseTo(1.5, 6);
  });

  it.each([
    ['corrupt', () => writeFileSync(join(baseline, 'model.onnx'), 'not a network'), /SHA-256/],
    ['missing', () => rmSync(join(baseline, 'model.onnx')), /ENOENT/],
  ])('passes over a %s model and says why', async (_, damage, said) => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    damage();
    const { forecaster } = await make();
    const forecasts = await forecaster.forecast(query());
    expect(forecasts[0]!.source).toBe('cost_table');
    expect(notesOf(forecasts)).toMatch(said);
  });

  it('passes over a model that is slow, and lets it rest after three times', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    let slow = false;
    let asked = 0;
    const { forecaster } = await make(async (onnx, card) => {
      const session = await onnxSession(onnx, card);
      return {
        async run(inputs) {
          asked++;
          if (slow) await new Promise((resolve) => setTimeout(resolve, 200));
          return session.run(inputs);
        },
        release: () => session.release(),
      };
    }, 50);
    slow = true;
    for (let i = 0; i < 3; i++) {
      const forecasts = await forecaster.forecast(query());
      expect(forecasts[0]!.source).toBe('cost_table');
      expect(notesOf(forecasts)).toMatch(/took longer than 50 ms/);
    }
    const before = asked;
    expect(notesOf(await forecaster.forecast(query()))).toMatch(/rests after 3/);
    expect(asked).toBe(before);
    expect(forecaster.counters().slowRuns).toBe(3);
    slow = false;
    clock.monoMs += 61_000;
    expect((await forecaster.forecast(query()))[0]!.source).toBe('lstm');
  });

  it.each([
    ['NaN', (length: number) => new Float32Array(length).fill(Number.NaN), /output 0 of row 0 is NaN/],
    ['too few numbers', () => new Float32Array(3), /gave 3 numbers for 3 rows/],
  ])('passes over a model that gives %s', async (_, broken, said) => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    let runs = 0;
    const { forecaster } = await make(async () => ({
      // The test run at loading is fine.
      run: async ({ batch }) => (runs++ === 0 ? new Float32Array(batch * OUTPUTS) : broken(batch * OUTPUTS)),
      release: async () => {},
    }));
    const forecasts = await forecaster.forecast(query());
    expect(forecasts[0]!.source).toBe('cost_table');
    expect(notesOf(forecasts)).toMatch(said);
    expect(forecasts.flatMap(faultsOf)).toEqual([]);
  });

  it('answers from the new model after a promotion, while runs on the old one end well', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    const { forecaster, registry } = await make();
    const { card, onnx } = makeModel('next', { seed: 2 });
    await registry.install({ card, onnx });
    const many = Array.from({ length: 20 }, () => forecaster.forecast(query()));
    await registry.promote('next');
    const sources = (await Promise.all(many)).map(([forecast]) => forecast!.source);
    expect(new Set(sources)).toEqual(new Set(['lstm']));
    expect((await forecaster.forecast(query()))[0]!.modelId).toBe('next');
  });

  it('refuses candidates that are no CPU counts', async () => {
    const { forecaster } = await make();
    for (const candidates of [[0], [1.5], [Number.NaN], new Array(300).fill(1)]) {
      await expect(forecaster.forecast(query({ candidates }))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    }
    expect(await forecaster.forecast(query({ candidates: [] }))).toEqual([]);
  });
});

describe('calibration in the chain', () => {
  let channels = 0;
  const missed = (forecaster: HostForecaster, forecast: Forecast, times: number) => {
    for (let i = 0; i < times; i++)
      forecaster.observe(signatureOf(), forecast, 0, 1e6, `channel-${channels++}`);
  };

  it('widens a drifting model, then leaves it out for half an hour, then tries it again, and says so', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    const { forecaster } = await make();
    const [first] = await forecaster.forecast(query());
    missed(forecaster, first!, 10);
    const widened = await forecaster.forecast(query());
    expect(widened[0]!.source).toBe('lstm');
    expect(notesOf(widened)).toMatch(
      /drift alarm: q90 and q99 widened: \d of the last \d outcomes at 0-10 s were above the 0.9 quantile/,
    );
    missed(forecaster, first!, 10);
    const drifted = await forecaster.forecast(query());
    expect(drifted[0]!.source).not.toBe('lstm');
    expect(notesOf(drifted)).toMatch(/baseline-1 drifts: .* calibrated and widened: left out for 30 minutes/);
    expect(forecaster.drift()).toMatchObject({
      alarms: [{ source: 'lstm', modelId: 'baseline-1', family: 'x264', level: 2 }],
      raised: { 1: 1, 2: 1 },
    });
    const other = signatureOf([output({ encoder: 'libx265', preset: 'medium' })]);
    expect((await forecaster.forecast(query({ signature: other })))[0]!.source).toBe('lstm');
    clock.wallMs += 31 * 60_000;
    const again = await forecaster.forecast(query());
    expect(again[0]!.source).toBe('lstm');
    expect(notesOf(again)).toMatch(/drift alarm/);
  });

  it('raises the quantiles that were exceeded, says so, and remembers it over a restart', async () => {
    const { forecaster } = await make();
    const [before] = await forecaster.forecast(query());
    for (let i = 0; i < 5; i++) {
      const demand = before!.horizons[1]!.demand.q90 * (1 + i / 10);
      forecaster.observe(signatureOf(), before!, 1, demand, `channel-${i}`);
    }
    const after = await forecaster.forecast(query());
    const raised = after[0]!.horizons.map(({ demand }, h) => demand.q90 / before!.horizons[h]!.demand.q90);
    expect(raised[1]).toBeGreaterThan(1.5);
    expect(raised[0]).toBe(1);
    // A horizon that was not reached yet begins from the one before it.
    expect(raised[2]).toBeGreaterThan(1.3);
    expect(notesOf(after)).toMatch(/calibration: demand 10-60 s q90 x [12]\.\d\d \(x264\/\w+\)/);
    await forecaster.close();
    const { forecaster: restarted } = await make();
    for (const [h, { demand }] of (await restarted.forecast(query()))[0]!.horizons.entries())
      expect(demand.q90).toBeCloseTo(after[0]!.horizons[h]!.demand.q90, 3);
    const coverage = restarted.coverage().find(({ horizon, quantile }) => horizon === 1 && quantile === 0.9);
    expect(coverage).toMatchObject({ source: 'cost_table', observed: 5, covered: 1, recentObserved: 5 });
  });

  it('calibrates the fallback by the outcomes of the model, without counting them as its own', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    const { forecaster, registry } = await make();
    const [first] = await forecaster.forecast(query());
    const table = costTableDemand(signatureOf());
    for (let i = 0; i < 30; i++) forecaster.observe(signatureOf(), first!, 0, table * 1.5, `channel-${i}`);
    expect(forecaster.coverage().map(({ source }) => source)).not.toContain('cost_table');
    await forecaster.close();
    rmSync(baseline, { recursive: true });
    registry.close();
    const { forecaster: without } = await make();
    const [byTable] = await without.forecast(query());
    expect(byTable!.source).toBe('cost_table');
    expect(byTable!.horizons[0]!.demand.q50 / table).toBeCloseTo(1.5, 1);
  });

  it("leaves a running channel's own use as it is: what new channels taught is not about it", async () => {
    const { forecaster } = await make();
    const [first] = await forecaster.forecast(query());
    missed(forecaster, first!, 5);
    const channel = new Array(6).fill({ cores: 1.2, ingressBps: 0, speed: 0.8 });
    const [running] = await forecaster.forecast(query({ channel }));
    expect(running!.horizons[0]!.demand.q50).toBeCloseTo(1.5, 6);
  });

  it('begins anew when its saved state is damaged, or of an older format', async () => {
    for (const saved of [
      { format: 2, streams: { x: { horizons: 'no' } } },
      { format: 1, streams: {} },
      'no state',
    ]) {
      await history.putFact('forecast.calibration', saved);
      await history.putFact('speed_factor', [1, 2]);
      const { forecaster } = await make();
      expect(forecaster.coverage()).toEqual([]);
      expect(forecaster.speedFactor().runs).toBe(0);
      expect((await forecaster.forecast(query())).flatMap(faultsOf)).toEqual([]);
    }
  });
});

describe('the speed factor', () => {
  const calibration = (i: number, ratio: number) =>
    runOf(`c${i}`, distinct(i), costTableDemand(distinct(i)) * ratio, { origin: 'calibration' });
  /** Far apart, so that the nearest runs have no say. */
  const distinct = (i: number) => signatureOf([output({ width: 320 << i, height: 180 << i })]);

  it('is the median ratio of calibration runs to what was expected, for table and baseline apart', async () => {
    writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline' }));
    const { forecaster } = await make();
    const [before] = await forecaster.forecast(query());
    for (const [i, ratio] of [1.4, 1.5, 1.6, 9, 1.5].entries()) await forecaster.learn(calibration(i, ratio));
    const factor = forecaster.speedFactor();
    expect(factor.costTable).toBeCloseTo(1.5, 9);
    expect(factor.runs).toBe(5);
    const [after] = await forecaster.forecast(query());
    // Five runs say little of what this host does to this kind of channel beside the factor.
    const applied = after!.horizons[0]!.demand.q50 / before!.horizons[0]!.demand.q50;
    expect(Math.abs(Math.log(applied / factor.baseline))).toBeLessThan(0.1);
    expect(notesOf([after!])).toMatch(/speed factor/);
  });

  it('multiplies the cost table, survives a restart, and leaves models of this host alone', async () => {
    const { forecaster } = await make();
    for (let i = 0; i < 5; i++) await forecaster.learn(calibration(i, 2));
    await forecaster.close();
    const { forecaster: restarted, registry } = await make();
    const unlike = query({ signature: signatureOf([output({ encoder: 'libx265', preset: 'slow' })]) });
    const [byTable] = await restarted.forecast(unlike);
    expect(byTable!.horizons[0]!.demand.q50).toBeCloseTo(costTableDemand(unlike.signature) * 2, 9);
    const { card, onnx } = makeModel('mine');
    await registry.install({ card, onnx });
    await registry.promote('mine');
    expect(notesOf(await restarted.forecast(unlike))).not.toMatch(/speed factor/);
  });
});
