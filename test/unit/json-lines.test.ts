import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JsonLines } from '../../src/lib/json-lines.js';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-lines-'));
  path = join(dir, 'steps.jsonl');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (mostBytes = 10_000, sync = false) =>
  new JsonLines<number>(path, {
    mostBytes,
    sync,
    parse: (value) => (typeof value === 'number' ? value : undefined),
  });

describe('a record of JSON lines', () => {
  it('is empty before anything was written, and then has everything in order, over restarts', async () => {
    expect(await open().read()).toEqual([]);
    const lines = open(10_000, true);
    await Promise.all([lines.append([1, 2]), lines.append([]), lines.append([3])]);
    await open().append([4]);
    expect(await open().read()).toEqual([1, 2, 3, 4]);
  });

  it('keeps at least the newest and never more than twice its bound', async () => {
    const lines = open(100);
    for (let i = 1000; i < 1200; i++) await lines.append([i]);
    const kept = await lines.read();
    expect(kept.at(-1)).toBe(1199);
    expect(kept.length).toBeGreaterThanOrEqual(100 / 5);
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => 1200 - kept.length + i));
    expect(statSync(path).size + statSync(`${path}.1`).size).toBeLessThanOrEqual(2 * 105);
  });

  it.each([
    ['cut short by a crash', '{"at":', [1, 2, 3]],
    ['of another kind', '"two"\n', [1, 2, 3]],
    ['not text', '\u0000\u0001\n', [1, 2, 3]],
    ['empty', '\n\n', [1, 2, 3]],
  ])('skips a line that is %s and loses no other', async (_, damage, expected) => {
    await open().append([1, 2]);
    appendFileSync(path, damage);
    await open().append([3]);
    expect(await open().read()).toEqual(expected);
    expect(readFileSync(path, 'utf8').endsWith('\n')).toBe(true);
  });

  it('says so when it cannot be written, and goes on when it can', async () => {
    const lines = new JsonLines<number>(join(dir, 'not-yet', 'x'), {
      mostBytes: 100,
      sync: false,
      parse: Number,
    });
    await expect(lines.append([1])).rejects.toThrow(/ENOENT/);
    writeFileSync(path, '');
    const there = open();
    await there.append([1]);
    await there.settled();
    expect(await there.read()).toEqual([1]);
  });
});
