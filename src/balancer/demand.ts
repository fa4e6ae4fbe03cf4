import type { Forecast } from '../forecast/forecast.js';
import { assert } from '../lib/assert.js';
import type { ChannelRequest } from '../rpc/control.js';

const CPU_MILLI = 1000;
/** What floats leave behind an exact number must not cost a thousandth more. */
const DUST = 1e-6;
/** Encoders gain little from more, and each candidate costs a row of the model's batch. */
const MOST_CPUS = 32;
const STEPS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

/** CPU counts worth a forecast, ascending; exactly the wanted one when the request names it. */
export function candidateCpuCounts(request: ChannelRequest, schedulable: number): number[] {
  if (request.cpuCount > 0) return [request.cpuCount];
  const most = Math.max(1, Math.min(schedulable, MOST_CPUS));
  return [...STEPS.filter((step) => step < most), most];
}

export interface Demand {
  /** Thousandths of a CPU, the worst horizon's. */
  readonly q50Milli: number;
  readonly q90Milli: number;
}

export function demandOf(forecast: Forecast): Demand {
  const worst = (of: (horizon: Forecast['horizons'][number]) => number) => {
    const most = forecast.horizons.map(of).reduce((a, b) => Math.max(a, b), 0);
    assert(Number.isFinite(most), `the forecast for ${forecast.cpuCount} CPUs has a demand of ${most}`);
    return Math.ceil(most * CPU_MILLI - DUST);
  };
  return { q50Milli: worst(({ demand }) => demand.q50), q90Milli: worst(({ demand }) => demand.q90) };
}

/** What is reserved for a live channel: its 0.9 quantile with the headroom on top. */
export function withHeadroom(q90Milli: number, headroom: number): number {
  return Math.max(1, Math.ceil(q90Milli / (1 - headroom) - DUST));
}

/** False when so few CPUs cannot give so much: the channel would fall behind. */
export function keepsRealTime(forecast: Forecast, milli: number): boolean {
  return milli <= forecast.cpuCount * CPU_MILLI;
}

/**
 * Spreads thousandths over the forecast's CPUs in the shape of its usage of each (0.9 quantile, busiest first): every
 * share is the same multiple of the usage, cut at a whole CPU, so that they sum to `milli`. Undefined unless
 * keepsRealTime().
 */
export function spread(forecast: Forecast, milli: number): number[] | undefined {
  if (!keepsRealTime(forecast, milli)) return undefined;
  const usage = usageShape(forecast);
  const shares: number[] = [];
  let left = milli;
  let leftUsage = usage.reduce((a, b) => a + b, 0);
  // Busiest first: what a full CPU cannot take goes to the rest, which are filled in the same proportion.
  for (const [i, of] of usage.entries()) {
    const others = usage.length - i - 1;
    const proportional = others === 0 ? left : Math.ceil((left * of) / leftUsage - DUST);
    const share = Math.max(1, Math.min(CPU_MILLI, proportional), left - others * CPU_MILLI);
    shares.push(share);
    left = Math.max(0, left - share);
    leftUsage -= of;
  }
  return shares.sort((a, b) => b - a);
}

/** The most of each rank over the horizons, descending, none zero: an unused CPU still gets a sliver. */
function usageShape(forecast: Forecast): number[] {
  const least = 0.01;
  return Array.from({ length: forecast.cpuCount }, (_, rank) =>
    forecast.horizons
      .map(({ coreUsage }) => coreUsage[rank]?.q90 ?? 0)
      .reduce((a, b) => Math.max(a, b), least),
  ).sort((a, b) => b - a);
}
