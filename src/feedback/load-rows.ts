import { normaliseStatics, type StaticScaling } from '../forecast/load-forecast.js';
import {
  LOAD_HORIZONS,
  LONGEST_HISTORY,
  type LoadWindow,
  loadNetworkShape,
  loadTarget,
  loadWindow,
} from '../forecast/load-window.js';
import type { LoadSeries } from './load-series.js';
import type { Packed } from './normalisation.js';
import { seededRandom } from './random.js';

/** About 130 MB of rows; more are drawn from by chance. */
const MOST_ROWS = 250_000;
const LEAST_SCALE = 1e-3;

export interface LoadRows {
  readonly packed: Packed;
  readonly scaling: StaticScaling;
}

/** What is known before sample `position` of a series, oldest first. */
export function historyBefore(load: Float64Array, position: number): Float64Array {
  return load.subarray(Math.max(0, position - LONGEST_HISTORY), position);
}

/** A row for each position that has a past; targets beyond the end of a series are NaN, which the trainer leaves out. */
export function loadRows(series: readonly LoadSeries[], seed: number): LoadRows {
  const places = drawPlaces(series, seed);
  const shape = loadNetworkShape();
  const width = shape.steps * shape.sequenceFeatures;
  const sequence = new Float32Array(places.length * width);
  const fixed = new Float32Array(places.length * shape.staticFeatures);
  const target = new Float32Array(places.length * shape.targets);
  places.forEach(({ load, position }, i) => {
    const window = loadWindow(historyBefore(load, position));
    sequence.set(window.sequence, i * width);
    fixed.set(window.statics, i * shape.staticFeatures);
    target.set(targetsAt(load, position, window), i * shape.targets);
  });
  const scaling = scalingOf(fixed, shape.staticFeatures);
  for (let at = 0; at < fixed.length; at += shape.staticFeatures) {
    normaliseStatics(fixed.subarray(at, at + shape.staticFeatures), scaling, fixed, at);
  }
  return { packed: { count: places.length, sequence, fixed, target }, scaling };
}

interface Place {
  readonly load: Float64Array;
  readonly position: number;
}

function drawPlaces(series: readonly LoadSeries[], seed: number): Place[] {
  const count = series.reduce((sum, { load }) => sum + Math.max(0, load.length - 1), 0);
  const random = seededRandom(seed);
  const keep = MOST_ROWS / count;
  return series.flatMap(({ load }) =>
    Array.from({ length: Math.max(0, load.length - 1) }, (_, i) => ({ load, position: i + 1 })).filter(
      () => keep >= 1 || random() < keep,
    ),
  );
}

function targetsAt(load: Float64Array, position: number, window: LoadWindow): number[] {
  return LOAD_HORIZONS.map((ahead) => loadTarget(window, load[position + ahead - 1] ?? Number.NaN));
}

function scalingOf(rows: Float32Array, width: number): StaticScaling {
  const count = rows.length / width;
  const sum = new Float64Array(width);
  const squares = new Float64Array(width);
  rows.forEach((x, i) => {
    sum[i % width]! += x / count;
  });
  rows.forEach((x, i) => {
    squares[i % width]! += (x - sum[i % width]!) ** 2 / count;
  });
  return {
    mean: Float32Array.from(sum),
    scale: Float32Array.from(squares, (x) => Math.max(LEAST_SCALE, Math.sqrt(x))),
  };
}
