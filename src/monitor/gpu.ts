import type { Log } from '../lib/log.js';
import type { GpuReader, GpuUse } from '../lib/native.js';

/** A driver that owes its answer for longer is said to fail. Loading the library may take seconds. */
const PATIENCE_MS = 5_000;

/**
 * GPU use by NVIDIA's management library. The reader asks on a thread of its own and hands out the latest answer, so a driver
 * that hangs costs a failure a tick and holds up nothing.
 */
export class GpuCollector {
  readonly #reader: GpuReader;
  readonly #log: Log;
  #said = false;

  constructor(reader: GpuReader, log: Log) {
    this.#reader = reader;
    this.#log = log;
  }

  /** Empty where there is none. */
  collect(): readonly GpuUse[] {
    const { gpus, pendingMs, absent } = this.#reader.poll();
    if (absent !== '') {
      if (!this.#said) this.#log.debug({ reason: absent }, 'no NVIDIA GPU is watched');
      this.#said = true;
      return [];
    }
    if (pendingMs > PATIENCE_MS)
      throw new Error(`the driver has owed an answer for ${Math.round(pendingMs)} ms`);
    return gpus;
  }

  close(): void {
    this.#reader.close();
  }
}
