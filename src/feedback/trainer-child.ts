import { setPriority } from 'node:os';
import { setImmediate as breathe } from 'node:timers/promises';
import type { Run } from '../history/records.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import { makeModel, type TrainingHooks, type TrainingJob } from './model-maker.js';
import type { FromTrainer, ToTrainer } from './trainer-protocol.js';

/**
 * The training process (training-run.ts forks it). It takes runs from its parent, trains at idle priority on the
 * housekeeping CPUs, reports every epoch, hands back one model and ends. It ends at once when its parent does.
 */
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToTrainer) => {
  if (message.kind === 'start') {
    stepAside(message.housekeeping);
    train(message.job).then(
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

async function train(job: TrainingJob): Promise<void> {
  try {
    let begin: number | undefined;
    const onEpoch: TrainingHooks['onEpoch'] = async (epoch) => {
      begin ??= performance.now();
      const perEpochS = (performance.now() - begin) / 1000 / Math.max(1, epoch.epoch - 1);
      await send({ kind: 'epoch', remainingSeconds: perEpochS * (job.maxEpochs - epoch.epoch), ...epoch });
      // The parent's end is only noticed between two turns of the event loop.
      await breathe();
      return undefined;
    };
    const model = await makeModel(inbox, job, { onEpoch });
    await send({ kind: 'trained', model });
  } catch (error) {
    await send({
      kind: 'failed',
      code: isCorecastError(error) ? error.code : 'INTERNAL',
      message: messageOf(error),
      metadata: isCorecastError(error) ? (error.details.metadata ?? {}) : {},
    });
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
