import type { EvidenceGroup, EvidencePart, EvidencePoint, ModelEvidence } from '../forecast/evidence.js';
import { HORIZONS } from '../forecast/forecast.js';
import { OUTPUTS, QUANTILES, TARGETS_PER_HORIZON } from '../forecast/network.js';
import type { Dataset, PartOfDataset } from './dataset.js';
import { demandQuantiles } from './judge.js';
import type { Row } from './rows.js';
import { addScore, noScore } from './scores.js';
import { demandOf } from './targets.js';

/** On the page they are dots: more would hide one another. */
const MOST_POINTS = 1_500;

export function recordOfData(dataset: Dataset): ModelEvidence['data'] {
  const { hash, timeOrdered, leftOut, unusable, training, validation, test } = dataset;
  return {
    hash,
    timeOrdered,
    leftOut,
    unusable,
    training: recordOfPart(training),
    validation: recordOfPart(validation),
    test: recordOfPart(test),
  };
}

/** `answers`: [rows, OUTPUTS]. */
export function testEvidence(
  rows: readonly Row[],
  answers: Float32Array,
): Pick<ModelEvidence, 'groups' | 'points'> {
  const groups = new Map<
    string,
    { encoder: string; horizon: number; sums: ReturnType<typeof noScore>; runs: Set<string> }
  >();
  const points: EvidencePoint[] = [];
  rows.forEach((row, i) => {
    HORIZONS.forEach((_, horizon) => {
      const logRatio = row.target[horizon * TARGETS_PER_HORIZON]!;
      if (Number.isNaN(logRatio)) return;
      const at = i * OUTPUTS + horizon * TARGETS_PER_HORIZON * QUANTILES.length;
      const forecast = demandQuantiles(answers, at, row.cost);
      const actual = demandOf(logRatio, row.cost);
      const key = `${row.encoder}/${horizon}`;
      const group = groups.get(key) ?? { encoder: row.encoder, horizon, sums: noScore(), runs: new Set() };
      groups.set(key, group);
      addScore(group.sums, actual, forecast);
      group.runs.add(row.runId);
      points.push({
        encoder: row.encoder,
        horizon,
        actual: short(actual),
        q50: short(forecast.q50),
        q90: short(forecast.q90),
      });
    });
  });
  return { groups: [...groups.values()].map(recordOfGroup), points: evenly(points, MOST_POINTS) };
}

function recordOfGroup({
  encoder,
  horizon,
  sums: { count, covered, pinball, demand, error },
  runs,
}: {
  encoder: string;
  horizon: number;
  sums: ReturnType<typeof noScore>;
  runs: ReadonlySet<string>;
}): EvidenceGroup {
  return { encoder, horizon, runs: runs.size, rows: count, covered, pinball, demand, error };
}

function recordOfPart({ rows, runs, sources, fromMs, toMs }: PartOfDataset): EvidencePart {
  return {
    runs,
    rows: rows.length,
    sources: sources.length,
    fromMs: rows.length === 0 ? 0 : fromMs,
    toMs: Math.round(toMs),
  };
}

function evenly<T>(items: readonly T[], most: number): T[] {
  const stride = Math.max(1, items.length / most);
  return Array.from({ length: Math.min(most, items.length) }, (_, i) => items[Math.floor(i * stride)]!);
}

/** Four digits: a dot on a page needs no more. */
function short(x: number): number {
  return Number(x.toPrecision(4));
}
