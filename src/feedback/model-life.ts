import type { Decision } from '../balancer/decision.js';
import type { HostState } from '../forecast/forecast.js';
import type { ModelScore } from '../forecast/network.js';
import type { ListedModel, ModelRegistry, Trial } from '../forecast/registry.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { JsonLines } from '../lib/json-lines.js';
import type { ModelInfo, ModelReport } from '../rpc/control.js';
import type { HorizonObserved } from './channel-record.js';
import type { LearningOptions } from './learning.js';
import { type ModelStep, openModelSteps } from './model-step.js';
import { openOutcomes } from './outcome.js';
import type { Verdict } from './promotion.js';
import type { TrialVerdict } from './promotion-trial.js';
import { Trials } from './trials.js';

export type ModelLifeOptions = Pick<
  LearningOptions,
  'directory' | 'registry' | 'forecaster' | 'clock' | 'config' | 'schedulableCpus' | 'log' | 'onStep'
>;

export type NextStep = 'promoted' | 'shadow' | 'none';

/** Steps kept in memory. */
const MOST_STEPS = 2_000;

/**
 * From candidate to retirement. Changes happen one after the other: a trial's verdict, a person's command and a finished
 * training may come at once.
 *
 *   trained --better offline--> shadow --better live--> in use --stood its test--> kept
 *                                 \--else--> abandoned      \--alarm--> rolled back, barred
 */
export class ModelLife {
  readonly #options: ModelLifeOptions;
  readonly #registry: ModelRegistry;
  readonly #trials: Trials;
  readonly #stepFile: JsonLines<ModelStep>;
  #steps: ModelStep[] = [];
  #read: Promise<void> | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: ModelLifeOptions) {
    this.#options = options;
    this.#registry = options.registry;
    this.#stepFile = openModelSteps(options.directory);
    this.#trials = new Trials({
      ...options,
      outcomes: openOutcomes(options.directory),
      onVerdict: (trial, verdict, scores) => this.#exclusive(() => this.#conclude(trial, verdict, scores)),
    });
  }

  /** Before anybody is answered: steps() would say that nothing ever happened. Once; start() does it otherwise. */
  readSteps(): Promise<void> {
    this.#read ??= this.#stepFile.read().then(
      (steps) => {
        this.#steps = steps.slice(-MOST_STEPS);
      },
      (error) => {
        this.#options.log.warn({ error: messageOf(error) }, 'the record of the models cannot be read');
      },
    );
    return this.#read;
  }

  async start(): Promise<void> {
    await this.readSteps();
    await this.#trials.start();
  }

  async stop(): Promise<void> {
    await this.#tail;
    await this.#trials.stop();
    await this.#stepFile.settled();
  }

  /** What becomes of a candidate after the offline contest. */
  place(
    id: string,
    { better, reason }: Verdict,
    by: string,
    promotion: 'shadow' | 'now',
  ): Promise<{ next: NextStep; reason: string }> {
    return this.#exclusive(async () => {
      if (!better) return { next: 'none', reason: `not promoted: ${reason}` };
      const inUse = this.#registry.inUse()?.card.id;
      const { shadow_outcomes } = this.#options.config();
      if (promotion === 'now' || inUse === undefined || shadow_outcomes === 0) {
        await this.#promote(id, by, `promoted: ${reason}`);
        return { next: 'promoted', reason: `promoted: ${reason}` };
      }
      await this.#enterShadow(id, inUse, by, reason);
      return {
        next: 'shadow',
        reason:
          `in shadow: ${reason}; it answers beside ${inUse} and is promoted once it was better there too, over at least ` +
          `${shadow_outcomes} outcomes`,
      };
    });
  }

  /** By a person. Nothing happens when it is in use already. */
  promote(id: string, by: string): Promise<ModelInfo> {
    return this.#exclusive(async () => {
      if (this.#registry.inUse()?.card.id !== id) await this.#promote(id, by, 'promoted: by command');
      return this.#infoOf(id);
    });
  }

  rollback(by: string): Promise<ModelInfo> {
    return this.#exclusive(async () =>
      this.#infoOf(await this.#rollback(by, 'rolled back: by command', false, [])),
    );
  }

  admitted(decision: Decision, host: readonly HostState[]): void {
    this.#trials.admitted(decision, host);
  }

  observed(observed: HorizonObserved): void {
    this.#trials.observed(observed);
  }

  review(): Promise<void> {
    return this.#trials.review();
  }

  /** Oldest first. */
  steps(id = ''): readonly ModelStep[] {
    return id === '' ? this.#steps : this.#steps.filter(({ model, inUse }) => model === id || inUse === id);
  }

  /** How the model that answered at that time had come into use; undefined where no record says. */
  stepInForce(id: string, atMs: number): ModelStep | undefined {
    return this.#steps.findLast((step) => step.inUse === id && step.atMs <= atMs);
  }

  async models(): Promise<readonly ModelInfo[]> {
    return (await this.#registry.list()).map((model) => this.#describe(model));
  }

  async report(id: string): Promise<ModelReport> {
    const model = await this.#infoOf(id);
    const evidence = await this.#registry.evidence(id);
    return {
      model,
      ...(evidence === undefined ? {} : { evidence }),
      outcomes: this.#trials.outcomesOf(id),
      steps: this.steps(id),
    };
  }

  /** Never rejects: a step that cannot be written is in the log at least. */
  async record(entry: Omit<ModelStep, 'atMs'>): Promise<void> {
    const { clock, log } = this.#options;
    const step: ModelStep = { atMs: clock.nowMs(), ...entry, reason: entry.reason.slice(0, 1000) };
    this.#steps.push(step);
    if (this.#steps.length > MOST_STEPS) this.#steps.shift();
    this.#options.onStep?.(step.kind);
    log.info({ part: 'models', step: step.kind, model: step.model, by: step.by }, step.reason);
    try {
      await this.#stepFile.append([step]);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'a step of the models could not be recorded');
    }
  }

  async #conclude(trial: Trial, { verdict, reason }: TrialVerdict, scores: ModelScore[]): Promise<void> {
    // A person may have been quicker.
    if (!this.#registry.trials().includes(trial)) return;
    let why = reason;
    if (verdict === 'better') {
      try {
        if (trial.kind === 'shadow') await this.#promote(trial.id, 'shadow', reason, scores);
        else await this.#rollback('alarm', reason, true, scores);
        return;
      } catch (error) {
        // Its files are gone, or there is nothing to go back to: the trial has no more to say.
        const failed =
          trial.kind === 'shadow' ? 'it won, but could not be promoted' : 'it could not come back';
        why = `${failed}: ${messageOf(error)}`;
      }
    }
    await this.#registry.setTrials(this.#registry.trials().filter((other) => other !== trial));
    await this.#trials.follow();
    const inUse = this.#registry.inUse()?.card.id ?? '';
    await this.record(
      trial.kind === 'shadow'
        ? { kind: 'abandoned', model: trial.id, by: 'shadow', reason: why, scores }
        : { kind: 'kept', model: inUse, by: 'alarm', reason: `kept: ${why}`, scores },
    );
  }

  async #promote(id: string, by: string, reason: string, scores: ModelScore[] = []): Promise<void> {
    const before = this.#registry.inUse()?.card.id;
    const watch: Trial[] =
      before === undefined ||
      this.#options.config().watch_outcomes === 0 ||
      this.#registry.barred(id) !== undefined
        ? []
        : [{ kind: 'watch', id: before, sinceMs: this.#options.clock.nowMs() }];
    await this.#registry.promote(id, { reason, by, trials: [...watch, ...this.#othersAnew([id, before])] });
    await this.#trials.follow();
    await this.record({ kind: 'promoted', model: id, inUse: id, by, reason, ...scored(scores) });
  }

  async #rollback(by: string, reason: string, bar: boolean, scores: ModelScore[]): Promise<string> {
    const gone = this.#registry.inUse()?.card.id ?? '';
    const next = this.#registry.promotions().at(-2)?.id;
    const card = await this.#registry.rollback({ reason, by, bar, trials: this.#othersAnew([gone, next]) });
    await this.#trials.follow();
    const told = `${reason}; back to ${card.id}${bar ? `; ${gone} is not promoted again` : ''}`;
    await this.record({
      kind: 'rolled_back',
      model: gone,
      inUse: card.id,
      by,
      reason: told,
      ...scored(scores),
    });
    return card.id;
  }

  async #enterShadow(id: string, inUse: string, by: string, reason: string): Promise<void> {
    const trials = this.#registry.trials();
    const earlier = trials.find(({ kind }) => kind === 'shadow');
    if (earlier?.id === id) return;
    const sinceMs = this.#options.clock.nowMs();
    const kept = trials.filter((trial) => trial !== earlier);
    await this.#registry.setTrials([...kept, { kind: 'shadow', id, sinceMs }]);
    await this.#trials.follow();
    if (earlier !== undefined) {
      const replaced = `not promoted: ${id}, trained later, took its place`;
      await this.record({ kind: 'abandoned', model: earlier.id, by, reason: replaced });
    }
    await this.record({ kind: 'shadow', model: id, by, reason: `beside ${inUse}: ${reason}` });
  }

  /** A candidate's outcomes so far were beside another model: it begins anew. */
  #othersAnew(gone: readonly (string | undefined)[]): Trial[] {
    return this.#registry
      .trials()
      .filter(({ kind, id }) => kind === 'shadow' && !gone.includes(id))
      .map((trial) => ({ ...trial, sinceMs: this.#options.clock.nowMs() }));
  }

  async #infoOf(id: string): Promise<ModelInfo> {
    const found = (await this.#registry.list()).find(({ card }) => card.id === id);
    if (found !== undefined) return this.#describe(found);
    throw new CorecastError('NOT_FOUND', `there is no model ${id}; \`corecast models list\` lists them`, {
      metadata: { model: id },
    });
  }

  #describe({ card, inUse }: ListedModel): ModelInfo {
    const { id } = card;
    const trial = this.#registry.trials().find((each) => each.id === id);
    const barred = this.#registry.barred(id);
    const last = this.#steps.findLast(({ model }) => model === id);
    const wasInUse =
      this.#registry.promotions().some((each) => each.id === id) ||
      this.#steps.some((step) => step.inUse === id);
    const live = this.#trials.liveScore(id);
    const state = inUse
      ? 'in_use'
      : trial?.kind === 'shadow'
        ? 'shadow'
        : barred !== undefined
          ? 'barred'
          : wasInUse
            ? 'retired'
            : 'candidate';
    return {
      card,
      inUse,
      state,
      why: why(last, trial && this.#trials.verdict(trial), trial),
      ...(live === undefined ? {} : { live }),
    };
  }

  #exclusive<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(change);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

function why(
  last: ModelStep | undefined,
  verdict: TrialVerdict | undefined,
  trial: Trial | undefined,
): string {
  if (trial?.kind === 'shadow') return `in shadow: ${verdict?.reason}`;
  if (trial?.kind === 'watch')
    return `beside its successor, to come back if it was better: ${verdict?.reason}`;
  return last?.reason ?? '';
}

function scored(scores: ModelScore[]): { scores?: ModelScore[] } {
  return scores.length === 0 ? {} : { scores };
}
