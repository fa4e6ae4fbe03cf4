import { clamp, ordered } from './decode.js';
import type { HostState, Quantiles } from './forecast.js';

/**
 * The host's load without the network: what it was over the window, plus what is added. On host load, repeating the last
 * minute is hard to beat over the spans that a decision looks at; the spread grows with the square root of the horizon.
 */
export function hostLoadForecast(
  window: readonly HostState[],
  added: Quantiles,
  schedulableCpus: number,
  toS: number,
): Quantiles {
  const busy = window.map((state) => state.busy).filter(Number.isFinite);
  const mean = busy.length === 0 ? 0 : busy.reduce((a, b) => a + b, 0) / busy.length;
  const spread = busy.length < 2 ? 0.05 : Math.max(0.01, deviation(busy, mean));
  const widening = Math.min(2, Math.sqrt(Math.max(1, toS / 60)));
  const cpus = Math.max(1, schedulableCpus);
  const at = (z: number, cores: number) => clamp(mean + z * spread * widening + cores / cpus, 0, 1);
  return ordered({ q50: at(0, added.q50), q90: at(1.2816, added.q90), q99: at(2.3263, added.q99) });
}

function deviation(values: readonly number[], mean: number): number {
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}
