import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Line } from './lines.js';

const WIDTH = 960;
const HEIGHT = 320;

/** One SVG file: the mean of each step as a line, the band from the smallest to the largest sample behind it. */
export function plotAsSvg(lines: readonly Line[]): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const rows = lines.flatMap(({ series, points }) =>
    points.map(({ atMs, value, min, max }) => ({ series, time: new Date(atMs), value, min, max })),
  );
  const units = [...new Set(lines.map(({ unit }) => unit))];
  const drawn = Plot.plot({
    width: WIDTH,
    height: HEIGHT,
    marginLeft: 64,
    marginBottom: 44,
    style: { background: 'white', fontSize: '12px' },
    document,
    x: { type: 'utc', label: 'time (UTC)', domain: domainOf(lines) },
    y: { label: units.length === 1 ? units[0] || 'value' : 'value', grid: true },
    color: { legend: false, scheme: 'Observable10', domain: lines.map(({ series }) => series) },
    marks: [
      Plot.areaY(rows, { x: 'time', y1: 'min', y2: 'max', fill: 'series', z: 'series', fillOpacity: 0.18 }),
      Plot.lineY(rows, { x: 'time', y: 'value', stroke: 'series', z: 'series', strokeWidth: 1.4 }),
      Plot.text(lines.flatMap(labelOf), {
        x: 'time',
        y: 'value',
        text: 'series',
        fill: 'series',
        textAnchor: 'end',
        dy: -8,
      }),
    ],
  } as Plot.PlotOptions);
  drawn.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return `<?xml version="1.0" encoding="UTF-8"?>\n${drawn.outerHTML}\n`;
}

function domainOf(lines: readonly Line[]): [Date, Date] {
  const from = Math.min(...lines.map(({ fromMs }) => fromMs));
  const to = Math.max(...lines.map(({ toMs }) => toMs));
  return [new Date(from), new Date(to)];
}

/** At the last point of the line. */
function labelOf({ series, points }: Line): { series: string; time: Date; value: number }[] {
  const last = points.at(-1);
  return last === undefined ? [] : [{ series, time: new Date(last.atMs), value: last.value }];
}
