import * as Plot from '@observablehq/plot';
import { LATE_LIMIT, type PolicyResult } from '../../simulate/compare.js';
import { draw, WIDTH } from './draw.js';

/** Told apart on light and on dark. */
const SCHEME = 'Observable10';
/** What is later than this, percent, tells the policies apart no more. */
const MOST_LATE = 1;
const LATE_TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.5, 1];
const LATE_AXIS = 'admitted time that is late, %';

/** A policy's line goes through all its settings; the ring is the chosen one on the workloads that are reported. */
export function carriedAgainstLate(results: readonly PolicyResult[]): string {
  const tried = results.flatMap(({ policy, tried }) => tried.map((one) => ({ policy, ...percent(one) })));
  const shown = tried.filter(({ late }) => late <= MOST_LATE);
  const chosen = results.map(percent);
  return draw({
    width: WIDTH,
    height: 420,
    marginLeft: 48,
    x: {
      type: 'sqrt',
      label: LATE_AXIS,
      domain: [0, MOST_LATE],
      ticks: LATE_TICKS,
      tickFormat: String,
      grid: true,
    },
    y: { label: 'mean channels carried', grid: true, zero: true },
    color: { legend: true, scheme: SCHEME, domain: results.map(({ policy }) => policy) },
    marks: [
      Plot.ruleX([100 * LATE_LIMIT], { stroke: 'currentColor', strokeDasharray: '5 4' }),
      Plot.line(shown, { x: 'late', y: 'channels', stroke: 'policy', sort: 'setting', strokeOpacity: 0.7 }),
      Plot.dot(shown, { x: 'late', y: 'channels', fill: 'policy', r: 2 }),
      Plot.dot(
        chosen.filter(({ late }) => late <= MOST_LATE),
        {
          x: 'late',
          y: 'channels',
          stroke: 'policy',
          strokeWidth: 2,
          r: 6,
          title: ({ policy, channels, late }: (typeof chosen)[number]) =>
            `${policy}: ${channels.toFixed(1)} channels, ${late.toFixed(3)} % late`,
        },
      ),
    ],
  });
}

export function utilisationOverTime(results: readonly PolicyResult[]): string {
  const points = results.flatMap(({ policy, series }) =>
    series.map(({ hour, used }) => ({ policy, hour, used })),
  );
  return draw({
    width: WIDTH,
    height: 340,
    marginLeft: 48,
    x: { label: 'hours' },
    y: { label: 'CPUs in use, %', percent: true, grid: true, domain: [0, 100] },
    color: { legend: true, scheme: SCHEME, domain: results.map(({ policy }) => policy) },
    marks: [Plot.line(points, { x: 'hour', y: 'used', stroke: 'policy', strokeWidth: 1.5 })],
  });
}

/** Of the policies that promise anything. */
export function reservedAgainstUsed(results: readonly PolicyResult[]): string {
  const promising = results.filter(({ series }) => series.some(({ reserved }) => reserved > 0));
  const points = promising.flatMap(({ policy, series }) =>
    series.flatMap(({ hour, used, reserved }) => [
      { policy, hour, share: reserved, what: 'promised' },
      { policy, hour, share: used, what: 'in use' },
    ]),
  );
  return draw({
    width: WIDTH,
    height: 40 + 130 * promising.length,
    marginLeft: 48,
    marginRight: 110,
    x: { label: 'hours' },
    y: { label: 'of the CPUs, %', percent: true, grid: true },
    fy: { label: null, domain: promising.map(({ policy }) => policy) },
    color: { legend: true, domain: ['promised', 'in use'], range: ['#e0851f', '#3d7dd8'] },
    marks: [Plot.line(points, { x: 'hour', y: 'share', fy: 'policy', stroke: 'what', strokeWidth: 1.5 })],
  });
}

function percent<T extends { readonly lateShare: number }>(one: T): T & { late: number } {
  return { ...one, late: 100 * one.lateShare };
}
