import type { ProcessRef } from './reservation.js';

/** The same process, or none in both. */
export function sameProcess(a: ProcessRef | undefined, b: ProcessRef | undefined): boolean {
  return a?.pid === b?.pid && a?.startTicks === b?.startTicks;
}
