import type { Forecast } from '../forecast/forecast.js';
import type { RunSample } from '../history/records.js';
import type { HorizonUsage, UsageSummary } from '../rpc/control.js';

export interface Totals {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  /** 0 when unknown. */
  readonly mediaSeconds: number;
}

/** What a channel used beside what was forecast. */
export function summaryOf(totals: Totals, samples: readonly RunSample[], forecast: Forecast): UsageSummary {
  const seconds = totals.mediaSeconds > 0 ? totals.mediaSeconds : totals.wallSeconds;
  return {
    ...totals,
    meanCores: seconds > 0 ? totals.cpuSeconds / seconds : 0,
    coreUsage: meanCoreUsage(samples),
    horizons: forecast.horizons.flatMap((horizon): HorizonUsage[] => {
      const demands = demandsWithin(samples, horizon.fromS, horizon.toS);
      if (demands.length === 0) return [];
      return [
        {
          fromS: horizon.fromS,
          toS: horizon.toS,
          meanCores: mean(demands),
          maxCores: Math.max(...demands),
          forecastCores: horizon.demand,
          coveredQ90: demands.filter((demand) => demand <= horizon.demand.q90).length / demands.length,
        },
      ];
    }),
  };
}

/** Demands of the steps that end within a horizon. */
export function demandsWithin(samples: readonly RunSample[], fromS: number, toS: number): number[] {
  return samples.filter(({ atS }) => atS > fromS && atS <= toS).map(({ demandCores }) => demandCores);
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** By rank: the channel may have held different CPUs in different steps. */
function meanCoreUsage(samples: readonly RunSample[]): number[] {
  const ranks = samples.reduce((most, { coreUsage }) => Math.max(most, coreUsage.length), 0);
  return Array.from({ length: ranks }, (_, rank) =>
    mean(samples.map(({ coreUsage }) => coreUsage[rank] ?? 0)),
  );
}
