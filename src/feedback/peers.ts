import type { Scaling } from './normalisation.js';
import { ascending, quantileOf } from './quantile.js';
import type { Row } from './rows.js';
import { demandOf } from './targets.js';

/**
 * The simple methods that a network must beat. Each gets a fair chance: its quantiles are those of its own errors on the
 * training part.
 */
export type Method = (row: Row) => DemandForecast;

/** Of the demand over the first horizon, cores. */
export interface DemandForecast {
  readonly q50: number;
  readonly q90: number;
}

/** The static table, with the ratios of actual to estimated demand that training showed. */
export function costTable(training: readonly Row[]): Method {
  const { q50, q90 } = spread(logRatios(training));
  return ({ cost }) => ({ q50: demandOf(q50, cost), q90: demandOf(q90, cost) });
}

/** As many nearest neighbours stand in for a signature that was never seen. */
const NEIGHBOURS = 8;
const MOST_COMPARED = 5_000;

/** What the same signature took before; for a new one, what the nearest signatures took relative to the table. */
export function signatureLookup(training: readonly Row[], { mean, scale }: Scaling): Method {
  const known = training.filter((row) => !row.imagined && row.kind === 'new' && isKnown(row));
  const byKey = new Map<string, Row[]>();
  for (const row of known) {
    const same = byKey.get(row.signatureKey);
    if (same === undefined) byKey.set(row.signatureKey, [row]);
    else same.push(row);
  }
  const stride = Math.max(1, Math.ceil(known.length / MOST_COMPARED));
  const compared = known.filter((_, i) => i % stride === 0);
  const normalise = (row: Row) => row.fixed.map((x, i) => (x - mean[i]!) / scale[i]!);
  const places = compared.map((row) => ({ row, place: normalise(row) }));
  const nearest = (row: Row) => {
    const here = normalise(row);
    return places
      .map(({ row: other, place }) => ({ other, distance: squaredDistance(here, place) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, NEIGHBOURS)
      .map(({ other }) => other);
  };
  return (row) => {
    const { q50, q90 } = spread(logRatios(byKey.get(row.signatureKey) ?? nearest(row)));
    return { q50: demandOf(q50, row.cost), q90: demandOf(q90, row.cost) };
  };
}

/** Of running channels only: the last step, the mean of the window, and a mean that fades by half every three steps. */
export function persistence(training: readonly Row[]): Readonly<Record<string, Method>> {
  const methods = {
    last_value: (recent: readonly number[]) => recent.at(-1)!,
    mean_12: (recent: readonly number[]) => recent.reduce((a, b) => a + b, 0) / recent.length,
    ewma: (recent: readonly number[]) => recent.reduce((mean, x) => mean + (x - mean) * (1 - 0.5 ** (1 / 3))),
  };
  const running = training.filter((row) => row.kind === 'running' && isKnown(row));
  return Object.fromEntries(
    Object.entries(methods).map(([name, point]) => {
      const guess = (row: Row) => Math.max(1e-3, point(row.recentCores));
      const logs = running.map((row) => Math.log(demandOf(row.target[0]!, row.cost) / guess(row)));
      const { q50, q90 } = logs.length === 0 ? { q50: 0, q90: 0 } : spread(logs);
      return [name, (row) => ({ q50: demandOf(q50, guess(row)), q90: demandOf(q90, guess(row)) })];
    }),
  );
}

/** The demand over the first horizon is known. */
export function isKnown(row: Row): boolean {
  return !Number.isNaN(row.target[0]!);
}

function logRatios(rows: readonly Row[]): number[] {
  return rows.filter((row) => !row.imagined && isKnown(row)).map(({ target }) => target[0]!);
}

function spread(values: readonly number[]): DemandForecast {
  const sorted = ascending(values);
  return { q50: quantileOf(sorted, 0.5), q90: quantileOf(sorted, 0.9) };
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}
