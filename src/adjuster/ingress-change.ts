import type { ChannelState } from '../forecast/forecast.js';

/** A stream that doubles does so within the noise of a VBR input; half is the same the other way. */
const FACTOR = 1.8;
/** So many steps in a row, or it was a burst. */
const STEPS = 2;

/**
 * Sees a stream change what it brings in: another bit rate, another resolution. What was forecast of it then speaks of
 * something else. Pure.
 */
export class IngressChange {
  #expectedBps: number | undefined;

  /** Of the signature; 0 where it is not known, then the first steps tell. */
  constructor(expectedBps: number) {
    this.#expectedBps = expectedBps > 0 ? expectedBps : undefined;
  }

  /** `window`: the channel's steps, oldest first. The new bit rate, once for each change; undefined where all is as before. */
  seen(window: readonly ChannelState[]): number | undefined {
    if (window.length < STEPS) return undefined;
    const rates = window.slice(-STEPS).map(({ ingressBps }) => ingressBps);
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / STEPS;
    const expected = this.#expectedBps;
    if (expected === undefined) {
      if (mean > 0) this.#expectedBps = mean;
      return undefined;
    }
    const higher = rates.every((rate) => rate > expected * FACTOR);
    const lower = rates.every((rate) => rate > 0 && rate < expected / FACTOR);
    if (!higher && !lower) return undefined;
    this.#expectedBps = mean;
    return mean;
  }
}
