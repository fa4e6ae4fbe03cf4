import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { TRANSITIONS } from '../../../src/reservation/lease.js';
import { BREAKAGES } from './breakages.js';
import { type Failure, runSeed, runSeeds } from './run-seed.js';

/** A million: npm run -s bench -- crash --seeds 1000000. */
const SEEDS = 10_000;

const EVERY_STEP = Object.entries(TRANSITIONS)
  .flatMap(([from, steps]) => [...new Set(Object.values(steps))].map((to) => [from, to]))
  .filter(([from, to]) => from !== to)
  .map((step) => step.join(' '))
  .sort();

it(`keeps every promise over ${SEEDS} seeds of faults and kills`, { timeout: 300_000 }, async () => {
  const { seeds, failures, steps } = await runSeeds(1, SEEDS, { directory: emptyDirectory() });
  expect(failures.map(replay)).toEqual([]);
  expect(seeds).toBe(SEEDS);
  expect([...steps].sort(), 'every change of state that exists has happened').toEqual(EVERY_STEP);
});

it.each(Object.entries(BREAKAGES))('notices when %s', { timeout: 120_000 }, async (_, boundaries) => {
  const directory = emptyDirectory();
  const { failures } = await runSeeds(1, SEEDS, { directory, boundaries, mostFailures: 1 });
  expect(failures.length).toBeGreaterThan(0);
});

it('does the same again for the same seed', async () => {
  const directory = emptyDirectory();
  // Some seeds end early: several together are long enough to differ.
  const traceFrom = async (from: number) => {
    const lines: string[] = [];
    for (let seed = from; seed < from + 5; seed++) {
      await runSeed(seed, { directory, say: (line) => lines.push(line) });
    }
    return lines;
  };
  const [first, second, other] = [await traceFrom(7), await traceFrom(7), await traceFrom(12)];
  expect(first.length).toBeGreaterThan(100);
  expect(second).toEqual(first);
  expect(other).not.toEqual(first);
});

function replay({ seed, violations }: Failure): string {
  return `npm run -s bench -- crash --replay ${seed}: ${violations[0]}`;
}

function emptyDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'corecast-crash-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
