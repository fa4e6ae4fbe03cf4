import { setPriority } from 'node:os';
import { setImmediate as breathe } from 'node:timers/promises';
import type { Run } from '../history/records.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import { isFor, readCheckpoint, writeCheckpoint } from './checkpoint.js';
import type { EpochReport } from './fit.js';
import { makeModel, type TrainingHooks } from './model-maker.js';
import { CHECKPOINT_MS, type FromTrainer, type ToTrainer, type TrainingTerms } from './trainer-protocol.js';

/**
 * The training process (training-run.ts forks it). It takes runs from its parent, trains at idle priority on the
 * housekeeping CPUs, reports every epoch, hands back one model and ends. It ends at once when its parent does.
 */
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToTrainer) => {
  if (message.kind === 'start') {
    stepAside(message.housekeeping);
    train(message).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  } else if (message.kind === 'runs') {
    inbox.push(message.runs);
  } else {
    inbox.end();
  }
});

/** Runs are used up between two messages, so that the history never lies in memory whole. */
class RunInbox implements AsyncIterable<Run> {
  readonly #batches: (readonly Run[])[] = [];
  #ended = false;
  #wake = () => {};

  push(runs: readonly Run[]): void {
    this.#batches.push(runs);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Run> {
    for (;;) {
      const batch = this.#batches.shift();
      if (batch !== undefined) {
        yield* batch;
        continue;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

const inbox = new RunInbox();

async function train(terms: TrainingTerms): Promise<void> {
  try {
    const clock = new TrainingClock(terms);
    const model = await makeModel(inbox, terms.job, await hooksOf(terms, clock));
    await send({ kind: 'trained', model, budgetSpent: clock.spent });
  } catch (error) {
    await send({
      kind: 'failed',
      code: isCorecastError(error) ? error.code : 'INTERNAL',
      message: messageOf(error),
      metadata: isCorecastError(error) ? (error.details.metadata ?? {}) : {},
    });
  }
}

async function hooksOf(terms: TrainingTerms, clock: TrainingClock): Promise<TrainingHooks> {
  const { job, checkpointFile, checkpointMs = CHECKPOINT_MS } = terms;
  const found = checkpointFile === undefined ? undefined : await readCheckpoint(checkpointFile);
  let hash = '';
  let savedMs = performance.now();
  return {
    async onData(data) {
      hash = data.hash;
      const before = found?.hash === hash && isFor(job, found) ? found.state : undefined;
      const resumedAfter = before?.fit.epoch ?? 0;
      clock.begin(resumedAfter);
      await send({ kind: 'data', data, resumedAfter });
      return before;
    },
    async onEpoch(epoch, state) {
      await send({ kind: 'epoch', remainingSeconds: clock.remainingSeconds(epoch), ...epoch });
      if (checkpointFile !== undefined && performance.now() - savedMs >= checkpointMs) {
        savedMs = performance.now();
        // Training goes on without: it only could not be resumed.
        const { seed, maxEpochs, untilMs = 0 } = job;
        const checkpoint = { hash, seed, maxEpochs, untilMs, state: state() };
        await writeCheckpoint(checkpointFile, checkpoint).catch(() => undefined);
      }
      // The parent's end is only noticed between two turns of the event loop.
      await breathe();
      return clock.spent ? 'stop' : undefined;
    },
  };
}

class TrainingClock {
  readonly #budgetMs: number;
  #beganMs = 0;
  #firstEpoch = 0;

  constructor({ budgetMs }: TrainingTerms) {
    this.#budgetMs = budgetMs ?? Number.POSITIVE_INFINITY;
  }

  begin(afterEpoch: number): void {
    this.#beganMs = performance.now();
    this.#firstEpoch = afterEpoch;
  }

  get spent(): boolean {
    return performance.now() - this.#beganMs > this.#budgetMs;
  }

  /** If every epoch runs. */
  remainingSeconds({ epoch, epochs }: EpochReport): number {
    const pastMs = performance.now() - this.#beganMs;
    const perEpochMs = pastMs / Math.max(1, epoch - this.#firstEpoch);
    const allMs = perEpochMs * (epochs - epoch);
    return Math.max(0, Math.min(allMs, this.#budgetMs - pastMs)) / 1000;
  }
}

/** Resolves when the message has left. */
function send(message: FromTrainer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(message, undefined, undefined, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Training never takes a cycle that a channel wants. Where the kernel refuses SCHED_IDLE, nice 19 is the next best. */
function stepAside(housekeeping: readonly number[]): void {
  try {
    hostAddon().setIdlePriority(process.pid);
  } catch {
    setPriority(19);
  }
  if (housekeeping.length === 0) return;
  try {
    hostAddon().setProcessAffinity(process.pid, housekeeping);
  } catch {
    // A CPU that went offline meanwhile: idle priority is what protects the channels.
  }
}
