import { createHash } from 'node:crypto';
import type { Run } from '../history/records.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { below, seededRandom } from './random.js';
import { type Row, rowsOfRun } from './rows.js';
import { LEAST_SOURCES, type Part, type RunMark, splitRuns } from './split.js';

export interface PartOfDataset {
  readonly rows: readonly Row[];
  /** Runs that these rows come from. */
  readonly runs: number;
  readonly sources: readonly string[];
  /** Unix milliseconds: the start of its first run and the end of its last. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Dataset {
  readonly training: PartOfDataset;
  readonly validation: PartOfDataset;
  readonly test: PartOfDataset;
  /** Hex SHA-256 of every row in its part: the same data, whatever read it, has the same. */
  readonly hash: string;
  /** False: channels overlap too much to be put in order of time; they are split by source alone. */
  readonly timeOrdered: boolean;
  /** Usable runs that no part may have, because they lie outside its time. */
  readonly leftOut: number;
  /** Runs that could not be used, and why the first of them. */
  readonly unusable: number;
  readonly unusableReason: string;
}

export const LEAST_RUNS = 20;
/** About 1 kB each, and as much again in the trainer's form. */
export const MOST_ROWS = 40_000;
export const MOST_RUNS = 200_000;

export interface DatasetOptions {
  readonly seed: number;
  readonly mostRows?: number;
  /** Unix milliseconds: runs that ended later are not looked at, so that a training can be taken up again on the same. */
  readonly untilMs?: number;
}

/**
 * Reads runs one by one and keeps a bounded, seeded sample of their rows; split.ts tells which part each run belongs to. The
 * same runs and seed give the same dataset. Throws WRONG_STATE when there are too few runs or sources to train and judge a
 * model.
 */
export async function buildDataset(
  runs: AsyncIterable<Run> | Iterable<Run>,
  options: DatasetOptions,
): Promise<Dataset> {
  const { untilMs = Number.POSITIVE_INFINITY } = options;
  const random = seededRandom(options.seed);
  const sample = new Reservoir(options.mostRows ?? MOST_ROWS, random);
  const marks: RunMark[] = [];
  let unusable = 0;
  let unusableReason = '';
  for await (const run of runs) {
    if (marks.length >= MOST_RUNS) break;
    if (run.startedMs + run.wallSeconds * 1000 > untilMs) continue;
    const made = tryRows(run, random);
    if (typeof made === 'string') {
      if (unusable++ === 0) unusableReason = made;
      continue;
    }
    const mark = markOf(run);
    marks.push(mark);
    for (const row of made) sample.add(row, mark);
  }
  checkEnough(marks, unusable, unusableReason);
  const split = splitRuns(marks);
  const parts = {
    training: partOf(sample.kept, 'training', split.partOf),
    validation: partOf(sample.kept, 'validation', split.partOf),
    test: partOf(sample.kept, 'test', split.partOf),
  };
  return {
    ...parts,
    hash: hashOf(parts),
    timeOrdered: split.timeOrdered,
    leftOut: marks.filter((mark) => split.partOf(mark) === undefined).length,
    unusable,
    unusableReason,
  };
}

/** A run's samples are its first hour at most; what came later is in no row. */
function markOf({ source, origin, startedMs, samples }: Run): RunMark {
  const seconds = samples.reduce((last, { atS }) => Math.max(last, atS), 0);
  return {
    source,
    channel: origin !== 'calibration',
    startMs: startedMs,
    endMs: startedMs + seconds * 1000,
  };
}

interface Kept {
  readonly row: Row;
  readonly run: RunMark;
}

function partOf(
  kept: readonly Kept[],
  which: Part,
  assigned: (run: RunMark) => Part | undefined,
): PartOfDataset {
  // What was imagined or withheld teaches; only what was measured judges.
  const judges = ({ row }: Kept) => !row.imagined && !row.withheld;
  const own = kept.filter((one) => assigned(one.run) === which && (which !== 'test' || judges(one)));
  return {
    rows: own.map(({ row }) => row),
    runs: new Set(own.map(({ row }) => row.runId)).size,
    sources: [...new Set(own.map(({ run }) => run.source))],
    fromMs: own.reduce((first, { run }) => Math.min(first, run.startMs), Number.POSITIVE_INFINITY),
    toMs: own.reduce((last, { run }) => Math.max(last, run.endMs), 0),
  };
}

function hashOf(parts: Readonly<Record<Part, PartOfDataset>>): string {
  const hash = createHash('sha256');
  for (const [part, { rows }] of Object.entries(parts)) {
    hash.update(part);
    for (const { runId, sequence, fixed, target } of rows) {
      hash.update(runId);
      for (const { buffer, byteOffset, byteLength } of [sequence, fixed, target])
        hash.update(new Uint8Array(buffer, byteOffset, byteLength));
    }
  }
  return hash.digest('hex');
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

function checkEnough(marks: readonly RunMark[], unusable: number, reason: string): void {
  const runs = marks.length;
  const sources = new Set(marks.map(({ source }) => source)).size;
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

  add(row: Row, run: RunMark): void {
    this.#seen++;
    if (this.kept.length < this.#most) {
      this.kept.push({ row, run });
      return;
    }
    const place = below(this.#random, this.#seen);
    if (place < this.#most) this.kept[place] = { row, run };
  }
}
