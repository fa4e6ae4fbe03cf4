import { CorecastError } from '../lib/errors.js';
import type { Pinning } from '../pinning/pinning.js';
import type { ProcessSignals } from '../pinning/signals.js';
import type { Book } from './book.js';
import { sameProcess } from './process-ref.js';
import type { ProcessRef } from './reservation.js';

/**
 * Processes that had ended when the daemon started, for as long as the ledger names them: the disk may refuse. After a
 * reboot another process can have the same pid and start time; through guard() nobody does anything to it.
 */
export class EndedProcesses {
  /** By reservation. */
  readonly #processes = new Map<string, ProcessRef>();

  note(id: string, process: ProcessRef): void {
    this.#processes.set(id, process);
  }

  has(id: string): boolean {
    return this.#processes.has(id);
  }

  /** Forgets what is released, or attached anew in this boot. */
  follow(book: Book): void {
    book.onChange(({ reservation: { id, process }, bootId }, before) => {
      if (!sameProcess(process, this.#processes.get(id)) || bootId !== before?.bootId) {
        this.#processes.delete(id);
      }
    });
  }

  guard<Deps extends { readonly pinning: Pinning; readonly signals: ProcessSignals }>(deps: Deps): Deps {
    const { pinning, signals } = deps;
    const alive = (process: ProcessRef): ProcessRef => {
      this.#require(process);
      return process;
    };
    return {
      ...deps,
      pinning: {
        backend: () => pinning.backend(),
        forget: (process) => pinning.forget(process),
        pin: (process, cpus) => pinning.pin(alive(process), cpus),
        verify: (process, cpus) => pinning.verify(alive(process), cpus),
        repair: (process, cpus) => pinning.repair(alive(process), cpus),
        masks: (process) => pinning.masks(alive(process)),
      },
      signals: {
        mayStop: (process) => !this.#ended(process) && signals.mayStop(process),
        stop: (process) => signals.stop(alive(process)),
        resume: (process) => signals.resume(alive(process)),
      },
    };
  }

  #ended(process: ProcessRef): boolean {
    for (const ended of this.#processes.values()) if (sameProcess(ended, process)) return true;
    return false;
  }

  #require(process: ProcessRef): void {
    if (!this.#ended(process)) return;
    throw new CorecastError('PROCESS_GONE', `process ${process.pid} ended before the daemon started`);
  }
}
