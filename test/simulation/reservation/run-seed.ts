import { messageOf } from '../../../src/lib/errors.js';
import { act } from './actions.js';
import type { Boundaries } from './daemon.js';
import { Scenario } from './scenario.js';

/**
 * One run of the simulator: the real reservation system (src/reservation, src/pinning) in a world of simulated time,
 * disk, kernel and network, in which everything goes wrong that can. All that happens follows from the seed.
 */
export async function runSeed(
  seed: number,
  options: { directory: string; boundaries?: Boundaries; say?: (line: string) => void },
): Promise<{ readonly violations: readonly string[]; readonly steps: ReadonlySet<string> }> {
  const scenario = new Scenario(seed, options);
  const { witness } = scenario;
  try {
    await play(scenario);
  } catch (error) {
    witness.violated(`an error that nothing in the daemon handles: ${describe(error)}`);
  }
  for (const violation of witness.violations) scenario.say(`VIOLATION ${violation}`);
  return witness;
}

async function play(scenario: Scenario): Promise<void> {
  const { chance, witness } = scenario;
  await scenario.pass(50);
  for (let steps = chance.between(25, 50); steps > 0 && witness.violations.length === 0; steps--) {
    act(scenario);
    await scenario.pass(chance.hits(0.15) ? chance.between(500, 7_000) : chance.between(0, 12));
  }
  if (witness.violations.length === 0) await scenario.end();
}

function describe(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error);
}

export interface Failure {
  readonly seed: number;
  readonly violations: readonly string[];
}

export interface Outcome {
  readonly seeds: number;
  readonly failures: readonly Failure[];
  /** Every change of a reservation's state that happened in any of them: "PENDING ACTIVE". */
  readonly steps: ReadonlySet<string>;
}

/** Runs that are under way side by side: the turns of the event loop between their steps cost less then. */
const ABREAST = 8;

/** All seeds of a range; stops looking after `mostFailures`. */
export async function runSeeds(
  from: number,
  count: number,
  options: { directory: string; boundaries?: Boundaries; mostFailures?: number },
): Promise<Outcome> {
  const failures: Failure[] = [];
  const most = options.mostFailures ?? 10;
  const seen = new Set<string>();
  let next = from;
  let seeds = 0;
  const runner = async () => {
    while (next < from + count && failures.length < most) {
      const seed = next++;
      const { violations, steps } = await runSeed(seed, options);
      seeds++;
      for (const step of steps) seen.add(step);
      if (violations.length > 0) failures.push({ seed, violations });
    }
  };
  // Thousands of refusals a second, and nobody reads where they came from.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    await Promise.all(Array.from({ length: Math.min(ABREAST, count) }, runner));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return { seeds, failures, steps: seen };
}
