import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configSchema, type TrainingConfig } from '../../src/config/schema.js';
import { ModelLife } from '../../src/feedback/model-life.js';
import type { Forecast, ForecastQuery } from '../../src/forecast/forecast.js';
import type { Model } from '../../src/forecast/inference.js';
import { type ModelRegistry, openRegistry } from '../../src/forecast/registry.js';
import { makeModel, writeModelFolder } from '../support/forecast-models.js';
import {
  decisionOf,
  forecast,
  historyFolder,
  hostState,
  listeningLog,
  signature,
  stillClock,
} from '../support/history.js';

const BASELINE = 'baseline-1';
const CANDIDATE = 'candidate-1';
const WON = { better: true, reason: 'pinball loss 0.1' };

let folder: ReturnType<typeof historyFolder>;
let clock: ReturnType<typeof stillClock>;
let log: ReturnType<typeof listeningLog>;
let config: TrainingConfig;
/** The 0.9 quantile that each model gives; 'fails' for one that cannot answer. */
let says: Record<string, number | 'fails'>;
let observed: string[];
let channels: number;
/** Forecasts by models beside the one in use. */
let asked: number;
const opened: { life: ModelLife; registry: ModelRegistry }[] = [];

beforeEach(() => {
  folder = historyFolder();
  clock = stillClock();
  log = listeningLog();
  config = { ...configSchema.parse({}).training, shadow_outcomes: 30, watch_outcomes: 30 };
  says = { [BASELINE]: 1.5, [CANDIDATE]: 1.1, second: 1.1 };
  observed = [];
  channels = 0;
  asked = 0;
  writeModelFolder(
    join(folder.parent, 'baseline'),
    makeModel(BASELINE, { origin: 'baseline', trainedMs: 1 }),
  );
});

afterEach(async () => {
  for (const { life, registry } of opened.splice(0)) {
    await life.stop();
    registry.close();
  }
  folder.remove();
});

/** As the daemon starts, with what an earlier one left. */
async function open(): Promise<{ life: ModelLife; registry: ModelRegistry }> {
  const directory = join(folder.parent, 'models');
  const registry = await openRegistry({ directory, baseline: join(folder.parent, 'baseline'), clock });
  const life = new ModelLife({
    directory,
    registry,
    clock,
    log,
    config: () => config,
    schedulableCpus: () => 4,
    forecaster: {
      forecastBy: async (model, query) => {
        asked++;
        return [forecastOf(model, query)];
      },
      observe: (_signature, { modelId }, horizon) => void observed.push(`${modelId} ${horizon}`),
    },
  });
  await life.start();
  const world = { life, registry };
  opened.push(world);
  return world;
}

async function reopen(between = () => {}): Promise<{ life: ModelLife; registry: ModelRegistry }> {
  const { life, registry } = opened.pop()!;
  await life.stop();
  registry.close();
  between();
  return open();
}

function forecastOf({ card }: Model, { candidates }: ForecastQuery): Forecast {
  const q90 = says[card.id];
  if (q90 === 'fails' || q90 === undefined) throw new Error(`${card.id} has no answer`);
  const horizons = forecast.horizons.map((horizon) => ({ ...horizon, demand: { q50: 1, q90, q99: 2 } }));
  return { source: 'lstm', modelId: card.id, cpuCount: candidates[0]!, horizons, notes: [] };
}

async function install({ registry }: { registry: ModelRegistry }, id = CANDIDATE): Promise<void> {
  const { card, onnx, weights } = makeModel(id, { trainedMs: clock.nowMs() });
  await registry.install({ card, onnx, weights });
}

/** A channel from its admission to its end: about 1 core, nine times in ten below 1.1. */
async function channel({ life, registry }: { life: ModelLife; registry: ModelRegistry }): Promise<void> {
  const number = channels++;
  clock.wallMs += 60_000;
  const inUse = registry.inUse()!;
  const handedOut = forecastOf(inUse, { candidates: [2], signature, host: [], schedulableCpus: 4 });
  const decision = { ...decisionOf(`d${number}`, `r${number}`, clock.nowMs()), forecast: handedOut };
  const answers = asked + registry.trials().length;
  life.admitted(decision, [hostState]);
  for (let i = 0; i < 1_000 && asked < answers; i++) await new Promise((resolve) => setTimeout(resolve, 2));
  const demandCores = number % 10 === 0 ? 1.2 : 1 + (number % 7) / 100;
  for (const horizon of [0, 1, 2])
    life.observed({ id: `r${number}`, source: 'news', signature, forecast: handedOut, horizon, demandCores });
  await life.review();
  await life.review();
}

/** At least the outcomes that are wanted, and luck's share more. */
async function channelsUntil(world: { life: ModelLife; registry: ModelRegistry }, id: string): Promise<void> {
  for (let i = 0; i < 10 && idOf(world) !== id; i++) await channel(world);
  expect(idOf(world)).toBe(id);
}

const idOf = ({ registry }: { registry: ModelRegistry }) => registry.inUse()?.card.id;
const stateOf = async ({ life }: { life: ModelLife }, id: string) =>
  (await life.models()).find(({ card }) => card.id === id)?.state;
const kinds = ({ life }: { life: ModelLife }) => life.steps().map(({ kind, by }) => `${kind} by ${by}`);

describe('a candidate that won offline', () => {
  it('runs beside the model in use, is promoted by its outcomes, stands its test and is kept', async () => {
    const world = await open();
    await install(world);
    const placed = await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    expect(placed.next).toBe('shadow');
    expect(placed.reason).toMatch(
      /^in shadow: pinball loss 0\.1; it answers beside baseline-1 and is promoted once/,
    );
    expect(await stateOf(world, CANDIDATE)).toBe('shadow');
    for (let i = 0; i < 9; i++) await channel(world);
    expect(idOf(world)).toBe(BASELINE);
    expect((await world.life.models())[0]).toMatchObject({
      why: expect.stringMatching(/^in shadow: 27 of 30 outcomes/),
      live: { outcomes: 27 },
    });
    await channelsUntil(world, CANDIDATE);
    expect(await stateOf(world, BASELINE)).toBe('retired');
    expect(world.registry.trials()).toMatchObject([{ kind: 'watch', id: BASELINE }]);
    while (world.registry.trials().length > 0) await channel(world);
    expect(idOf(world)).toBe(CANDIDATE);
    expect(kinds(world)).toEqual(['shadow by schedule', 'promoted by shadow', 'kept by alarm']);
    const [, promoted] = world.life.steps();
    expect(promoted).toMatchObject({
      inUse: CANDIDATE,
      reason: expect.stringMatching(/^promoted: on \d+ outcomes of 1\d live channels it had pinball loss/),
    });
    expect(promoted!.scores!.map(({ method }) => method)).toEqual(['served', CANDIDATE]);
    // Both models learn their own calibration from what they said.
    const asCandidate = observed.filter((each) => each === `${CANDIDATE} 0`).length;
    expect(asCandidate).toBeGreaterThanOrEqual(10);
    expect(asCandidate).toBeLessThan(channels);
    expect(observed).toContain(`${BASELINE} 2`);
  });

  it('is given up when it is worse on live channels, and its files stay', async () => {
    says[CANDIDATE] = 2.5;
    const world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    while (world.registry.trials().length > 0) await channel(world);
    expect(idOf(world)).toBe(BASELINE);
    expect(await stateOf(world, CANDIDATE)).toBe('candidate');
    expect(world.life.steps().at(-1)).toMatchObject({
      kind: 'abandoned',
      reason: expect.stringMatching(/it is worse$/),
    });
  });

  it('is given up when its time is over, without any outcome', async () => {
    const world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    clock.wallMs += config.shadow_ms;
    await world.life.review();
    expect(world.life.steps().at(-1)).toMatchObject({
      kind: 'abandoned',
      reason: 'not promoted: only 0 of 30 outcomes after 7.0 days',
    });
  });

  it('is given up when it won and its files are gone', async () => {
    const world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    await channel(world);
    rmSync(join(folder.parent, 'models', CANDIDATE, 'model.onnx'));
    for (let i = 0; i < 25 && world.registry.trials().length > 0; i++) await channel(world);
    expect(idOf(world)).toBe(BASELINE);
    expect(world.life.steps().at(-1)).toMatchObject({
      kind: 'abandoned',
      reason: expect.stringMatching(/^it won, but could not be promoted: .*model\.onnx/),
    });
  });

  it('is given up when it cannot answer', async () => {
    says[CANDIDATE] = 'fails';
    const world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    for (let i = 0; i < 3; i++) await channel(world);
    expect(world.life.steps().at(-1)).toMatchObject({
      kind: 'abandoned',
      reason: 'it cannot answer: candidate-1 has no answer',
    });
  });

  it('is promoted at once where that is asked for, where trials are off, and where no model is in use', async () => {
    const world = await open();
    await install(world);
    expect((await world.life.place(CANDIDATE, WON, 'uid 0', 'now')).next).toBe('promoted');
    expect(idOf(world)).toBe(CANDIDATE);
    await install(world, 'second');
    config = { ...config, shadow_outcomes: 0 };
    expect((await world.life.place('second', WON, 'uid 0', 'shadow')).next).toBe('promoted');
    await world.life.stop();
    world.registry.close();
    opened.pop();
    rmSync(folder.parent, { recursive: true, force: true });
    const empty = await open();
    await install(empty, 'third');
    config = { ...config, shadow_outcomes: 30 };
    expect((await empty.life.place('third', WON, 'schedule', 'shadow')).next).toBe('promoted');
    expect(empty.registry.trials()).toEqual([]);
  });

  it('that lost is kept, and nothing else happens', async () => {
    const world = await open();
    await install(world);
    const lost = await world.life.place(CANDIDATE, { better: false, reason: 'worse' }, 'uid 0', 'now');
    expect(lost).toEqual({ next: 'none', reason: 'not promoted: worse' });
    expect(idOf(world)).toBe(BASELINE);
    expect(world.registry.trials()).toEqual([]);
  });

  it('takes the place of one that is in shadow', async () => {
    const world = await open();
    await install(world);
    await install(world, 'second');
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    await world.life.place('second', WON, 'uid 0', 'shadow');
    expect(world.registry.trials()).toMatchObject([{ kind: 'shadow', id: 'second' }]);
    expect(kinds(world)).toEqual(['shadow by schedule', 'abandoned by uid 0', 'shadow by uid 0']);
  });
});

describe('a promotion', () => {
  it('is taken back by the alarm when the predecessor was better, with the reason, and is not repeated', async () => {
    says = { [BASELINE]: 1.1, [CANDIDATE]: 1.8 };
    const world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'uid 0', 'now');
    while (world.registry.trials().length > 0) await channel(world);
    expect(idOf(world)).toBe(BASELINE);
    expect(await stateOf(world, CANDIDATE)).toBe('barred');
    const last = world.life.steps().at(-1)!;
    expect(last).toMatchObject({ kind: 'rolled_back', by: 'alarm', model: CANDIDATE, inUse: BASELINE });
    expect(last.reason).toMatch(
      /^rolled back: on 30 outcomes .* standard errors; back to baseline-1; candidate-1 is not promoted again$/,
    );
    expect(world.registry.barred(CANDIDATE)).toMatch(/^rolled back: on 30 outcomes/);
    // A person may all the same, and is not overruled again.
    await world.life.promote(CANDIDATE, 'uid 0');
    expect(idOf(world)).toBe(CANDIDATE);
    expect(world.registry.trials()).toEqual([]);
  });

  it('is not watched where the alarm is off', async () => {
    config = { ...config, watch_outcomes: 0 };
    const world = await open();
    await install(world);
    await world.life.promote(CANDIDATE, 'uid 0');
    expect(world.registry.trials()).toEqual([]);
  });

  it('by command ends the watch over the one before, and a candidate in shadow begins anew', async () => {
    const world = await open();
    await install(world);
    await install(world, 'second');
    await world.life.place('second', WON, 'schedule', 'shadow');
    for (let i = 0; i < 5; i++) await channel(world);
    await world.life.promote(CANDIDATE, 'uid 7');
    expect(world.registry.trials().map(({ kind, id }) => `${kind} ${id}`)).toEqual([
      `watch ${BASELINE}`,
      'shadow second',
    ]);
    expect((await world.life.models()).find(({ card }) => card.id === 'second')?.why).toMatch(/ 0 of 30/);
    await world.life.rollback('uid 7');
    expect(idOf(world)).toBe(BASELINE);
    expect(world.registry.trials()).toMatchObject([{ kind: 'shadow', id: 'second' }]);
    expect(world.life.steps().at(-1)).toMatchObject({
      by: 'uid 7',
      reason: 'rolled back: by command; back to baseline-1',
    });
    expect(world.life.stepInForce(BASELINE, clock.nowMs())).toMatchObject({ kind: 'rolled_back' });
    expect(world.life.stepInForce('second', clock.nowMs())).toBeUndefined();
  });
});

describe('over a restart', () => {
  it('a trial goes on with the outcomes it had, and the steps are as they were', async () => {
    let world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    for (let i = 0; i < 8; i++) await channel(world);
    const steps = world.life.steps();
    world = await reopen();
    expect(world.life.steps()).toEqual(steps);
    expect((await world.life.models())[0]!.why).toMatch(/24 of 30 outcomes/);
    await channelsUntil(world, CANDIDATE);
    world = await reopen();
    expect(idOf(world)).toBe(CANDIDATE);
    expect(world.registry.trials()).toMatchObject([{ kind: 'watch', id: BASELINE }]);
    expect(await stateOf(world, BASELINE)).toBe('retired');
  });

  it('what comes after is counted with what came before', async () => {
    let world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    for (let i = 0; i < 4; i++) await channel(world);
    world = await reopen();
    await channel(world);
    expect((await world.life.models())[0]!.live!.outcomes).toBe(15);
  });

  it('a torn line loses one step and no other; outcomes that cannot be read lose only the count so far', async () => {
    let world = await open();
    await install(world);
    await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
    await channel(world);
    const file = (name: string) => join(folder.parent, 'models', name);
    world = await reopen(() => {
      appendFileSync(file('steps.jsonl'), '{"atMs":1,"kind":"prom');
      writeFileSync(file('outcomes.jsonl'), '\u0000garbage\n');
    });
    expect(kinds(world)).toEqual(['shadow by schedule']);
    expect((await world.life.models())[0]!.why).toMatch(/ 0 of 30/);
    await world.life.promote(CANDIDATE, 'uid 0');
    expect(readFileSync(file('steps.jsonl'), 'utf8').trim().split('\n')).toHaveLength(3);
    expect((await reopen()).life.steps().map(({ kind }) => kind)).toEqual(['shadow', 'promoted']);
  });
});

it('forecasts beside the one in use cost no admission anything and are bounded', async () => {
  const world = await open();
  await install(world);
  await world.life.place(CANDIDATE, WON, 'schedule', 'shadow');
  const began = performance.now();
  for (let i = 0; i < 5_000; i++) world.life.admitted(decisionOf(`d${i}`, `r${i}`), [hostState]);
  expect(performance.now() - began).toBeLessThan(100);
  await new Promise((resolve) => setTimeout(resolve, 700));
  world.life.observed({ id: 'r0', source: 'a', signature, forecast, horizon: 0, demandCores: 1 });
  world.life.observed({ id: 'r4999', source: 'a', signature, forecast, horizon: 0, demandCores: 1 });
  // The first was forecast, the last came too fast.
  expect((await world.life.report(CANDIDATE)).outcomes).toHaveLength(1);
});
