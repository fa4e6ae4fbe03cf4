/**
 * What channels that share CPUs give back of what they were promised when another needs it: those with most to spare first,
 * each down to what it needs now. They stay on their CPUs. Pure.
 */

import { scaled } from './allocator-spread.js';
import { milliOf } from './cpu-shares.js';
import type { CpuShare } from './reservation.js';

export interface Lender {
  readonly cpus: readonly CpuShare[];
  /** Thousandths that it has to keep. */
  readonly keepMilli: number;
}

/** Undefined when all together have too little to spare. */
export function lend<T extends Lender>(
  lenders: readonly T[],
  milli: number,
): readonly { readonly lender: T; readonly cpus: readonly CpuShare[] }[] | undefined {
  const able = lenders
    .map((lender) => ({ lender, held: milliOf(lender.cpus) }))
    .map(({ lender, held }) => ({ lender, held, spare: held - Math.max(1, Math.ceil(lender.keepMilli)) }))
    .filter(({ spare }) => spare >= LEAST_LOAN_MILLI)
    .sort((a, b) => b.spare - a.spare);
  const loans: { lender: T; cpus: readonly CpuShare[] }[] = [];
  let missing = milli;
  for (const { lender, held, spare } of able) {
    if (missing <= 0) break;
    // All that it can spare: it is not asked again soon.
    loans.push({ lender, cpus: scaled(lender.cpus, held - spare) });
    missing -= spare;
  }
  return missing <= 0 ? loans : undefined;
}

/** Less is not worth a write. */
const LEAST_LOAN_MILLI = 5;
