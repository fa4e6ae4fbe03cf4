import type { Samples } from './chunk.js';

/** Samples from..to-1 of a run. */
export interface Slice extends Samples {
  readonly from: number;
  readonly to: number;
}

/**
 * Puts ascending runs of samples that come by ascending start into one ascending order. Runs overlap only where the wall
 * clock jumped back; elsewhere each run goes through as it is. What is held back is what overlaps the next run.
 */
export async function* ascending(runs: AsyncIterable<Samples>): AsyncGenerator<Slice> {
  let held: Slice | undefined;
  for await (const run of runs) {
    const next: Slice = { ...run, from: 0, to: run.at.length };
    if (held === undefined) {
      held = next;
      continue;
    }
    const start = run.at[0]!;
    const cut = firstAtOrAfter(held, start);
    if (cut > held.from) yield { ...held, to: cut };
    held = cut === held.to ? next : merged({ ...held, from: cut }, next);
  }
  if (held !== undefined) yield held;
}

/** Equal times keep the order of the runs. */
function merged(a: Slice, b: Slice): Slice {
  const count = a.to - a.from + (b.to - b.from);
  const at = new Float64Array(count);
  const values = new Float64Array(count);
  let i = a.from;
  let j = b.from;
  for (let k = 0; k < count; k++) {
    const fromA = j >= b.to || (i < a.to && a.at[i]! <= b.at[j]!);
    const source = fromA ? a : b;
    const index = fromA ? i++ : j++;
    at[k] = source.at[index]!;
    values[k] = source.values[index]!;
  }
  return { at, values, from: 0, to: count };
}

function firstAtOrAfter({ at, from, to }: Slice, time: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
