import type { CorecastClient } from '../connect.js';

export interface LinePoint {
  readonly atMs: number;
  readonly value: number;
  /** Of the samples in the step. */
  readonly min: number;
  readonly max: number;
}

/** One series as a plot shows it. */
export interface Line {
  readonly series: string;
  readonly unit: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
  readonly points: readonly LinePoint[];
}

export interface LineQuery {
  readonly series: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

const NICE_STEPS_S = [
  1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400,
];

/** The shortest step that people count in of which at most `columns` fill the range. */
export function niceStep(rangeMs: number, columns: number): number {
  const least = rangeMs / columns / 1_000;
  const step = NICE_STEPS_S.find((seconds) => seconds >= least) ?? Math.ceil(least / 86_400) * 86_400;
  return step * 1_000;
}

/** Mean, least and largest of each step of each series. */
export async function readLines(client: CorecastClient, query: LineQuery): Promise<Line[]> {
  const lines = new Map<
    string,
    { unit: string; points: Map<number, { -readonly [K in keyof LinePoint]: LinePoint[K] }> }
  >();
  for (const [field, aggregate] of FIELDS) {
    for await (const { series, unit, points } of client.queryHistory({ ...query, aggregate })) {
      const line = lines.get(series) ?? { unit, points: new Map() };
      lines.set(series, line);
      for (const { atMs, value } of points) {
        const point = line.points.get(atMs) ?? { atMs, value, min: value, max: value };
        point[field] = value;
        line.points.set(atMs, point);
      }
    }
  }
  return [...lines].map(([series, { unit, points }]) => ({
    ...query,
    series,
    unit,
    points: [...points.values()],
  }));
}

const FIELDS = [
  ['value', 'AGGREGATE_MEAN'],
  ['min', 'AGGREGATE_MIN'],
  ['max', 'AGGREGATE_MAX'],
] as const;
