import { Counter, Gauge, type Registry } from 'prom-client';
import type { Drift } from '../forecast/calibration.js';
import { type Coverage, RECENT } from '../forecast/calibration-coverage.js';
import { HORIZONS } from '../forecast/forecast.js';

export interface CalibrationSource {
  /** Of what forecasts now. */
  coverage(): readonly Coverage[];
  drift(): Drift;
}

const LABELS = ['source', 'class', 'horizon', 'quantile'] as const;

/**
 * How well forecasts keep their word. At most 3 sources x 24 classes x 3 horizons x 3 quantiles a metric, and only those
 * that were observed: a host of one kind of channels has nine or eighteen.
 */
export function registerCalibration(registry: Registry, source: CalibrationSource): void {
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    fill: (set: (labels: Partial<Record<L, string>>, value: number) => void) => void,
  ) =>
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        fill((labels, value) => this.set(labels, value));
      },
    });
  gauge(
    'corecast_forecast_coverage_ratio',
    'Share of outcomes at or below the 0.9 quantile of their forecast, by seconds after the start',
    ['horizon'],
    (set) => {
      for (const [horizon, share] of coverageByHorizon(source.coverage())) set({ horizon }, share);
    },
  );
  const byClass = (name: string, help: string, value: (of: Coverage) => number) =>
    gauge(name, help, LABELS, (set) => {
      for (const of of source.coverage()) if (of.observed > 0) set(labelsOf(of), value(of));
    });
  byClass(
    'corecast_calibration_coverage_ratio',
    'Share of outcomes at or below a quantile of their forecast',
    ({ covered, observed }) => covered / observed,
  );
  byClass(
    'corecast_calibration_recent_coverage_ratio',
    `Share of the last ${RECENT} outcomes at or below a quantile of their forecast`,
    ({ recentCovered, recentObserved }) => recentCovered / recentObserved,
  );
  byClass(
    'corecast_calibration_factor_ratio',
    "What the model's quantile was multiplied by, in the forecast of the newest outcome",
    ({ factor }) => factor,
  );
  gauge(
    'corecast_calibration_outcomes',
    'Outcomes behind the coverage',
    ['source', 'class', 'horizon'],
    (set) => {
      for (const { quantile, observed, ...of } of source.coverage()) {
        const { source: by, class: name, horizon } = labelsOf({ ...of, quantile, observed });
        if (quantile === 0.9 && observed > 0) set({ source: by, class: name, horizon }, observed);
      }
    },
  );
  registerDrift(registry, source);
}

function registerDrift(registry: Registry, source: CalibrationSource): void {
  new Gauge({
    name: 'corecast_drift_level',
    help: '1: the forecasts of an encoder family are widened; 2: their source is left out; 0: no alarm',
    labelNames: ['source', 'family'],
    registers: [registry],
    collect() {
      this.reset();
      for (const of of source.coverage()) {
        const family = of.class.slice(0, of.class.indexOf('/'));
        if (of.observed > 0) this.set({ source: of.source, family }, 0);
      }
      for (const { source: by, family, level } of source.drift().alarms)
        this.set({ source: by, family }, level);
    },
  });
  new Counter({
    name: 'corecast_drift_alarms_total',
    help: 'Drift alarms since the start, by what they did: widen, or leave a source out',
    labelNames: ['action'],
    registers: [registry],
    collect() {
      const { raised } = source.drift();
      this.reset();
      this.inc({ action: 'widened' }, raised[1]);
      this.inc({ action: 'left_out' }, raised[2]);
    },
  });
}

function labelsOf({ source, running, class: name, horizon, quantile }: Coverage) {
  return {
    source: running ? `${source}_running` : source,
    class: name,
    horizon: spanOf(horizon),
    quantile: String(quantile),
  };
}

function coverageByHorizon(coverage: readonly Coverage[]): [string, number][] {
  return [...HORIZONS.keys()].flatMap((horizon): [string, number][] => {
    const of = coverage.filter((one) => one.horizon === horizon && one.quantile === 0.9);
    const observed = of.reduce((sum, one) => sum + one.observed, 0);
    const covered = of.reduce((sum, one) => sum + one.covered, 0);
    return observed === 0 ? [] : [[spanOf(horizon), covered / observed]];
  });
}

function spanOf(horizon: number): string {
  const span = HORIZONS[horizon];
  return span === undefined ? '' : `${span.fromS}-${span.toS}`;
}
