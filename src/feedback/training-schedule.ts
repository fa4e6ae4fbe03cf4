import { stat } from 'node:fs/promises';
import type { Decision, ReasonCode } from '../balancer/decision.js';
import type { TrainingConfig } from '../config/schema.js';
import type { History } from '../history/history.js';
import type { Clock } from '../lib/clock.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { ModelStep } from './model-step.js';
import { type HostGlance, tightness, trainingTurn } from './schedule.js';

export interface TrainingScheduleOptions {
  readonly clock: Clock;
  readonly config: () => TrainingConfig;
  readonly host: () => HostGlance;
  /** Why no training may begin whatever the host does; empty: nothing. */
  readonly occupied: () => string;
  readonly history: Pick<History, 'runs'>;
  readonly checkpointFile: string;
  /** One training, recorded as by schedule. Rejects with CANCELLED when the signal aborts. */
  readonly train: (signal: AbortSignal) => Promise<void>;
  readonly record: (step: Omit<ModelStep, 'atMs'>) => Promise<void>;
  /** Called at every check: trials end by time, too. */
  readonly onCheck: () => void;
  readonly log: Log;
}

const SLOWEST_CHECK_MS = 30_000;
const FASTEST_CHECK_MS = 1_000;
/** The same reason for not training is recorded again after this long. */
const REPEAT_SKIP_MS = 3_600_000;
/** Refusals that CPUs or memory which a training uses could have had a part in. */
const OF_ROOM: readonly ReasonCode[] = [
  'CPU_SHORT',
  'NO_PLACEMENT',
  'HOST_LOAD',
  'MEMORY',
  'QUEUE_AHEAD',
  'QUEUE_FULL',
  'ADMISSION_CLOSED',
];

/**
 * Trains when schedule.ts says so and stops at once when channels need the host; what was learnt by then is kept in the
 * checkpoint, and the next one goes on from it.
 */
export class TrainingSchedule {
  readonly #options: TrainingScheduleOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  #stopped = false;
  #endedMs: number | undefined;
  #stoppedMs: number | undefined;
  #newRuns = 0;
  #skipped = { code: '', atMs: 0 };

  constructor(options: TrainingScheduleOptions) {
    this.#options = options;
  }

  /** `steps`: what was recorded before. */
  async start(steps: readonly ModelStep[]): Promise<void> {
    const ended = steps.findLast(
      ({ kind, by }) => kind === 'trained' || (kind === 'failed' && by === 'schedule'),
    );
    this.#endedMs = ended?.atMs;
    this.#stoppedMs = await this.#interruptedMs();
    this.#plan();
    await this.#countRuns(ended?.atMs ?? 0);
  }

  /** The history has another run. */
  onRun(): void {
    this.#newRuns++;
  }

  /** At every tick of the monitor. */
  onTick(): void {
    if (this.#running === undefined) return;
    const tight = tightness(this.#options.host(), this.#options.config());
    if (tight !== undefined) this.#cancel(tight.reason);
    else if (!this.#options.config().schedule) this.#cancel('training.schedule was switched off');
  }

  /** At every decision: a training stops before the next tick would see why. */
  onDecision({ outcome, reasons }: Decision): void {
    if (this.#running === undefined || outcome === 'ACCEPTED') return;
    const lacking = reasons.find(({ code, passed }) => !passed && OF_ROOM.includes(code));
    if (lacking !== undefined) this.#cancel(`a channel was ${outcome.toLowerCase()}: ${lacking.text}`);
  }

  /** A person wants to train: a training under way stops, and theirs can go on from its checkpoint. */
  async giveWay(): Promise<void> {
    this.#cancel('a person trains');
    await this.#running?.done;
  }

  /** Somebody else trained: the next one is due an interval later. */
  trained(): void {
    this.#ended(this.#newRuns);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#cancel('the daemon stops');
    await this.#running?.done;
  }

  #plan(): void {
    if (this.#stopped) return;
    const { interval_ms } = this.#options.config();
    const everyMs = Math.min(SLOWEST_CHECK_MS, Math.max(FASTEST_CHECK_MS, interval_ms / 10));
    this.#timer = setTimeout(() => {
      this.#check().catch((error) => this.#options.log.error({ err: error }, 'the training schedule failed'));
      this.#plan();
    }, everyMs).unref();
  }

  async #check(): Promise<void> {
    const { clock, config, host, occupied, onCheck } = this.#options;
    onCheck();
    const nowMs = clock.nowMs();
    const turn = trainingTurn({
      nowMs,
      hour: new Date(nowMs).getHours(),
      config: config(),
      host: host(),
      endedMs: this.#endedMs,
      stoppedMs: this.#stoppedMs,
      newRuns: this.#newRuns,
      occupied: this.#running === undefined ? occupied() : 'a training is under way',
    });
    if (turn.turn === 'train') this.#train();
    else if (turn.turn === 'skip') await this.#skip(turn.code, turn.reason, nowMs);
  }

  #train(): void {
    const abort = new AbortController();
    const done = this.#trainUntil(abort.signal).finally(() => {
      this.#running = undefined;
    });
    this.#running = { abort, done };
    this.#skipped = { code: '', atMs: 0 };
  }

  /** Never rejects: what became of it is recorded by whoever trains. */
  async #trainUntil(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const runsBefore = this.#newRuns;
    try {
      await this.#options.train(signal);
      this.#ended(runsBefore);
    } catch (error) {
      if (isCorecastError(error, 'CANCELLED')) {
        this.#stoppedMs = clock.nowMs();
        return;
      }
      log.warn({ error: messageOf(error) }, 'a scheduled training failed');
      this.#ended(runsBefore);
    }
  }

  /** Runs that came while it trained are for the next one. */
  #ended(runs: number): void {
    this.#endedMs = this.#options.clock.nowMs();
    this.#stoppedMs = undefined;
    this.#newRuns -= runs;
  }

  #cancel(why: string): void {
    if (this.#running === undefined || this.#running.abort.signal.aborted) return;
    this.#options.log.info({ why }, 'the training stops: channels come first');
    this.#running.abort.abort(why);
  }

  async #skip(code: string, reason: string, nowMs: number): Promise<void> {
    if (code === this.#skipped.code && nowMs - this.#skipped.atMs < REPEAT_SKIP_MS) return;
    this.#skipped = { code, atMs: nowMs };
    await this.#options.record({ kind: 'skipped', model: '', by: 'schedule', reason });
  }

  /** Of a training that a killed daemon left behind. */
  async #interruptedMs(): Promise<number | undefined> {
    try {
      return Math.round((await stat(this.#options.checkpointFile)).mtimeMs);
    } catch {
      return undefined;
    }
  }

  /** Counts no further than matters: runs are large. */
  async #countRuns(sinceMs: number): Promise<void> {
    try {
      for await (const _ of this.#options.history.runs({ sinceMs })) {
        this.#newRuns++;
        if (this.#stopped || this.#newRuns >= this.#options.config().min_new_runs) return;
      }
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'the new runs of the history cannot be counted');
    }
  }
}
