import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openRegistry } from '../../src/forecast/registry.js';
import { systemClock } from '../../src/lib/clock.js';
import { buildTrainer } from '../support/build-trainer.js';
import { madeRuns } from '../support/training-runs.js';

// At idle priority a child waits for every neighbour.
vi.setConfig({ testTimeout: 120_000 });

const RUNS = madeRuns({ seed: 1, sources: 8, runsPerSource: 5, origin: 'calibration' });

let built: ReturnType<typeof buildTrainer>;
let folder: string;
beforeAll(() => {
  built = buildTrainer(['feedback/trainer-child.ts', 'feedback/train-baseline.ts']);
}, 120_000);
afterAll(() => built.remove());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'corecast-baseline-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('train-baseline', () => {
  it('writes a model folder that the registry takes as its baseline, and prints the scores', async () => {
    const file = join(folder, 'runs.jsonl.gz');
    writeFileSync(file, gzipSync(RUNS.map((each) => `${JSON.stringify(each)}\n`).join('')));
    const out = join(folder, 'baseline');
    const { stdout } = await trainBaseline(file, out, '--seed', '2', '--epochs', '5');
    expect(readdirSync(out).sort()).toEqual(['evidence.json', 'model.json', 'model.onnx', 'weights.bin']);
    expect(stdout).toMatch(/method +MAPE +pinball90 +coverage90\nlstm +[\d.]+ % +[\d.]+ +[\d.]+ %\n/);
    const registry = await openRegistry({
      directory: join(folder, 'models'),
      baseline: out,
      clock: systemClock,
    });
    expect(registry.problems()).toEqual([]);
    expect(registry.inUse()?.card).toMatchObject({ origin: 'baseline', seed: 2 });
    registry.close();
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['a line that is not JSON', `${JSON.stringify(RUNS[0])}\n{"id": tru\n`, /runs\.jsonl:2: not JSON/],
    ['too few runs', `${JSON.stringify(RUNS[0])}\n`, /1 usable runs, training needs 20/],
    ['nothing', '', /0 usable runs, training needs 20/],
  ])('refuses a file with %s and writes nothing', async (_, content, message) => {
    const file = join(folder, 'runs.jsonl');
    writeFileSync(file, content);
    await expect(trainBaseline(file, join(folder, 'out'))).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual(['runs.jsonl']);
  });

  it('refuses a gzip file that was cut short, and one that is not there', async () => {
    const file = join(folder, 'runs.jsonl.gz');
    const whole = gzipSync(RUNS.map((each) => `${JSON.stringify(each)}\n`).join(''));
    writeFileSync(file, whole.subarray(0, whole.length / 2));
    await expect(trainBaseline(file, join(folder, 'out'))).rejects.toThrow(/unexpected end of file/);
    await expect(trainBaseline(join(folder, 'none.gz'), join(folder, 'out'))).rejects.toThrow(/ENOENT/);
  });
});

function trainBaseline(...args: string[]) {
  return promisify(execFile)(process.execPath, [built.file('feedback/train-baseline.js'), ...args]);
}
