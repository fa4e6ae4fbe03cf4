import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { MOST_ROWS } from '../../src/feedback/dataset.js';
import { makeModel, type TrainingJob } from '../../src/feedback/model-maker.js';
import { type TrainEvent, type TrainOptions, trainCandidate } from '../../src/feedback/train.js';
import { runTraining, type TrainingMessage } from '../../src/feedback/training-run.js';
import { checkModelCard } from '../../src/forecast/model-card.js';
import { type ModelRegistry, openRegistry } from '../../src/forecast/registry.js';
import type { Run } from '../../src/history/records.js';
import { systemClock } from '../../src/lib/clock.js';
import { CorecastError, isCorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import { buildTrainer } from '../support/build-trainer.js';
import { type MadeModel, writeModelFolder } from '../support/forecast-models.js';
import { madeRuns } from '../support/training-runs.js';

// At idle priority a child waits for every neighbour.
vi.setConfig({ testTimeout: 120_000 });

const RUNS = madeRuns({ seed: 1, sources: 8, runsPerSource: 5, samples: 16 });
/** Enough unseen sources for a verdict that is no luck. */
const MANY = madeRuns({ seed: 2, sources: 30, runsPerSource: 3, samples: 16 });
/** The table that runs are made from is hard to beat on so few: here it is wrong about small pictures. */
const ODD = MANY.map((run) => times(run, run.signature.outputs[0]!.width < 1000 ? 2.5 : 1));
const FOREVER = 1_000_000;
const JOB: TrainingJob = { seed: 1, maxEpochs: 5, origin: 'history', trainedMs: 1_760_000_000_000 };

let built: ReturnType<typeof buildTrainer>;
let folder: string;
beforeAll(() => {
  built = buildTrainer();
}, 120_000);
afterAll(() => built.remove());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'corecast-training-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a training run in a child process', () => {
  it('reports every epoch and hands back the model', async () => {
    const messages = await all(run());
    expect(messages.map(({ kind }) => kind)).toEqual(['data', ...new Array(5).fill('epoch'), 'trained']);
    for (const message of messages) {
      if (message.kind !== 'epoch') continue;
      expect(message.trainingLoss).toBeGreaterThan(0);
      expect(message.validationLoss).toBeGreaterThan(0);
      expect(message.remainingSeconds).toBeGreaterThanOrEqual(0);
    }
    const last = messages.at(-1)!;
    if (last.kind !== 'trained') throw new Error('unreachable');
    expect(() => checkModelCard(last.model.card, 'test')).not.toThrow();
    expect(last.model.onnx.byteLength).toBeGreaterThan(50_000);
  });

  it('runs at idle priority on the CPUs it was given, and nowhere else', async () => {
    const cpu = hostAddon().getThreadAffinity(0)[0]!;
    const before = children();
    const training = run({ job: { ...JOB, maxEpochs: FOREVER }, housekeeping: [cpu] });
    await training.next();
    const [pid] = children().filter((child) => !before.includes(child));
    for (const thread of hostAddon().getProcessAffinity(pid!)) expect(thread.cpus).toEqual([cpu]);
    // Field 41 of /proc/PID/stat is the policy: 5 is SCHED_IDLE; field 19 the nice value.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    expect(fields[41 - 3] === '5' || fields[19 - 3] === '19').toBe(true);
    await training.return(undefined);
    expect(children()).toEqual(before);
  });

  it('is killed by its signal, at once', async () => {
    const before = children();
    const abort = new AbortController();
    const training = run({ job: { ...JOB, maxEpochs: FOREVER }, signal: abort.signal });
    await training.next();
    setTimeout(() => abort.abort(), 20);
    const error = await all(training).catch((thrown: unknown) => thrown);
    expect(isCorecastError(error, 'CANCELLED')).toBe(true);
    expect(children()).toEqual(before);
  });

  it('does not start when the signal came first', async () => {
    const before = children();
    const error = await all(run({ signal: AbortSignal.abort() })).catch((thrown: unknown) => thrown);
    expect(isCorecastError(error, 'CANCELLED')).toBe(true);
    expect(children()).toEqual(before);
  });

  it('closes the iterator of runs when it is cancelled while reading them', async () => {
    const abort = new AbortController();
    let closed = false;
    async function* endless(): AsyncGenerator<Run> {
      try {
        for (let i = 0; ; i++) {
          if (i === 100) abort.abort();
          yield RUNS[i % RUNS.length]!;
        }
      } finally {
        closed = true;
      }
    }
    const error = await all(run({ runs: endless(), signal: abort.signal })).catch(
      (thrown: unknown) => thrown,
    );
    expect(isCorecastError(error, 'CANCELLED')).toBe(true);
    expect(closed).toBe(true);
  });

  it('says so when the child is killed by somebody else', async () => {
    const before = children();
    const training = run({ job: { ...JOB, maxEpochs: FOREVER } });
    await training.next();
    const [pid] = children().filter((child) => !before.includes(child));
    process.kill(pid!, 'SIGKILL');
    await expect(all(training)).rejects.toThrow(/the trainer ended with SIGKILL/);
  });

  it('says what the child said when it cannot start', async () => {
    await expect(all(run({ childFile: join(folder, 'missing.js') }))).rejects.toThrow(
      /the trainer ended with 1.*missing\.js/s,
    );
  });

  it('passes on what reading the runs threw', async () => {
    async function* broken(): AsyncGenerator<Run> {
      yield* RUNS.slice(0, 40);
      throw new CorecastError('STORE_DAMAGED', 'the disk is on fire');
    }
    const error = await all(run({ runs: broken() })).catch((thrown: unknown) => thrown);
    expect(isCorecastError(error, 'STORE_DAMAGED')).toBe(true);
  });

  it('says how many runs there are and how many are needed', async () => {
    const error = await all(run({ runs: RUNS.slice(0, 7) })).catch((thrown: unknown) => thrown);
    if (!isCorecastError(error, 'WRONG_STATE')) throw error;
    expect(error.message).toContain('7 usable runs, training needs 20');
    expect(error.details.metadata).toMatchObject({ runs: '7', runsNeeded: '20' });
  });
});

describe('training on the history', () => {
  it('installs what it trained, and says whether it is better', async () => {
    const registry = await registryAt();
    const first = await trained({ registry, maxEpochs: 40 });
    expect(first.verdict.reason).toMatch(/^pinball loss/);
    expect(registry.inUse()).toBeUndefined();
    expect((await registry.list()).map(({ card }) => card.id)).toEqual([first.model.card.id]);
    expect(await registry.evidence(first.model.card.id)).toEqual(first.model.evidence);
    registry.close();
  });

  it('beats a model that no longer fits, and says by how much', async () => {
    const baseline = await makeModel(
      ODD.map((run) => times(run, 0.5)),
      { ...JOB, maxEpochs: 30, origin: 'baseline' },
      { onEpoch: async () => undefined },
    );
    const registry = await registryAt(baseline);
    const { verdict, model } = await trained({ registry, runs: stream(ODD), maxEpochs: 150 });
    expect(verdict.reason).toMatch(/^pinball loss [\d.]+ and coverage \d+ % against pinball loss/);
    expect(verdict.better).toBe(true);
    expect(registry.inUse()?.card.id).toBe(baseline.card.id);
    const methods = model.card.scores.map(({ method }) => method);
    expect(methods).toEqual(expect.arrayContaining(['lstm', 'incumbent', 'incumbent_running']));
    // Trained again at once from its own weights, nothing is gained.
    await registry.promote(model.card.id);
    const again = await trained({ registry, runs: stream(ODD), maxEpochs: 1 });
    expect(again.verdict.better).toBe(false);
    // One that was taken back is never better again, whatever it scores.
    await registry.rollback({ bar: true, reason: 'rolled back: worse' });
    const barred = await trained({ registry, runs: stream(ODD), maxEpochs: 150 });
    expect(barred.model.card.id).toBe(model.card.id);
    expect(barred.verdict).toEqual({
      better: false,
      reason: 'it was in use before and was rolled back: worse',
    });
    registry.close();
  });

  it('refuses a second training while one is under way, and allows it afterwards', async () => {
    const registry = await registryAt();
    const abort = new AbortController();
    const first = trainCandidate(optionsFor({ registry, maxEpochs: FOREVER, signal: abort.signal }));
    await first.next();
    const error = await all(trainCandidate(optionsFor({ registry }))).catch((thrown: unknown) => thrown);
    expect(isCorecastError(error, 'MODEL_BUSY')).toBe(true);
    abort.abort();
    const cancelled = await all(first).catch((thrown: unknown) => thrown);
    expect(isCorecastError(cancelled, 'CANCELLED')).toBe(true);
    expect((await trained({ registry, maxEpochs: 1 })).model.card.origin).toBe('history');
    registry.close();
  });
});

describe('a training that was killed', () => {
  it('is gone on from where it was, and ends in the same model as one that was not', async () => {
    const checkpointFile = join(folder, 'training', 'checkpoint');
    const registry = await registryAt();
    const whole = await trained({ registry, runs: stream(MANY), maxEpochs: 300 });
    const more: Run = { ...MANY[0]!, id: 'later', startedMs: Date.now() - 1_000 };
    const killed = trainCandidate(
      optionsFor({ registry, runs: stream(MANY), maxEpochs: 300, checkpointFile, checkpointMs: 0 }),
    );
    const before = children();
    for await (const _ of killed) {
      if (!existsSync(checkpointFile)) continue;
      for (const pid of children().filter((child) => !before.includes(child))) process.kill(pid, 'SIGKILL');
      break;
    }
    // Runs that came meanwhile wait for the next training.
    const events = await all(
      trainCandidate(
        optionsFor({
          registry,
          runs: stream([...MANY, more]),
          maxEpochs: 300,
          checkpointFile,
          checkpointMs: 0,
        }),
      ),
    );
    const [data] = events;
    if (data?.kind !== 'data') throw new Error(`expected data first, got ${data?.kind}`);
    expect(data.resumedAfter).toBeGreaterThan(0);
    const epochs = events.filter(({ kind }) => kind === 'epoch');
    const resumed = candidateOf(events);
    expect(resumed.model.card.id).toBe(whole.model.card.id);
    expect(resumed.model.evidence).toEqual({
      ...whole.model.evidence,
      resumedAfter: [data.resumedAfter],
    });
    expect(epochs.length + data.resumedAfter).toBe(whole.model.evidence.curve.length);
    expect(existsSync(checkpointFile)).toBe(false);
    registry.close();
  });

  it.each<[string, (file: string) => void, Partial<TrainOptions>]>([
    ['its checkpoint is damaged', (file) => truncateSync(file, 5_000), {}],
    ['another seed is asked for', () => {}, { seed: 2 }],
    ['other epochs are asked for', () => {}, { maxEpochs: 3 }],
    ['there are other runs', () => {}, { runs: stream(MANY.slice(0, 80)) }],
    ['it is asked to', () => {}, { fromScratch: true }],
  ])('begins anew when %s', async (_, spoil, change) => {
    const checkpointFile = join(folder, 'checkpoint');
    const registry = await registryAt();
    const killed = trainCandidate(
      optionsFor({ registry, runs: stream(MANY), maxEpochs: 2, checkpointFile, checkpointMs: 0 }),
    );
    for await (const _event of killed) if (existsSync(checkpointFile)) break;
    spoil(checkpointFile);
    const events = await all(
      trainCandidate(
        optionsFor({
          registry,
          runs: stream(MANY),
          maxEpochs: 2,
          checkpointFile,
          checkpointMs: 0,
          ...change,
        }),
      ),
    );
    expect(events[0]).toMatchObject({ kind: 'data', resumedAfter: 0 });
    expect(candidateOf(events).model.evidence.curve[0]!.epoch).toBe(1);
    registry.close();
  });
});

it('a training that has used up its time ends with the best it has', async () => {
  const registry = await registryAt();
  const budgetMs = 300;
  const began = performance.now();
  const { budgetSpent, model } = await trained({
    registry,
    runs: stream(MANY),
    maxEpochs: FOREVER,
    budgetMs,
  });
  expect(budgetSpent).toBe(true);
  expect(performance.now() - began).toBeGreaterThan(budgetMs);
  const losses = model.evidence.curve.map(({ validationLoss }) => validationLoss!);
  expect(model.evidence.keptEpoch).toBe(losses.indexOf(Math.min(...losses)) + 1);
  registry.close();
});

it('a training on as many rows as a dataset keeps takes less than 400 MB', async () => {
  const some = madeRuns({ seed: 2, sources: 50, runsPerSource: 4, samples: 60 });
  function* many(): Generator<Run> {
    // 24 rows each: 48,000 of them for 40,000 places.
    for (let i = 0; i < 2_000; i++) {
      const round = Math.floor(i / some.length);
      const made = some[i % some.length]!;
      const startedMs = some[0]!.startedMs + i * 600_000;
      yield { ...made, id: `${made.id}-${round}`, source: `${made.source}-${round}`, startedMs };
    }
  }
  let pid = 0;
  let peakMb = 0;
  let rows = 0;
  const training = run({
    runs: many(),
    job: { ...JOB, maxEpochs: 2 },
    onProcess: (child) => {
      pid = child ?? pid;
    },
  });
  // The high-water mark stands until the process is gone.
  const watch = setInterval(() => {
    peakMb = Math.max(peakMb, peakOf(pid));
  }, 50);
  for await (const message of training) {
    peakMb = Math.max(peakMb, peakOf(pid));
    if (message.kind !== 'data') continue;
    const { training: own, validation, test } = message.data;
    rows = own.rows + validation.rows + test.rows;
  }
  clearInterval(watch);
  expect(rows).toBe(MOST_ROWS);
  expect(peakMb).toBeGreaterThan(100);
  expect(peakMb).toBeLessThan(400);
});

function peakOf(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function run(change: Partial<Parameters<typeof runTraining>[0]> = {}) {
  return runTraining({
    runs: RUNS,
    job: JOB,
    housekeeping: [],
    signal: new AbortController().signal,
    childFile: built.file('feedback/trainer-child.js'),
    ...change,
  });
}

function optionsFor(change: Partial<TrainOptions> & { registry: ModelRegistry }): TrainOptions {
  return {
    runs: stream(RUNS),
    seed: 1,
    maxEpochs: 5,
    signal: new AbortController().signal,
    housekeeping: [],
    clock: systemClock,
    childFile: built.file('feedback/trainer-child.js'),
    ...change,
  };
}

async function trained(change: Partial<TrainOptions> & { registry: ModelRegistry }) {
  return candidateOf(await all(trainCandidate(optionsFor(change))));
}

function candidateOf(events: readonly TrainEvent[]) {
  const last = events.at(-1);
  if (last?.kind !== 'candidate') throw new Error(`expected a candidate last, got ${last?.kind}`);
  return last;
}

function registryAt(baseline?: MadeModel): Promise<ModelRegistry> {
  const at = join(folder, 'baseline');
  if (baseline !== undefined) writeModelFolder(at, baseline);
  return openRegistry({ directory: join(folder, 'models'), baseline: at, clock: systemClock });
}

function times(run: Run, factor: number): Run {
  const samples = run.samples.map((each) => ({ ...each, demandCores: each.demandCores * factor }));
  return { ...run, samples };
}

async function* stream(runs: readonly Run[]): AsyncGenerator<Run> {
  yield* runs;
}

async function all<T extends TrainingMessage | TrainEvent>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Pids of this process's own children. */
function children(): number[] {
  return readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => pid !== '')
    .map(Number);
}
