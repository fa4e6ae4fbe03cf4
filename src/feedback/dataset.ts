import type { Run } from '../history/records.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { below, seededRandom } from './random.js';
import { type Row, rowsOfRun } from './rows.js';
import { LEAST_SOURCES, type Part, splitSources } from './split.js';

export interface PartOfDataset {
  readonly rows: readonly Row[];
  /** Runs that these rows come from. */
  readonly runs: number;
  readonly sources: readonly string[];
}

export interface Dataset {
  readonly training: PartOfDataset;
  readonly validation: PartOfDataset;
  readonly test: PartOfDataset;
  /** Runs that could not be used, and why the first of them. */
  readonly unusable: number;
  readonly unusableReason: string;
}

export const LEAST_RUNS = 20;
/** About 1 kB each. */
const MOST_ROWS = 40_000;
const MOST_RUNS = 200_000;

export interface DatasetOptions {
  readonly seed: number;
  readonly mostRows?: number;
}

/**
 * Reads runs one by one and keeps a bounded, seeded sample of their rows. The same runs and seed give the same dataset.
 * Throws WRONG_STATE when there are too few runs or sources to train and judge a model.
 */
export async function buildDataset(
  runs: AsyncIterable<Run> | Iterable<Run>,
  options: DatasetOptions,
): Promise<Dataset> {
  const random = seededRandom(options.seed);
  const sample = new Reservoir(options.mostRows ?? MOST_ROWS, random);
  const sources = new Map<string, { firstMs: number; runs: number }>();
  let usable = 0;
  let unusable = 0;
  let unusableReason = '';
  for await (const run of runs) {
    if (usable >= MOST_RUNS) break;
    const made = tryRows(run, random);
    if (typeof made === 'string') {
      if (unusable++ === 0) unusableReason = made;
      continue;
    }
    usable++;
    for (const row of made) sample.add(row, run.source);
    const seen = sources.get(run.source);
    sources.set(run.source, {
      firstMs: Math.min(run.startedMs, seen?.firstMs ?? run.startedMs),
      runs: (seen?.runs ?? 0) + 1,
    });
  }
  checkEnough(usable, sources.size, unusable, unusableReason);
  const parts = splitSources([...sources].map(([source, { firstMs, runs }]) => ({ source, firstMs, runs })));
  const part = (which: Part) => partOf(sample.kept, parts, which);
  return {
    training: part('training'),
    validation: part('validation'),
    test: part('test'),
    unusable,
    unusableReason,
  };
}

interface Kept {
  readonly row: Row;
  readonly source: string;
}

function partOf(kept: readonly Kept[], parts: ReadonlyMap<string, Part>, which: Part): PartOfDataset {
  // An imagined host teaches; only measured ones judge.
  const own = kept.filter(
    ({ row, source }) => parts.get(source) === which && !(which === 'test' && row.imagined),
  );
  return {
    rows: own.map(({ row }) => row),
    runs: new Set(own.map(({ row }) => row.runId)).size,
    sources: [...new Set(own.map(({ source }) => source))],
  };
}

/** Rows, or why there are none. */
function tryRows(run: Run, random: () => number): Row[] | string {
  let rows: Row[];
  try {
    rows = rowsOfRun(run, random);
  } catch (error) {
    return `run ${run.id}: ${messageOf(error)}`;
  }
  if (rows.length === 0) return `run ${run.id}: no usable samples`;
  const odd = rows.some(
    ({ sequence, fixed, target, cost }) =>
      !sequence.every(Number.isFinite) ||
      !fixed.every(Number.isFinite) ||
      target.every(Number.isNaN) ||
      !target.every((y) => Math.abs(y) < 1e3 || Number.isNaN(y)) ||
      !(cost > 0),
  );
  return odd ? `run ${run.id}: a number in it is not finite or absurd` : rows;
}

function checkEnough(runs: number, sources: number, unusable: number, reason: string): void {
  const left = unusable === 0 ? '' : `; ${unusable} were left out (${reason})`;
  const metadata = {
    runs: String(runs),
    runsNeeded: String(LEAST_RUNS),
    sources: String(sources),
    sourcesNeeded: String(LEAST_SOURCES),
  };
  if (runs < LEAST_RUNS) {
    throw new CorecastError(
      'WRONG_STATE',
      `the history has ${runs} usable runs, training needs ${LEAST_RUNS}${left}; ` +
        'run more channels or `corecast calibrate`',
      { metadata },
    );
  }
  if (sources < LEAST_SOURCES) {
    throw new CorecastError(
      'WRONG_STATE',
      `the ${runs} runs come from ${sources} sources, training needs ${LEAST_SOURCES} to keep some unseen${left}; ` +
        'run other channels or `corecast calibrate`',
      { metadata },
    );
  }
}

/** Vitter's algorithm R: each row seen so far is kept with the same probability. */
class Reservoir {
  readonly kept: Kept[] = [];
  readonly #most: number;
  readonly #random: () => number;
  #seen = 0;

  constructor(most: number, random: () => number) {
    this.#most = most;
    this.#random = random;
  }

  add(row: Row, source: string): void {
    this.#seen++;
    if (this.kept.length < this.#most) {
      this.kept.push({ row, source });
      return;
    }
    const place = below(this.#random, this.#seen);
    if (place < this.#most) this.kept[place] = { row, source };
  }
}
