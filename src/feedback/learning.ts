import { join } from 'node:path';
import type { Decision } from '../balancer/decision.js';
import type { TrainingConfig } from '../config/schema.js';
import type { HostState } from '../forecast/forecast.js';
import type { HostForecaster } from '../forecast/forecaster.js';
import type { ModelRegistry } from '../forecast/registry.js';
import type { History } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { ModelInfo, TrainCall, TrainingProgress } from '../rpc/control.js';
import type { HorizonObserved } from './channel-record.js';
import { ModelLife } from './model-life.js';
import type { StepKind } from './model-step.js';
import type { HostGlance } from './schedule.js';
import { type Candidate, DEFAULT_EPOCHS, isTraining, trainCandidate } from './train.js';
import { TrainingSchedule } from './training-schedule.js';

export interface LearningOptions {
  /** `<state>/models`. */
  readonly directory: string;
  readonly registry: ModelRegistry;
  readonly history: Pick<History, 'runs'>;
  readonly forecaster: Pick<HostForecaster, 'forecastBy' | 'observe'>;
  readonly clock: Clock;
  readonly config: () => TrainingConfig;
  readonly host: () => HostGlance;
  readonly housekeeping: () => readonly number[];
  readonly schedulableCpus: () => number;
  readonly log: Log;
  readonly onStep?: (kind: StepKind) => void;
  /** The training process, while there is one. */
  readonly onTrainer?: (pid: number | undefined) => void;
  /** For tests: the compiled trainer-child.js. */
  readonly childFile?: string;
}

/** Training would be a neighbour of what calibration measures; its runs come every few seconds. */
const CALIBRATION_PAUSE_MS = 20_000;

/**
 * The last step of the loop, put together: trainings by command and by schedule, candidates beside the model in use,
 * promotions and rollbacks by person, trial and alarm, each recorded.
 */
export class Learning {
  readonly life: ModelLife;
  readonly #options: LearningOptions;
  readonly #schedule: TrainingSchedule;
  readonly #checkpointFile: string;
  #calibratedMs = 0;

  constructor(options: LearningOptions) {
    this.#options = options;
    this.#checkpointFile = join(options.directory, '.training', 'checkpoint');
    this.life = new ModelLife(options);
    const { clock, config, host, history, log } = options;
    this.#schedule = new TrainingSchedule({
      clock,
      config,
      host,
      history,
      log,
      checkpointFile: this.#checkpointFile,
      occupied: () => this.#occupied(),
      train: (signal) => this.#bySchedule(signal),
      record: (step) => this.life.record(step),
      onCheck: () => void this.life.review(),
    });
  }

  /** Reads what was before; nobody needs to wait for it. */
  async start(): Promise<void> {
    await this.life.start();
    await this.#schedule.start(this.life.steps());
  }

  async stop(): Promise<void> {
    await this.#schedule.stop();
    await this.life.stop();
  }

  /** `by`: who is recorded. The last message says what comes next of the candidate. */
  async *train(call: TrainCall, by: string, signal: AbortSignal): AsyncGenerator<TrainingProgress> {
    await this.#schedule.giveWay();
    const progress = yield* this.#train(call, by, signal, undefined);
    this.#schedule.trained();
    yield progress;
  }

  admitted(decision: Decision, host: readonly HostState[]): void {
    this.life.admitted(decision, host);
    this.#schedule.onDecision(decision);
  }

  observed(observed: HorizonObserved): void {
    this.life.observed(observed);
  }

  onRun({ origin }: Run): void {
    if (origin === 'calibration') this.#calibratedMs = this.#options.clock.nowMs();
    this.#schedule.onRun();
  }

  onTick(): void {
    this.#schedule.onTick();
  }

  /** Yields all but the last message, which it returns. */
  async *#train(
    call: TrainCall,
    by: string,
    signal: AbortSignal,
    budgetMs: number | undefined,
  ): AsyncGenerator<TrainingProgress, TrainingProgress> {
    const maxEpochs = call.maxEpochs || DEFAULT_EPOCHS;
    let last: Omit<TrainingProgress, 'result'> = {
      epoch: 0,
      maxEpochs,
      trainingLoss: 0,
      validationLoss: 0,
      remainingSeconds: 0,
      resumedEpochs: 0,
    };
    try {
      for await (const event of this.#events({ ...call, maxEpochs }, signal, budgetMs)) {
        if (event.kind === 'candidate') {
          const result = await this.#place(event, by, call);
          return { ...last, remainingSeconds: 0, result };
        }
        if (event.kind === 'data') last = { ...last, resumedEpochs: event.resumedAfter };
        else {
          const { kind: _, epochs, ...epoch } = event;
          last = { ...last, ...epoch, maxEpochs: epochs };
        }
        yield last;
      }
      throw new Error('the training ended without a model');
    } catch (error) {
      await this.#recordFailure(error, by, call.seed, last.epoch, signal);
      throw error;
    }
  }

  #events(call: TrainCall, signal: AbortSignal, budgetMs: number | undefined) {
    const { history, registry, clock, housekeeping, onTrainer, childFile } = this.#options;
    return trainCandidate({
      runs: history.runs(),
      registry,
      seed: call.seed,
      maxEpochs: call.maxEpochs,
      signal,
      housekeeping: housekeeping(),
      clock,
      checkpointFile: this.#checkpointFile,
      fromScratch: call.fromScratch,
      ...(budgetMs === undefined ? {} : { budgetMs }),
      ...(onTrainer === undefined ? {} : { onProcess: onTrainer }),
      ...(childFile === undefined ? {} : { childFile }),
    });
  }

  async #place(
    { model, scores, verdict, budgetSpent }: Candidate,
    by: string,
    call: TrainCall,
  ): Promise<NonNullable<TrainingProgress['result']>> {
    const { id, seed } = model.card;
    const { data, keptEpoch } = model.evidence;
    const spent = budgetSpent ? `; its time budget ended it, epoch ${keptEpoch} kept` : '';
    await this.life.record({
      kind: 'trained',
      model: id,
      by,
      reason: `${verdict.better ? 'better' : 'not better'}: ${verdict.reason}${spent}`,
      seed,
      scores: [...scores],
      data: {
        hash: data.hash,
        fromMs: Math.min(data.training.fromMs, data.validation.fromMs, data.test.fromMs),
        toMs: Math.max(data.training.toMs, data.validation.toMs, data.test.toMs),
        runs: data.training.runs + data.validation.runs + data.test.runs,
        sources: data.training.sources + data.validation.sources + data.test.sources,
      },
    });
    const { next, reason } = await this.life.place(id, verdict, by, call.promotion);
    return { model: await this.#infoOf(id, model.card), promoted: next === 'promoted', reason, next };
  }

  /** One that ended at the model in use was not installed again. */
  async #infoOf(id: string, card: ModelInfo['card']): Promise<ModelInfo> {
    const listed = (await this.life.models()).find((model) => model.card.id === id);
    return listed ?? { card, inUse: false };
  }

  async #recordFailure(
    error: unknown,
    by: string,
    seed: number,
    epoch: number,
    signal: AbortSignal,
  ): Promise<void> {
    if (isCorecastError(error, 'MODEL_BUSY')) return;
    const cancelled = isCorecastError(error, 'CANCELLED');
    const why = typeof signal.reason === 'string' ? signal.reason : 'the caller stopped it';
    await this.life.record({
      kind: cancelled ? 'cancelled' : 'failed',
      model: '',
      by,
      seed,
      reason: cancelled ? `stopped after epoch ${epoch}: ${why}` : messageOf(error),
    });
  }

  async #bySchedule(signal: AbortSignal): Promise<void> {
    const call: TrainCall = { seed: 1, maxEpochs: 0, promotion: 'shadow', fromScratch: false };
    const { time_budget_ms } = this.#options.config();
    for await (const _ of this.#train(call, 'schedule', signal, time_budget_ms));
  }

  #occupied(): string {
    const { registry, clock } = this.#options;
    if (isTraining(registry)) return 'a training is under way';
    if (clock.nowMs() - this.#calibratedMs < CALIBRATION_PAUSE_MS) return 'a calibration is under way';
    const shadow = registry.trials().find(({ kind }) => kind === 'shadow');
    return shadow === undefined ? '' : `${shadow.id} is in shadow`;
  }
}
