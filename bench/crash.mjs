/**
 * The reservation system in a simulated world of faults and kills (test/simulation/reservation), seed after seed: how
 * many seeds, how many of them broke a promise, how long it took. A seed that did is printed with what to type to see it.
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

export async function run(options = {}) {
  const built = buildSimulator();
  const directory = mkdtempSync(join(tmpdir(), 'corecast-crash-'));
  try {
    if (options.replay !== undefined) {
      return await replay(built.module, directory, whole(options.replay, 'replay'));
    }
    return await search(built.module, directory, {
      from: whole(options['seed-from'] ?? 1, 'seed-from'),
      seeds: whole(options.seeds ?? 100_000, 'seeds'),
      workers: whole(options.workers ?? 2, 'workers'),
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
    built.remove();
  }
}

async function search(module, directory, { from, seeds, workers }) {
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
  for (const { seed, violations } of failures) {
    console.log(`seed ${seed}: ${violations[0]}\n  npm run -s bench -- crash --replay ${seed}`);
  }
  const seconds = (performance.now() - began) / 1_000;
  return { figures: { seeds: done, violations: failures.length, seconds, seeds_per_second: done / seconds } };
}

async function replay(module, directory, seed) {
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
