import { type HostState, IDLE_HOST, STEP_S, WINDOW_STEPS } from '../forecast/forecast.js';

type Sums = { -readonly [Key in keyof HostState]: number };

/** The host over the last WINDOW_STEPS steps of STEP_S seconds; each the mean of its ticks, weighted by their length. */
export class StepWindow {
  readonly #steps: HostState[] = [];
  #step: number | undefined;
  #sums: Sums | undefined;
  #seconds = 0;

  /** `monotonicMs`: the end of the tick. */
  add(state: HostState, elapsedS: number, monotonicMs: number): void {
    // By its middle, so that a tick which ends on the boundary belongs to the step it covers.
    const step = Math.floor((monotonicMs / 1000 - elapsedS / 2) / STEP_S);
    if (this.#step !== undefined && step !== this.#step) this.#close();
    this.#step = step;
    this.#sums ??= { ...IDLE_HOST };
    for (const key of KEYS) this.#sums[key] += state[key] * elapsedS;
    this.#seconds += elapsedS;
  }

  /** Oldest first. While the first step is under way, that step as far as it is known. */
  steps(): readonly HostState[] {
    return this.#steps.length === 0 && this.#seconds > 0 ? [this.#mean()] : [...this.#steps];
  }

  #close(): void {
    if (this.#seconds > 0) this.#steps.push(this.#mean());
    if (this.#steps.length > WINDOW_STEPS) this.#steps.shift();
    this.#sums = undefined;
    this.#seconds = 0;
  }

  #mean(): HostState {
    const mean: Sums = { ...IDLE_HOST };
    for (const key of KEYS) mean[key] = (this.#sums?.[key] ?? 0) / this.#seconds;
    return mean;
  }
}

const KEYS = Object.keys(IDLE_HOST) as (keyof HostState)[];
