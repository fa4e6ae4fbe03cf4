/**
 * Which runs teach, which say when to stop, and which judge. Split by source, never by run: a network that has seen a
 * picture at one size knows half the answer at another. Sources stand in the order in which they were first seen; the
 * newest ones judge, because a forecast is about what comes next.
 */
export type Part = 'training' | 'validation' | 'test';

export interface SourceRuns {
  readonly source: string;
  /** Unix milliseconds of its first run. */
  readonly firstMs: number;
  readonly runs: number;
}

/** Share of the runs that each of validation and test should come near. */
const HELD_OUT = 0.15;
export const LEAST_SOURCES = 3;

/** Every part gets at least one source; needs LEAST_SOURCES of them. */
export function splitSources(sources: readonly SourceRuns[]): ReadonlyMap<string, Part> {
  const ordered = [...sources].sort((a, b) => a.firstMs - b.firstMs || (a.source < b.source ? -1 : 1));
  const wanted = HELD_OUT * ordered.reduce((sum, { runs }) => sum + runs, 0);
  const testFrom = cutFromEnd(ordered, ordered.length, wanted, 2);
  const validationFrom = cutFromEnd(ordered, testFrom, wanted, 1);
  return new Map(
    ordered.map(({ source }, i) => [
      source,
      i >= testFrom ? 'test' : i >= validationFrom ? 'validation' : 'training',
    ]),
  );
}

/** The cut below `end`, at least `least`, that leaves nearest to `wanted` runs between itself and `end`. */
function cutFromEnd(ordered: readonly SourceRuns[], end: number, wanted: number, least: number): number {
  let best = end - 1;
  let runs = 0;
  let error = Number.POSITIVE_INFINITY;
  for (let cut = end - 1; cut >= least; cut--) {
    runs += ordered[cut]!.runs;
    if (Math.abs(runs - wanted) >= error) break;
    error = Math.abs(runs - wanted);
    best = cut;
  }
  return best;
}
