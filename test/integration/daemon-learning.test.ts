import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runMessage } from '../../src/client/messages.js';
import type { TrainModelResponse__Output } from '../../src/rpc/generated/corecast/v1/TrainModelResponse.js';
import { SIGNATURE_MESSAGE } from '../support/control-answers.js';
import { writeModelFolder } from '../support/forecast-models.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';
import { poorModel } from '../support/poor-model.js';
import { madeRuns } from '../support/training-runs.js';

const POOR = 'poor';
const OTHER = 'other';
const TRIAL = ['[training]', 'schedule = false', 'shadow_outcomes = 6', 'watch_outcomes = 6'].join('\n');

const RUNS = madeRuns({ seed: 5, sources: 40, runsPerSource: 5, origin: 'calibration' });

async function teach(daemon: LiveDaemon): Promise<void> {
  for (const run of RUNS) await daemon.client.recordRun({ run: runMessage(run) });
}

/** In use from the start of the daemon: a model that any candidate beats, as it reserves three times what it expects. */
function beginPoorly(daemon: LiveDaemon): void {
  const models = join(daemon.stateDir, 'models');
  mkdirSync(models, { recursive: true });
  writeModelFolder(join(models, POOR), poorModel(POOR, { wide: 3 }));
  writeModelFolder(join(models, OTHER), poorModel(OTHER, { wide: 3 }));
  const promotions = [{ id: POOR, atMs: 1, reason: 'to begin with' }];
  writeFileSync(join(models, 'in-use.json'), JSON.stringify({ format: 1, promotions }));
}

const modelsOf = async (daemon: LiveDaemon) => (await daemon.client.listModels({})).models;
const inUse = async (daemon: LiveDaemon) => (await modelsOf(daemon)).find((model) => model.inUse)?.id;
const stepsOf = async (daemon: LiveDaemon) => (await daemon.client.listModelSteps({})).steps;

async function train(daemon: LiveDaemon): Promise<TrainModelResponse__Output> {
  let last: TrainModelResponse__Output | undefined;
  for await (const step of daemon.client.trainModel({})) last = step;
  return last!;
}

describe('a candidate on live channels', { timeout: 240_000 }, () => {
  const daemon = new LiveDaemon(TRIAL);
  let clip: string;
  let candidate: string;
  let started = 0;

  /** Small live channels at once, long enough for one outcome each. */
  const channels = async (count: number) => {
    const wrappers = Array.from({ length: count }, () => {
      const name = `channel-${started++}`;
      const source = ['ffmpeg', '-v', 'error', '-nostdin', '-y', '-re', '-t', '7', '-i', clip];
      const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', join(daemon.dir, `${name}.mp4`)];
      return daemon.run(['--name', name, '--wait', '30s'], [...source, ...encode]);
    });
    for (const { ended } of wrappers) expect((await ended).code).toBe(0);
  };

  /** All of a round are admitted before any outcome of it could correct the model in use. */
  const channelsUntilInUse = async (id: string) => {
    for (let round = 0; round < 4 && (await inUse(daemon)) !== id; round++) {
      await channels(8);
      // The verdict on the last outcome is carried out beside the release.
      await new Promise((done) => setTimeout(done, 500));
    }
    expect(await inUse(daemon)).toBe(id);
  };

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 10);
    beginPoorly(daemon);
    await daemon.start();
    await teach(daemon);
  });
  afterAll(() => daemon.close());

  it('is trained, beats the model in use offline, and is not put in use yet', async () => {
    const { model, next, reason } = await train(daemon);
    candidate = model!.id;
    expect(reason).toMatch(/^in shadow: pinball loss .* of the model in use on \d+ unseen rows/);
    expect(next).toBe('shadow');
    expect(await inUse(daemon)).toBe(POOR);
    expect((await modelsOf(daemon)).find(({ id }) => id === candidate)).toMatchObject({ state: 'shadow' });
  });

  it('answers beside it, also after the daemon was killed, and is promoted by what the channels used', async () => {
    await channels(4);
    const before = (await modelsOf(daemon)).find(({ id }) => id === candidate)!;
    expect(before.state).toBe('shadow');
    expect(before.liveOutcomes).toBe(4);
    await daemon.end('SIGKILL');
    await daemon.start();
    await until(
      async () => (await modelsOf(daemon)).some(({ liveOutcomes }) => liveOutcomes === 4),
      'outcomes read',
    );
    await channelsUntilInUse(candidate);
    const promoted = (await stepsOf(daemon)).at(-1)!;
    expect(promoted).toMatchObject({ kind: 'promoted', modelId: candidate, by: 'shadow' });
    expect(promoted.reason).toMatch(/^promoted: on \d+ outcomes of \d+ live channels it had pinball loss/);
    const { model } = await daemon.client.getModelReport({ modelId: candidate });
    expect(model!.live!.pinball90).toBeLessThan(
      (await modelsOf(daemon)).find(({ id }) => id === POOR)!.live!.pinball90,
    );
  });

  it('is told of by explain, for the channels that it answered', async () => {
    await channels(1);
    const reservation = (await daemon.reservation(`channel-${started - 1}`))!;
    const { decision, modelStep } = await daemon.client.explain({ reservationId: reservation.id });
    expect(decision!.forecast!.modelId).toBe(candidate);
    expect(modelStep).toMatchObject({ kind: 'promoted', by: 'shadow', inUseId: candidate });
  });

  it('is replaced by hand by a worse one, which the alarm takes back and bars', async () => {
    await daemon.client.promoteModel({ modelId: OTHER });
    expect(await inUse(daemon)).toBe(OTHER);
    await channelsUntilInUse(candidate);
    const last = (await stepsOf(daemon)).at(-1)!;
    expect(last).toMatchObject({ kind: 'rolled_back', modelId: OTHER, inUseId: candidate, by: 'alarm' });
    expect(last.reason).toMatch(/^rolled back: on \d+ outcomes .* other is not promoted again$/);
    expect((await modelsOf(daemon)).find(({ id }) => id === OTHER)!.state).toBe('barred');
    expect(daemon.said()).not.toMatch(/"level":(50|60)/);
  });
});

describe('a swap of models under load', { timeout: 120_000 }, () => {
  const daemon = new LiveDaemon(TRIAL);
  beforeAll(async () => {
    beginPoorly(daemon);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('costs no call its answer, and none a pause', async () => {
    const seen = new Map<string, number>();
    let lasted: number[] = [];
    let asking = true;
    const ask = async () => {
      while (asking) {
        const began = performance.now();
        const { decision } = await daemon.client.predict({
          signature: SIGNATURE_MESSAGE,
          channelClass: 'CHANNEL_CLASS_LIVE',
        });
        lasted.push(performance.now() - began);
        expect(decision!.forecast!.source).toBe('FORECAST_SOURCE_LSTM');
        seen.set(decision!.forecast!.modelId, (seen.get(decision!.forecast!.modelId) ?? 0) + 1);
      }
    };
    const callers = Array.from({ length: 6 }, ask);
    await new Promise((done) => setTimeout(done, 3_000));
    const steady = ninetyNinth(lasted);
    lasted = [];
    for (let i = 0; i < 30 || lasted.length < 200; i++) {
      await daemon.client.promoteModel({ modelId: i % 2 === 0 ? OTHER : POOR });
      if (i % 5 === 4) await daemon.client.rollbackModel({});
    }
    asking = false;
    await Promise.all(callers);
    expect([...seen.keys()].sort()).toEqual([OTHER, POOR].sort());
    expect(Math.min(...seen.values())).toBeGreaterThan(5);
    expect(lasted.length).toBeGreaterThan(100);
    // The neighbours of a test are in both.
    expect(ninetyNinth(lasted)).toBeLessThan(3 * steady + 100);
    expect(daemon.said()).not.toMatch(/"level":(40|50|60)/);
  });
});

function ninetyNinth(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(0.99 * (values.length - 1))]!;
}

describe('training by schedule', { timeout: 180_000 }, () => {
  const daemon = new LiveDaemon();
  const configure = (training: string) => {
    const text = readFileSync(daemon.config, 'utf8').split('[training]')[0]!;
    writeFileSync(daemon.config, `${text}\n[training]\n${training}\n`);
  };
  const trainers = () =>
    readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter((pid) => pid !== '')
      .map(Number);
  /** Held as it is, so that it cannot be done before it is stopped. */
  const held = async () => {
    await until(() => trainers().length > 0, 'a training begins', 60_000);
    const [pid] = trainers();
    process.kill(pid!, 'SIGSTOP');
    return pid!;
  };

  beforeAll(async () => {
    configure('interval_ms = 1000\nmin_new_runs = 200\nhost_load = 1');
    beginPoorly(daemon);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('begins by itself when enough runs have come, and stops at once when SIGHUP brings a limit that the host is over', async () => {
    await new Promise((done) => setTimeout(done, 2_500));
    expect(trainers()).toEqual([]);
    await teach(daemon);
    const pid = await held();
    configure('interval_ms = 1000\nmin_new_runs = 200\nhost_load = 0');
    process.kill(daemon.pid, 'SIGHUP');
    const began = performance.now();
    await until(() => trainers().length === 0, 'the training is gone', 15_000);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    await until(async () => (await stepsOf(daemon)).some(({ kind }) => kind === 'skipped'), 'skipped');
    const steps = await stepsOf(daemon);
    expect(steps.find(({ kind }) => kind === 'cancelled')).toMatchObject({
      by: 'schedule',
      reason: expect.stringMatching(
        /^stopped after epoch \d+: the host is \d+ % busy; training\.host_load is 0 %$/,
      ),
    });
    expect(steps.find(({ kind }) => kind === 'skipped')!.reason).toMatch(/^skipped: the host is \d+ % busy/);
  });

  it('goes on when the host has room again, and what came of it is recorded with its data', async () => {
    configure('interval_ms = 1000\nmin_new_runs = 200\nhost_load = 1');
    process.kill(daemon.pid, 'SIGHUP');
    await until(
      async () => (await stepsOf(daemon)).some(({ kind }) => kind === 'trained'),
      'trained',
      60_000,
    );
    const trained = (await stepsOf(daemon)).find(({ kind }) => kind === 'trained')!;
    expect(trained).toMatchObject({ by: 'schedule', seed: 1, data: { runs: 200, sources: 40 } });
    expect(trained.data!.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(trained.scores.map(({ method }) => method)).toEqual(expect.arrayContaining(['lstm', 'incumbent']));
    // No new runs: no training, however short the interval.
    await new Promise((done) => setTimeout(done, 3_000));
    expect((await stepsOf(daemon)).filter(({ kind }) => kind === 'trained')).toHaveLength(1);
  });

  it('makes way for a person who trains', async () => {
    const [candidate] = (await stepsOf(daemon)).filter(({ kind }) => kind === 'trained');
    // Nothing is in shadow any more, and there is something new to learn from.
    await daemon.client.promoteModel({ modelId: candidate!.modelId });
    configure('interval_ms = 1000\nmin_new_runs = 1\nhost_load = 1');
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.client.recordRun({ run: runMessage({ ...RUNS[0]!, id: 'another' }) });
    await held();
    await train(daemon);
    const steps = await stepsOf(daemon);
    const cancelled = steps.filter(({ kind }) => kind === 'cancelled').at(-1)!;
    expect(cancelled).toMatchObject({ by: 'schedule', reason: expect.stringMatching(/: a person trains$/) });
    const trained = steps.filter(({ kind }) => kind === 'trained').at(-1)!;
    expect(trained).toMatchObject({ by: `uid ${process.getuid!()}`, data: { runs: 201 } });
  });

  it('ends with the daemon, however that ends', async () => {
    const training = train(daemon).catch((error: unknown) => error);
    await until(() => trainers().length > 0, 'a training begins', 30_000);
    const [pid] = trainers();
    await daemon.end('SIGKILL');
    await training;
    await until(() => {
      try {
        process.kill(pid!, 0);
        return false;
      } catch {
        return true;
      }
    }, 'the training process is gone');
    await daemon.start();
    expect((await stepsOf(daemon)).length).toBeGreaterThan(2);
  });
});
