import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Decision } from '../../src/balancer/decision.js';
import { configSchema, type TrainingConfig } from '../../src/config/schema.js';
import type { ModelStep } from '../../src/feedback/model-step.js';
import type { HostGlance } from '../../src/feedback/schedule.js';
import { TrainingSchedule } from '../../src/feedback/training-schedule.js';
import type { Run } from '../../src/history/records.js';
import { CorecastError } from '../../src/lib/errors.js';
import { silentLog } from '../../src/lib/log.js';
import { decisionOf, runOf, stillClock, T0 } from '../support/history.js';

const CHECK_MS = 30_000;

let dir: string;
let clock: ReturnType<typeof stillClock>;
let config: TrainingConfig;
let host: HostGlance;
let occupied: string;
let runs: Run[];
let recorded: Omit<ModelStep, 'atMs'>[];
let trainings: { signal: AbortSignal; end: () => void; fail: (error: Error) => void }[];
let checks: number;
let schedule: TrainingSchedule;

beforeEach(() => {
  vi.useFakeTimers();
  dir = mkdtempSync(join(tmpdir(), 'corecast-schedule-'));
  clock = stillClock();
  config = { ...configSchema.parse({}).training, min_new_runs: 3 };
  host = { admissionClosed: '', busy: 0.1, queued: 0, starting: 0 };
  occupied = '';
  runs = [];
  recorded = [];
  trainings = [];
  checks = 0;
  schedule = make();
});

afterEach(async () => {
  for (const { end } of trainings) end();
  await schedule.stop();
  vi.useRealTimers();
  rmSync(dir, { recursive: true, force: true });
});

function make(): TrainingSchedule {
  return new TrainingSchedule({
    clock,
    config: () => config,
    host: () => host,
    occupied: () => occupied,
    history: {
      async *runs({ sinceMs = 0 } = {}) {
        yield* runs.filter(({ startedMs }) => startedMs >= sinceMs);
      },
    },
    checkpointFile: join(dir, 'checkpoint'),
    train: (signal) =>
      new Promise((resolve, reject) => {
        trainings.push({ signal, end: resolve, fail: reject });
        signal.addEventListener('abort', () => reject(new CorecastError('CANCELLED', String(signal.reason))));
      }),
    record: async (step) => void recorded.push(step),
    onCheck: () => void checks++,
    log: silentLog,
  });
}

async function pass(ms: number): Promise<void> {
  clock.wallMs += ms;
  await vi.advanceTimersByTimeAsync(ms);
}

function enoughRuns(): void {
  for (let i = 0; i < 3; i++) schedule.onRun();
}

const step = (kind: ModelStep['kind'], by: string, atMs: number): ModelStep => ({
  atMs,
  kind,
  by,
  model: '',
  reason: '',
});

describe('the training schedule', () => {
  it('trains once enough runs have come, and again an interval later with as many more', async () => {
    await schedule.start([]);
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(0);
    enoughRuns();
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
    await pass(10 * CHECK_MS);
    expect(trainings).toHaveLength(1);
    enoughRuns();
    trainings[0]!.end();
    await pass(0);
    await pass(config.interval_ms - CHECK_MS);
    expect(trainings).toHaveLength(1);
    await pass(2 * CHECK_MS);
    expect(trainings).toHaveLength(2);
    expect(checks).toBeGreaterThan(10);
  });

  it('goes by the runs and trainings of before a restart', async () => {
    runs = [T0 - 5_000, T0 - 4_000, T0 - 3_000].map((startedMs, i) => runOf(`r${i}`, startedMs));
    await schedule.start([step('trained', 'uid 0', T0 - config.interval_ms - 10_000)]);
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
    const other = make();
    await other.start([step('trained', 'schedule', T0 - 60_000), step('failed', 'uid 0', T0 - 50_000)]);
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
    await other.stop();
  });

  it('goes on with a training that a killed daemon left, however few runs came since', async () => {
    writeFileSync(join(dir, 'checkpoint'), 'x');
    await schedule.start([]);
    clock.wallMs = Date.now();
    await pass(600_000 + CHECK_MS);
    expect(trainings).toHaveLength(1);
  });

  it('records why it was skipped once, and again only for another reason or an hour later', async () => {
    await schedule.start([]);
    enoughRuns();
    host = { ...host, busy: 0.9 };
    await pass(20 * CHECK_MS);
    expect(recorded).toEqual([
      {
        kind: 'skipped',
        model: '',
        by: 'schedule',
        reason: 'skipped: the host is 90 % busy; training.host_load is 60 %',
      },
    ]);
    host = { ...host, busy: 0.1, starting: 2 };
    await pass(2 * CHECK_MS);
    expect(recorded.map(({ reason }) => reason)).toHaveLength(2);
    await pass(3_600_000 + CHECK_MS);
    expect(recorded).toHaveLength(3);
    host = { ...host, starting: 0 };
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
    expect(recorded).toHaveLength(3);
  });

  it.each<[string, () => void, string]>([
    [
      'the host gets busy',
      () => {
        host = { ...host, busy: 0.95 };
        schedule.onTick();
      },
      'the host is 95 % busy; training.host_load is 60 %',
    ],
    [
      'admission is closed',
      () => {
        host = { ...host, admissionClosed: 'channels fall behind' };
        schedule.onTick();
      },
      'admission is closed: channels fall behind',
    ],
    [
      'a channel is refused for want of room',
      () => schedule.onDecision(refused('CPU_SHORT')),
      'a channel was refused: no',
    ],
    [
      'it is switched off',
      () => {
        config = { ...config, schedule: false };
        schedule.onTick();
      },
      'training.schedule was switched off',
    ],
  ])('stops a training at once when %s, and goes on ten minutes later', async (_, happens, why) => {
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    expect(trainings[0]!.signal.aborted).toBe(false);
    happens();
    expect(trainings[0]!.signal.aborted).toBe(true);
    expect(trainings[0]!.signal.reason).toBe(why);
    host = { admissionClosed: '', busy: 0.1, queued: 0, starting: 0 };
    config = { ...config, schedule: true };
    await pass(0);
    await pass(600_000 - CHECK_MS);
    expect(trainings).toHaveLength(1);
    await pass(2 * CHECK_MS);
    expect(trainings).toHaveLength(2);
  });

  it('lets a training go on through what is not want of room', async () => {
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    schedule.onDecision(refused('TOO_LARGE'));
    schedule.onDecision(decisionOf('d', 'r'));
    schedule.onTick();
    expect(trainings[0]!.signal.aborted).toBe(false);
  });

  it('tries one that failed again only when an interval has passed and more runs have come', async () => {
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    trainings[0]!.fail(new CorecastError('WRONG_STATE', 'the history has 3 usable runs'));
    await pass(0);
    await pass(config.interval_ms + CHECK_MS);
    expect(trainings).toHaveLength(1);
    enoughRuns();
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(2);
  });

  it('follows a changed configuration: off, on, its hours', async () => {
    config = { ...config, schedule: false };
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(0);
    const hour = new Date(clock.nowMs()).getHours();
    config = { ...config, schedule: true, hours: String((hour + 5) % 24) };
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(0);
    config = { ...config, hours: '0-23' };
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
  });

  it('does not begin beside another training or a candidate in shadow', async () => {
    occupied = 'lstm-1 is in shadow';
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(0);
    expect(recorded).toEqual([]);
    occupied = '';
    await pass(CHECK_MS);
    expect(trainings).toHaveLength(1);
  });

  it('stops a training with the daemon, and begins none after', async () => {
    await schedule.start([]);
    enoughRuns();
    await pass(CHECK_MS);
    await schedule.stop();
    expect(trainings[0]!.signal.reason).toBe('the daemon stops');
    await pass(86_400_000 * 2);
    expect(trainings).toHaveLength(1);
  });
});

function refused(code: Decision['reasons'][number]['code']): Decision {
  const reasons = [{ code, text: 'no', needed: 2, available: 1, unit: 'cpus', passed: false } as const];
  return { ...decisionOf('d', ''), outcome: 'REFUSED', reasons };
}
