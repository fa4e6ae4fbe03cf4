import { SEEN_BLOCK_S, type SeenDemand } from './shared-demand.js';

/**
 * What a running channel uses, the last minutes counting most, and how much that varies. Pure: time is passed in.
 *
 * A live channel is late when it is a second behind. CPUs that are wanted a twentieth above what they have lose a second in
 * SEEN_BLOCK_S; what varies faster than that, from frame to frame and GOP to GOP, is made up for before. So the deviation is that
 * of means over SEEN_BLOCK_S.
 */
export class SeenUse implements SeenDemand {
  meanMilli = 0;
  seconds = 0;
  #variance = 0;
  #blocks = 0;
  #blockMilli = 0;
  #blockS = 0;

  get deviationMilli(): number {
    return Math.sqrt(this.#variance);
  }

  /** `milli`: thousandths of a CPU that it would have used at real time. */
  add(milli: number, elapsedS: number): void {
    if (!(elapsedS > 0) || !Number.isFinite(milli)) return;
    this.seconds += elapsedS;
    const newest = Math.min(1, Math.max(elapsedS / this.seconds, elapsedS / MEMORY_S));
    this.meanMilli += newest * (milli - this.meanMilli);
    this.#blockMilli += milli * elapsedS;
    this.#blockS += elapsedS;
    if (this.#blockS >= SEEN_BLOCK_S) this.#endBlock();
  }

  #endBlock(): void {
    const change = this.#blockMilli / this.#blockS - this.meanMilli;
    this.#blocks++;
    this.#variance += (change ** 2 - this.#variance) / Math.min(this.#blocks, MEMORY_BLOCKS);
    this.#blockMilli = 0;
    this.#blockS = 0;
  }
}

const MEMORY_S = 120;
const MEMORY_BLOCKS = 30;
