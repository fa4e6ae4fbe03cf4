import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveDaemon } from '../support/live-daemon.js';
import { channel, troubles } from '../support/live-requests.js';

const BASELINE = resolve(import.meta.dirname, '../../models/baseline');

describe('models', { timeout: 60_000 }, () => {
  const daemon = new LiveDaemon();
  const models = join(daemon.stateDir, 'models');
  const card = JSON.parse(readFileSync(join(BASELINE, 'model.json'), 'utf8'));
  const onnx = readFileSync(join(BASELINE, 'model.onnx'));
  const put = (id: string, bytes: Buffer, more: object = {}) => {
    mkdirSync(join(models, id), { recursive: true });
    const onnxSha256 = createHash('sha256').update(onnx).digest('hex');
    writeFileSync(join(models, id, 'model.onnx'), bytes);
    writeFileSync(
      join(models, id, 'model.json'),
      JSON.stringify({ ...card, id, origin: 'history', onnxSha256, ...more }),
    );
  };
  const inUse = async () => (await daemon.client.listModels({})).models.find((one) => one.inUse)?.id;

  beforeAll(async () => {
    const flipped = Buffer.from(onnx);
    flipped[onnx.length >> 1]! ^= 0xff;
    put('flipped', flipped);
    put('misshapen', onnx, { shape: { ...card.shape, sequenceFeatures: 7 } });
    put('sound', onnx);
    const promotions = [
      { id: 'misshapen', atMs: 1, reason: '' },
      { id: 'flipped', atMs: 2, reason: '' },
    ];
    writeFileSync(join(models, 'in-use.json'), JSON.stringify({ format: 1, promotions }));
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('that are corrupt or misshapen at the start give way to the baseline, and the log says so', async () => {
    expect(await inUse()).toBe(card.id);
    expect(daemon.said()).toContain('model flipped: model.onnx has SHA-256');
    expect(daemon.said()).toContain('shape.sequenceFeatures is 7; this version works with');
    expect(daemon.said()).toContain(`"model":"${card.id}","origin":"baseline","msg":"the model in use"`);
  });

  it('that are corrupt or misshapen are not promoted, and what was in use stays in use', async () => {
    await daemon.client.promoteModel({ modelId: 'sound' });
    for (const modelId of ['flipped', 'misshapen']) {
      const refused = daemon.client.promoteModel({ modelId });
      await expect(refused).rejects.toMatchObject({ code: 'MODEL_INVALID', cause: { code: 9 } });
      expect(await inUse()).toBe('sound');
    }
    await expect(daemon.client.promoteModel({ modelId: '../sound' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const { decision } = await daemon.client.predict(channel());
    expect(decision!.forecast).toMatchObject({ source: 'FORECAST_SOURCE_LSTM', modelId: 'sound' });
    await daemon.client.rollbackModel({});
    expect(await inUse()).toBe(card.id);
    await expect(daemon.client.rollbackModel({})).rejects.toMatchObject({ code: 'WRONG_STATE' });
  });

  it('are trained on enough runs only: progress by epoch, a candidate, and promoted or not with the numbers', async () => {
    const train = async () => {
      const steps = [];
      for await (const step of daemon.client.trainModel({ seed: 3 })) steps.push(step);
      return steps;
    };
    await expect(train()).rejects.toMatchObject({
      code: 'WRONG_STATE',
      message: expect.stringMatching(/has 0 usable runs, training needs \d+/),
    });
    for (let i = 0; i < 48; i++) await daemon.client.recordRun({ run: calibrationRun(i) });
    const steps = await train();
    // The first tells that the data is there, then each epoch.
    expect(steps.slice(0, 3).map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
    expect(steps[2]!.maxEpochs).toBeGreaterThan(2);
    expect(steps[2]!.validationLoss).toBeGreaterThan(0);
    const { model, promoted, next, reason } = steps.at(-1)!;
    expect(promoted).toBe(false);
    expect(model).toMatchObject({ origin: 'history', inUse: false });
    expect(reason).toMatch(/^(in shadow|not promoted): pinball loss \d.* on 1[2-9] unseen rows/);
    expect(next).toBe(reason.startsWith('in shadow') ? 'shadow' : 'none');
    expect(model!.state).toBe(next === 'shadow' ? 'shadow' : 'candidate');
    expect(await inUse()).toBe(card.id);

    await daemon.client.promoteModel({ modelId: model!.id });
    expect(await inUse()).toBe(model!.id);
    await daemon.client.rollbackModel({});
    expect(await inUse()).toBe(card.id);
    expect(troubles(daemon)).toEqual([]);
  });
});

/** Of four sources, each harder than the one before; demand grows with pixels, preset and difficulty. */
function calibrationRun(i: number) {
  const source = Math.floor(i / 12);
  const [width, height] = (
    [
      [640, 360],
      [1280, 720],
      [1920, 1080],
    ] as const
  )[i % 3]!;
  const [preset, cost] = (
    [
      ['ultrafast', 0.25],
      ['veryfast', 0.45],
      ['fast', 0.8],
      ['medium', 1.1],
    ] as const
  )[i % 4]!;
  const difficulty = 0.7 + 0.3 * source;
  const noise = 1 + 0.02 * (((i * 7) % 5) - 2);
  const demand = (cost * difficulty * noise * width * height) / (1280 * 720);
  const video = { width, height, fps: 25, bitDepth: 8 };
  return {
    ...{ id: `run-${i}`, origin: 'calibration', source: `clip-${source}`, cpuCount: 2 },
    startedMs: 1_760_000_000_000 + i * 60_000,
    ...{ cpuSeconds: demand * 10, mediaSeconds: 10, wallSeconds: 10 },
    coreUsage: [Math.min(1, demand * 0.6), Math.min(1, demand * 0.4)],
    hostLoad: Math.min(1, demand / 2),
    signature: {
      input: { codec: 'h264', bitrateBps: 2_000_000, ...video },
      outputs: [{ encoder: 'libx264', preset, crf: 23, ...video }],
      complexity: { bitsPerPixel: 0.08 * difficulty },
    },
  };
}
