import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';

/** After this many slow or failed runs in a row a model rests, so that it cannot slow every admission. */
export const STRIKES = 3;
const REST_MS = 60_000;

/** Counts the strikes of the model in use; another model begins without any. */
export class ModelRest {
  readonly #clock: Clock;
  readonly #log: Log;
  #model = '';
  #strikes = 0;
  #untilMs = 0;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  resting(id: string): boolean {
    return this.#model === id && this.#untilMs > this.#clock.monotonicMs();
  }

  strike(id: string): void {
    if (this.#model !== id) this.#strikes = 0;
    this.#model = id;
    this.#strikes++;
    if (this.#strikes < STRIKES) return;
    this.#strikes = 0;
    this.#untilMs = this.#clock.monotonicMs() + REST_MS;
    this.#log.warn({ model: id, restMs: REST_MS }, 'the model was slow or failed repeatedly: it rests');
  }

  ranWell(): void {
    this.#strikes = 0;
  }
}
