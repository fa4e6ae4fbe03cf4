import type { SeenDemand } from './shared-demand.js';

/** What a running channel uses, and how much that varies, the last minutes counting most. Pure: time is passed in. */
export class SeenUse implements SeenDemand {
  meanMilli = 0;
  seconds = 0;
  #variance = 0;

  get deviationMilli(): number {
    return Math.sqrt(this.#variance);
  }

  /** `milli`: thousandths of a CPU that it would have used at real time. */
  add(milli: number, elapsedS: number): void {
    if (!(elapsedS > 0) || !Number.isFinite(milli)) return;
    this.seconds += elapsedS;
    const newest = Math.min(1, Math.max(elapsedS / this.seconds, elapsedS / MEMORY_S));
    const change = milli - this.meanMilli;
    this.meanMilli += newest * change;
    this.#variance = (1 - newest) * (this.#variance + newest * change ** 2);
  }
}

const MEMORY_S = 120;
