import type { HorizonObserved } from './recorder.js';

/**
 * How far the forecasts of a host err together: the standard deviation of that part of the error, in log demand, that one
 * channel has in common with the next. It does not average out over many channels. Taken from the calibrated forecasts'
 * own residuals: errors that channels make each for itself cancel in the product of two residuals, the common part does not.
 * One residual a channel, of the horizon after its start; not of the same source twice, which errs alike anyway.
 */
export class CommonError {
  #square = ASSUMED ** 2;
  #before: { readonly source: string; readonly residual: number } | undefined;

  get deviation(): number {
    return Math.min(MOST, Math.sqrt(Math.max(LEAST ** 2, this.#square)));
  }

  add({ source, forecast, horizon, demandCores }: Residual): void {
    const median = forecast.horizons[horizon]?.demand.q50 ?? 0;
    if (horizon !== HORIZON || !(median > 0) || !(demandCores > 0)) return;
    const residual = Math.log(demandCores / median);
    const before = this.#before;
    this.#before = { source, residual };
    if (before === undefined || before.source === source) return;
    this.#square += (residual * before.residual - this.#square) / MEMORY;
  }
}

type Residual = Pick<HorizonObserved, 'source' | 'forecast' | 'horizon' | 'demandCores'>;

/** Until outcomes say otherwise, and bounds for when they say too much. */
const ASSUMED = 0.05;
const LEAST = 0.02;
const MOST = 0.5;
/** Pairs of channels. */
const MEMORY = 30;
/** Index into HORIZONS: 10-60 s, the first without the start. */
const HORIZON = 1;
