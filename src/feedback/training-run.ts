import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as breathe } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Run } from '../history/records.js';
import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { FromTrainer, ToTrainer, TrainingTerms } from './trainer-protocol.js';

export interface TrainingRunOptions extends TrainingTerms {
  readonly runs: AsyncIterable<Run> | Iterable<Run>;
  readonly signal: AbortSignal;
  /** The compiled trainer-child.js; the one beside this file when absent. */
  readonly childFile?: string;
  /** Told the child's process id when it has one, and undefined when it is gone. */
  readonly onProcess?: (pid: number | undefined) => void;
}

/** Yielded as they come; the last one is `trained`. */
export type TrainingMessage = Exclude<FromTrainer, { kind: 'failed' }>;

/** Some 25 kB each, copied on the daemon's event loop: an admission must not wait for many of them. */
const RUNS_PER_MESSAGE = 4;
/** Above what the child was seen to need with as many rows as a dataset keeps: 330 MB, 180 of them V8's. */
const MOST_HEAP_MB = 512;

/**
 * One training in a child process. Throws what the child said went wrong, CANCELLED when the signal aborts, INTERNAL when
 * the child dies. Leaving the loop early, however, kills the child.
 */
export async function* runTraining(options: TrainingRunOptions): AsyncGenerator<TrainingMessage> {
  if (options.signal.aborted) throw cancelled();
  const child = startChild(options.childFile);
  options.onProcess?.(child.pid);
  const inbox = new Inbox(child);
  const cancel = () => inbox.fail(cancelled());
  options.signal.addEventListener('abort', cancel, { once: true });
  const fed = feed(child, options).catch((error) => inbox.fail(error));
  try {
    for (;;) {
      const message = await inbox.next();
      if (message.kind === 'failed') {
        throw new CorecastError(message.code, message.message, { metadata: message.metadata });
      }
      yield message;
      if (message.kind === 'trained') return;
    }
  } finally {
    options.signal.removeEventListener('abort', cancel);
    await end(child);
    options.onProcess?.(undefined);
    // So that the caller's iterator is closed when this returns.
    await fed;
  }
}

function startChild(childFile = fileURLToPath(new URL('./trainer-child.js', import.meta.url))): ChildProcess {
  return fork(childFile, [], {
    execArgv: [`--max-old-space-size=${MOST_HEAP_MB}`],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
}

/** Waits for each message to leave, so that at most a few runs are in memory here. Stops when the child is gone. */
async function feed(child: ChildProcess, options: TrainingRunOptions): Promise<void> {
  const { runs, job, housekeeping, checkpointFile, checkpointMs, budgetMs } = options;
  const send = (message: ToTrainer) =>
    new Promise<boolean>((resolve) => {
      if (child.connected) child.send(message, (error) => resolve(error === null));
      else resolve(false);
    });
  const terms: TrainingTerms = {
    job,
    housekeeping,
    ...(checkpointFile === undefined ? {} : { checkpointFile }),
    ...(checkpointMs === undefined ? {} : { checkpointMs }),
    ...(budgetMs === undefined ? {} : { budgetMs }),
  };
  if (!(await send({ kind: 'start', ...terms }))) return;
  let batch: Run[] = [];
  for await (const run of runs) {
    batch.push(run);
    if (batch.length < RUNS_PER_MESSAGE) continue;
    if (!(await send({ kind: 'runs', runs: batch }))) return;
    batch = [];
    await breathe();
  }
  if (await send({ kind: 'runs', runs: batch })) await send({ kind: 'end' });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function cancelled(): CorecastError {
  return new CorecastError('CANCELLED', 'the training was cancelled');
}

/** Messages in order, or the first thing that went wrong. */
class Inbox {
  readonly #waiting: FromTrainer[] = [];
  #error: Error | undefined;
  #wake = () => {};

  constructor(child: ChildProcess) {
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2_000);
    });
    child.on('message', (message: FromTrainer) => {
      this.#waiting.push(message);
      this.#wake();
    });
    child.on('error', (error) =>
      this.fail(
        new CorecastError('INTERNAL', `the trainer could not be started: ${messageOf(error)}`, {
          cause: error,
        }),
      ),
    );
    // 'close' comes after the last of stderr and of the messages.
    child.on('close', (code, signal) =>
      this.fail(
        new CorecastError(
          'INTERNAL',
          `the trainer ended with ${signal ?? code} before it was done. ${said.trim()}`,
        ),
      ),
    );
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }

  async next(): Promise<FromTrainer> {
    for (;;) {
      const message = isCorecastError(this.#error, 'CANCELLED') ? undefined : this.#waiting.shift();
      if (message !== undefined) return message;
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
