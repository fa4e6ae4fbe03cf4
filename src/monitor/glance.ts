import type { Log } from '../lib/log.js';
import { LoadCollector } from './load.js';
import { MemoryCollector } from './memory.js';

/** So much less available memory, of the total, than at the last tick is news. */
const LOST_SHARE = 0.05;

/**
 * Between two ticks, what costs two small reads: whether more tasks want to run than there are CPUs, or much memory went. A
 * neighbour's burst must not wait for the next tick to be seen, nor be measured together with the quiet before it.
 */
export class Glance {
  readonly #load: LoadCollector;
  readonly #memory: MemoryCollector;
  readonly #log: Log;

  constructor(procRoot: string, log: Log) {
    this.#load = new LoadCollector(procRoot);
    this.#memory = new MemoryCollector(procRoot);
    this.#log = log;
  }

  /** `cpus`: that tasks may run on. `availableBytes`: of memory, at the last tick. */
  alarming(cpus: number, availableBytes: number): boolean {
    try {
      // The one that reads runs too.
      if (this.#load.collect().runnable > cpus) return true;
      const memory = this.#memory.collect();
      return memory.availableBytes < availableBytes - LOST_SHARE * memory.totalBytes;
    } catch (error) {
      this.#log.debug({ err: error }, 'no glance at the host');
      return false;
    }
  }

  close(): void {
    this.#load.close();
    this.#memory.close();
  }
}
