import { costTableDemand } from './cost-table.js';
import { clamp } from './decode.js';
import type { Signature } from './signature.js';

/**
 * What a channel is expected to take before a model says more, cores: what its own trial took, where one was made, else
 * the cost table's estimate. Models learn and tell demand relative to it. `speedFactor`: this host's, where the table has
 * to be corrected by it; a trial ran on this host and knows.
 */
export function expectedDemand(signature: Signature, speedFactor = 1): number {
  const table = costTableDemand(signature) * speedFactor;
  const { probeCpuSecondsPerFrame: trial } = signature.complexity;
  if (trial === undefined) return table;
  return clamp(trial * signature.input.fps, table / MOST_APART, table * MOST_APART);
}

/** A trial this far from the table is a mistake or a lie: it comes from the client. */
const MOST_APART = 16;
