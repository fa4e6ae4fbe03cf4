/**
 * The reservation system in a simulated world of faults and kills (test/simulation/reservation), seed after seed: how
 * many seeds, how many of them broke a promise, how long it took. A seed that did is run again at once, on the same
 * sources, and printed with the end of what happened in it; one that does not break the promise again is a fault of the
 * simulator, and said to be. `sources` names what was run: other sources make another run of the same seed.
 *
 *   npm run -s bench -- crash [--seeds 100000] [--seed-from 1] [--workers 2] [--json]
 *   npm run -s bench -- crash --replay SEED
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { buildSimulator } from './crash/build.mjs';

const PORTION = 1_000;
/** A defect shows in many seeds; that many are enough to look at. */
const MOST_FAILURES = 20;
/** Of what happened before a promise was broken. */
const LAST_LINES = 25;

export async function run(options = {}) {
  const built = buildSimulator();
  const directory = mkdtempSync(join(tmpdir(), 'corecast-crash-'));
  try {
    if (options.replay !== undefined) {
      return await replay(built, directory, whole(options.replay, 'replay'));
    }
    return await search(built, directory, {
      from: whole(options['seed-from'] ?? 1, 'seed-from'),
      seeds: whole(options.seeds ?? 100_000, 'seeds'),
      workers: whole(options.workers ?? 2, 'workers'),
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
    built.remove();
  }
}

async function search({ module, sources }, directory, { from, seeds, workers }) {
  const began = performance.now();
  const failures = [];
  let next = from;
  let done = 0;
  const work = () =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./crash/worker.mjs', import.meta.url), {
        workerData: { module, directory },
        // What one simulated host holds lives for milliseconds: it is not to be copied into the old generation.
        resourceLimits: { maxYoungGenerationSizeMb: 128 },
      });
      worker.on('error', reject);
      worker.on('message', (result) => {
        done += result.seeds;
        failures.push(...result.failures);
        const count = Math.min(PORTION, from + seeds - next);
        if (count <= 0 || failures.length >= MOST_FAILURES) {
          worker.terminate().then(resolve, reject);
          return;
        }
        worker.postMessage({ from: next, count });
        next += count;
      });
    });
  await Promise.all(Array.from({ length: workers }, work));
  failures.sort((a, b) => a.seed - b.seed);
  if (failures.length > 0) process.exitCode = 1;
  const seconds = (performance.now() - began) / 1_000;
  for (const failure of failures) await tell(failure, { module, sources, directory });
  return { figures: { seeds: done, violations: failures.length, seconds, seeds_per_second: done / seconds } };
}

async function tell({ seed, violations }, { module, sources, directory }) {
  console.log(`seed ${seed}, sources ${sources}: ${violations[0]}`);
  const { runSeed } = await import(module);
  const lines = [];
  const again = await runSeed(seed, { directory, say: (line) => lines.push(line) });
  if (again.violations[0] !== violations[0]) {
    const now = again.violations[0] ?? 'no promise broken';
    console.log(`  run again: ${now}. What a seed does must be the same each time: a fault of the simulator`);
  }
  for (const line of lines.slice(-LAST_LINES)) console.log(`  ${line}`);
  console.log(`  all of it: npm run -s bench -- crash --replay ${seed}`);
}

async function replay({ module, sources }, directory, seed) {
  console.log(`seed ${seed}, sources ${sources}`);
  const { runSeed } = await import(module);
  const began = performance.now();
  const { violations } = await runSeed(seed, { directory, say: (line) => console.log(line) });
  const seconds = (performance.now() - began) / 1_000;
  return { figures: { seeds: 1, violations: violations.length > 0 ? 1 : 0, seconds } };
}

function whole(text, name) {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0) return number;
  throw new Error(`--${name} is ${JSON.stringify(text)}; expected a whole number, 0 or more`);
}
