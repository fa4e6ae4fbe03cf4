import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { networkShape } from '../../src/forecast/network.js';
import { type ModelRegistry, openRegistry, type RegistryOptions } from '../../src/forecast/registry.js';
import { makeModel, writeModelFolder } from '../support/forecast-models.js';
import { stillClock } from '../support/history.js';

let parent: string;
let directory: string;
let baseline: string;
const opened: ModelRegistry[] = [];

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'corecast-models-'));
  directory = join(parent, 'models');
  baseline = join(parent, 'baseline');
  writeModelFolder(baseline, makeModel('baseline-1', { origin: 'baseline', trainedMs: 1 }));
});

afterEach(() => {
  for (const registry of opened.splice(0)) registry.close();
  rmSync(parent, { recursive: true, force: true });
});

async function open(change: Partial<RegistryOptions> = {}): Promise<ModelRegistry> {
  const registry = await openRegistry({ directory, baseline, clock: stillClock(), ...change });
  opened.push(registry);
  return registry;
}

async function install(registry: ModelRegistry, id: string, trainedMs = 2): Promise<void> {
  const { card, onnx, weights } = makeModel(id, { trainedMs });
  await registry.install({ card, onnx, weights });
}

const idOf = (registry: ModelRegistry) => registry.inUse()?.card.id;

describe('the model registry', () => {
  it('uses the baseline on a fresh host', async () => {
    const registry = await open();
    expect(idOf(registry)).toBe('baseline-1');
    expect(registry.problems()).toEqual([]);
    expect((await registry.list()).map(({ card, inUse }) => [card.id, inUse])).toEqual([
      ['baseline-1', true],
    ]);
  });

  it('remembers a promotion over a restart and goes back on rollback', async () => {
    const first = await open();
    await install(first, 'a');
    await install(first, 'b', 3);
    await first.promote('a', { reason: 'better' });
    await first.promote('b');
    const second = await open();
    expect(idOf(second)).toBe('b');
    expect((await second.rollback()).id).toBe('a');
    const third = await open();
    expect(idOf(third)).toBe('a');
    expect((await third.rollback()).id).toBe('baseline-1');
    await expect(third.rollback()).rejects.toMatchObject({ code: 'WRONG_STATE' });
    expect((await third.list()).map(({ card }) => card.id)).toEqual(['b', 'a', 'baseline-1']);
    expect(readFileSync(join(directory, 'a', 'weights.bin')).length).toBeGreaterThan(1000);
    expect(await third.folder('a')).toBe(join(directory, 'a'));
  });

  it.each([
    ['cut short', (folder: string) => truncateSync(join(folder, 'model.onnx'), 1000), /SHA-256/],
    ['with one byte changed', (folder: string) => flip(join(folder, 'model.onnx')), /SHA-256/],
    ['without its network', (folder: string) => rmSync(join(folder, 'model.onnx')), /ENOENT/],
    [
      'with a card that is not JSON',
      (folder: string) => writeFileSync(join(folder, 'model.json'), '{"for'),
      /not JSON/,
    ],
    [
      'with an empty card',
      (folder: string) => writeFileSync(join(folder, 'model.json'), '{}'),
      /format: .*expected 1/,
    ],
  ])('falls back to the model before when the one in use is %s, and says so', async (_, damage, said) => {
    const first = await open();
    await install(first, 'a');
    await install(first, 'b', 3);
    await first.promote('a');
    await first.promote('b');
    damage(join(directory, 'b'));
    const second = await open();
    expect(idOf(second)).toBe('a');
    expect(second.problems().join('\n')).toMatch(said);
    await expect(second.promote('b')).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    expect(idOf(second)).toBe('a');
  });

  it('starts with the baseline when the record of promotions is damaged, and with none when all is gone', async () => {
    const first = await open();
    await install(first, 'a');
    await first.promote('a');
    writeFileSync(join(directory, 'in-use.json'), 'x');
    const second = await open();
    expect(idOf(second)).toBe('baseline-1');
    expect(second.problems()[0]).toMatch(/record of promotions/);
    rmSync(baseline, { recursive: true });
    const third = await open();
    expect(third.inUse()).toBeUndefined();
    expect(third.problems().join('\n')).toMatch(/baseline/);
    await expect(third.rollback()).rejects.toMatchObject({ code: 'WRONG_STATE' });
  });

  it('does not throw when its directory cannot be made', async () => {
    writeFileSync(directory, 'a file in the way');
    const registry = await open();
    expect(idOf(registry)).toBe('baseline-1');
    expect(registry.problems()[0]).toMatch(/EEXIST|ENOTDIR/);
    const { card, onnx } = makeModel('a');
    await expect(registry.install({ card, onnx })).rejects.toThrow();
    expect(idOf(registry)).toBe('baseline-1');
  });

  it.each([
    [
      'of another shape',
      makeModel('a', { shape: { ...networkShape(STATIC_FEATURE_NAMES.length), steps: 9 } }),
      /shape.steps is 9/,
    ],
    [
      'with other features',
      makeModel('a', { staticFeatureNames: ['x', ...STATIC_FEATURE_NAMES.slice(1)] }),
      /staticFeatureNames\[0\]/,
    ],
    ['made for another cost table', makeModel('a', { costTable: 'old' }), /cost table old/],
    [
      'with a scale of 0',
      makeModel('a', { staticScale: new Array(STATIC_FEATURE_NAMES.length).fill(0) }),
      /staticScale.0/,
    ],
    ['with a missing mean', makeModel('a', { sequenceMean: [0] }), /sequenceMean has 1/],
    ['that lies about its shape', lyingModel(), /test run failed|cannot open/],
    ['whose weights are not numbers', nanModel(), /test run failed.*NaN/],
  ])('refuses to install a model %s', async (_, { card, onnx }, said) => {
    const registry = await open();
    await expect(registry.install({ card, onnx })).rejects.toThrow(said);
    await expect(registry.install({ card, onnx })).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    expect((await registry.list()).length).toBe(1);
  });

  it('refuses ids that are paths', async () => {
    const registry = await open();
    await expect(registry.promote('../baseline')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(registry.promote('nope')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps a bounded number, never dropping the one in use or the one before', async () => {
    const registry = await open({ keep: 3 });
    await install(registry, 'm0', 10);
    await registry.promote('m0');
    await install(registry, 'm1', 11);
    await registry.promote('m1');
    for (let i = 2; i < 7; i++) await install(registry, `m${i}`, 10 + i);
    expect((await registry.list()).map(({ card }) => card.id)).toEqual(['m6', 'm1', 'm0', 'baseline-1']);
    expect((await registry.rollback()).id).toBe('m0');
  });

  it('ignores folders that are no models and leftovers of a crash', async () => {
    mkdirSync(join(directory, '.new-x'), { recursive: true });
    mkdirSync(join(directory, 'stray'), { recursive: true });
    const registry = await open();
    expect((await registry.list()).length).toBe(1);
    await expect(registry.promote('stray')).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });

  it('lets a run under way end on the model it began with', async () => {
    const registry = await open();
    await install(registry, 'a');
    const old = registry.inUse()!;
    const statics = [zeros()];
    const running = old.run(new Float32Array(12 * 14), statics);
    await registry.promote('a');
    expect((await running).length).toBe(54);
    await expect(old.run(new Float32Array(12 * 14), statics)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
    });
  });

  it('keeps the model in use when the record cannot be written', async () => {
    const registry = await open();
    await install(registry, 'a');
    mkdirSync(join(directory, '.in-use.json.new'));
    await expect(registry.promote('a')).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect(idOf(registry)).toBe('baseline-1');
    expect((await registry.inUse()!.run(new Float32Array(12 * 14), [zeros()])).length).toBe(54);
  });
});

function zeros(): Float32Array {
  return new Float32Array(STATIC_FEATURE_NAMES.length);
}

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
}

/** The card says this version's shape; the network has another one. */
function lyingModel() {
  const small = makeModel('a', { shape: { ...networkShape(STATIC_FEATURE_NAMES.length), targets: 3 } });
  const right = makeModel('a');
  return { ...right, onnx: small.onnx, card: { ...right.card, onnxSha256: small.card.onnxSha256 } };
}

function nanModel() {
  return makeModel('a', {}, Number.NaN);
}

describe('trials and bars', () => {
  it('are found as they were after a restart, each change in one write with the promotion it belongs to', async () => {
    const first = await open();
    await install(first, 'a');
    await install(first, 'b');
    await first.setTrials([{ kind: 'shadow', id: 'b', sinceMs: 5 }]);
    await first.promote('a', { by: 'uid 0', trials: [{ kind: 'watch', id: 'baseline-1', sinceMs: 7 }] });
    const second = await open();
    expect(second.trials()).toEqual([{ kind: 'watch', id: 'baseline-1', sinceMs: 7 }]);
    expect(second.promotions().at(-1)).toMatchObject({ id: 'a', by: 'uid 0' });
    await second.rollback({ bar: true, reason: 'worse', trials: [{ kind: 'shadow', id: 'b', sinceMs: 9 }] });
    const third = await open();
    expect(idOf(third)).toBe('baseline-1');
    expect(third.barred('a')).toBe('worse');
    expect(third.barred('b')).toBeUndefined();
    expect(third.trials()).toEqual([{ kind: 'shadow', id: 'b', sinceMs: 9 }]);
  });

  it('end when the model that they ran beside is gone', async () => {
    const first = await open();
    await install(first, 'a');
    await first.promote('a', { trials: [{ kind: 'watch', id: 'baseline-1', sinceMs: 7 }] });
    rmSync(join(directory, 'a'), { recursive: true });
    const second = await open();
    expect(idOf(second)).toBe('baseline-1');
    expect(second.trials()).toEqual([]);
  });

  it('keep their models from being dropped', async () => {
    const registry = await open({ keep: 2 });
    await install(registry, 'old', 1);
    await registry.setTrials([{ kind: 'shadow', id: 'old', sinceMs: 1 }]);
    for (const id of ['b', 'c', 'd']) await install(registry, id, 10);
    expect((await registry.list()).map(({ card }) => card.id)).toContain('old');
  });

  it('of a record that knew none are none', async () => {
    mkdirSync(directory, { recursive: true });
    const promotions = [{ id: 'baseline-1', atMs: 1, reason: 'older corecast' }];
    writeFileSync(join(directory, 'in-use.json'), JSON.stringify({ format: 1, promotions }));
    const registry = await open();
    expect(registry.problems()).toEqual([]);
    expect(registry.trials()).toEqual([]);
    expect(registry.promotions()).toEqual([{ ...promotions[0], by: '' }]);
  });
});
