import * as Plot from '@observablehq/plot';
import type { Epoch__Output } from '../../rpc/generated/corecast/v1/Epoch.js';
import { draw, WIDTH } from './draw.js';
import { type Dot, type EncoderError, ORIGINS, type Origin, type Share } from './summary.js';

/*
 * Each plot is one <svg> (with its legend, a <figure>), drawn here and carried in the page: no script runs there. Hovering
 * shows the <title> of a mark.
 */

/** Both are told apart on light and on dark, and by people who see no red or green. */
const ORIGIN_COLOURS = ['#3d7dd8', '#e0851f'];
const FORECAST = 'forecast of the median, cores';
const ACTUAL = 'used, cores';

/** Dots on the diagonal were foretold exactly; above it the channel used more. */
export function forecastAgainstActual(dots: readonly Dot[]): string {
  const low = Math.min(...dots.flatMap(({ actual, q50 }) => [actual, q50]));
  const high = Math.max(...dots.flatMap(({ actual, q50 }) => [actual, q50]));
  const origins = ORIGINS.filter((origin) => dots.some((dot) => dot.origin === origin));
  const ends = [low, high].map((at) => ({ at }));
  const ticks = ticksBetween(low, high);
  return draw({
    width: WIDTH,
    height: origins.length === 1 ? 460 : 380,
    marginLeft: 48,
    x: { type: 'log', label: FORECAST, domain: [low, high] },
    y: { type: 'log', label: ACTUAL, domain: [low, high] },
    fx: { label: null, domain: origins },
    color: {
      legend: true,
      scheme: 'Observable10',
      domain: [...new Set(dots.map(({ encoder }) => encoder))].sort(),
    },
    marks: [
      ...labelled('x', ticks),
      ...labelled('y', ticks),
      Plot.line(ends, { x: 'at', y: 'at', stroke: 'currentColor', strokeOpacity: 0.6 }),
      Plot.dot(dots as Dot[], {
        x: 'q50',
        y: 'actual',
        fx: 'origin',
        fill: 'encoder',
        fillOpacity: 0.65,
        r: dots.length > 600 ? 2 : 3,
        title: ({ encoder, span, actual, q50, q90 }: Dot) =>
          `${encoder}, ${span}: forecast ${short(q50)} (0.9: ${short(q90)}), used ${short(actual)} cores`,
      }),
      Plot.frame({ strokeOpacity: 0.25 }),
    ],
  });
}

export function coverageBySpan(shares: readonly Share[], spans: readonly string[]): string {
  return draw({
    width: WIDTH,
    height: 300,
    marginLeft: 48,
    x: {
      label: null,
      domain: ORIGINS.filter((origin) => shares.some((each) => each.origin === origin)),
      axis: null,
    },
    fx: { label: 'seconds after the start', labelArrow: 'none', domain: [...spans], padding: 0.2 },
    y: {
      label: 'outcomes at or below the 0.9 quantile, %',
      domain: [Math.min(50, Math.floor(10 * Math.min(...shares.map(({ low }) => low))) * 10), 100],
      percent: true,
      grid: true,
    },
    color: { legend: true, ...coloursOf(shares) },
    marks: [
      Plot.ruleY([0.9], { stroke: 'currentColor', strokeDasharray: '5 4' }),
      Plot.ruleX(shares as Share[], {
        x: 'origin',
        fx: 'span',
        y1: 'low',
        y2: 'high',
        stroke: 'origin',
        strokeWidth: 2.5,
        strokeLinecap: 'round',
      }),
      Plot.dot(shares as Share[], {
        x: 'origin',
        fx: 'span',
        y: 'covered',
        fill: 'origin',
        r: 5,
        title: ({ origin, span, covered, outcomes, runs }: Share) =>
          `${origin}, ${span}: ${(100 * covered).toFixed(1)} % of ${outcomes} outcomes of ${runs} runs`,
      }),
      Plot.text(shares as Share[], {
        x: 'origin',
        fx: 'span',
        y: 'covered',
        text: ({ covered }: Share) => `${(100 * covered).toFixed(0)}`,
        dx: 10,
        textAnchor: 'start',
      }),
    ],
  });
}

export function errorByEncoder(errors: readonly EncoderError[]): string {
  const origins = ORIGINS.filter((origin) => errors.some((each) => each.origin === origin));
  const encoders = [...new Set(errors.map(({ encoder }) => encoder))];
  return draw({
    width: WIDTH,
    height: 60 + encoders.length * (origins.length * 20 + 14),
    marginLeft: 72,
    marginRight: 96,
    x: {
      label: 'mean error of the median, %',
      grid: true,
      domain: [0, Math.max(10, ...errors.map((each) => each.mapePercent))],
    },
    y: { axis: null, domain: origins },
    fy: { label: null, domain: encoders, padding: 0.2 },
    color: { legend: true, ...coloursOf(errors) },
    marks: [
      Plot.barX(errors as EncoderError[], {
        x: 'mapePercent',
        y: 'origin',
        fy: 'encoder',
        fill: 'origin',
        insetTop: 1,
      }),
      Plot.text(errors as EncoderError[], {
        x: 'mapePercent',
        y: 'origin',
        fy: 'encoder',
        text: ({ mapePercent, outcomes }: EncoderError) => `${mapePercent.toFixed(1)} %, n = ${outcomes}`,
        dx: 5,
        textAnchor: 'start',
      }),
      Plot.ruleX([0]),
    ],
  });
}

export function trainingCurve(epochs: readonly Epoch__Output[], kept: number): string {
  const points = epochs.flatMap(({ epoch, trainingLoss, validationLoss }) => [
    ...(trainingLoss === undefined ? [] : [{ epoch, loss: trainingLoss, part: PARTS[0] }]),
    ...(validationLoss === undefined ? [] : [{ epoch, loss: validationLoss, part: PARTS[1] }]),
  ]);
  return draw({
    width: WIDTH,
    height: 300,
    marginLeft: 56,
    x: { label: 'epoch', domain: [0, Math.max(...epochs.map(({ epoch }) => epoch))] },
    y: { label: 'mean pinball loss', grid: true },
    color: { legend: true, domain: [...PARTS], range: ORIGIN_COLOURS },
    marks: [
      Plot.ruleX([kept], { stroke: 'currentColor', strokeDasharray: '5 4' }),
      Plot.text([kept], {
        x: (epoch: number) => epoch,
        frameAnchor: 'top',
        dx: 5,
        dy: 4,
        textAnchor: 'start',
        text: () => `kept: epoch ${kept}`,
      }),
      Plot.line(points, { x: 'epoch', y: 'loss', stroke: 'part', strokeWidth: 2 }),
    ],
  });
}

const PARTS = ['training part', 'validation part'] as const;

/** An origin has its colour whether or not the other is there. */
function coloursOf(shown: readonly { readonly origin: Origin }[]): { domain: Origin[]; range: string[] } {
  const domain = ORIGINS.filter((origin) => shown.some((each) => each.origin === origin));
  return { domain, range: domain.map((origin) => ORIGIN_COLOURS[ORIGINS.indexOf(origin)]!) };
}

/** 1, 2 and 5 of each decade. */
function ticksBetween(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const first of [1, 2, 5]) {
      const tick = Number(`${first}e${power}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  return ticks;
}

/** Of a log axis every tick with its number: d3 would leave most out. */
function labelled(axis: 'x' | 'y', ticks: number[]): Plot.Markish[] {
  return axis === 'x'
    ? [Plot.axisX(ticks, { text: String }), Plot.gridX(ticks)]
    : [Plot.axisY(ticks, { text: String }), Plot.gridY(ticks)];
}

function short(x: number): string {
  return String(Number(x.toPrecision(3)));
}
