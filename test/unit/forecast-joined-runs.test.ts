import { describe, expect, it } from 'vitest';
import { joinRuns } from '../../src/forecast/joined-runs.js';
import { OUTPUTS } from '../../src/forecast/network.js';

const HOST = Float32Array.of(1, 2, 3);

/** Answers each row with its own first number; a row that starts with NaN spoils the batch. */
function network() {
  const batches: number[][] = [];
  const run = joinRuns(async (_sequence, statics) => {
    batches.push(statics.map((row) => row[0]!));
    await new Promise((resolve) => setImmediate(resolve));
    if (statics.some((row) => Number.isNaN(row[0]))) throw new Error('not finite');
    return Float32Array.from(statics.flatMap((row) => new Array<number>(OUTPUTS).fill(row[0]!)));
  });
  const rows = (...firsts: number[]) => firsts.map((first) => Float32Array.of(first));
  return { batches, run, rows };
}

describe('runs of the model', () => {
  it('that are asked for during another go together, and each gets its own rows', async () => {
    const { batches, run, rows } = network();
    const outputs = await Promise.all([
      run(HOST, rows(1)),
      run(HOST, rows(2, 3)),
      run(HOST.slice(), rows(4)),
    ]);
    expect(batches).toEqual([[1], [2, 3, 4]]);
    expect(outputs.map((output) => output.length / OUTPUTS)).toEqual([1, 2, 1]);
    expect(outputs.map((output) => [output[0], output.at(-1)])).toEqual([
      [1, 1],
      [2, 3],
      [4, 4],
    ]);
  });

  it('of different sequences do not', async () => {
    const { batches, run, rows } = network();
    const other = Float32Array.of(1, 2, 4);
    await Promise.all([run(HOST, rows(1)), run(HOST, rows(2)), run(other, rows(3)), run(HOST, rows(4))]);
    expect(batches).toEqual([[1], [2, 4], [3]]);
  });

  it('go in batches of at most 256 rows', async () => {
    const { batches, run, rows } = network();
    const many = Array.from({ length: 200 }, (_, i) => i);
    await Promise.all([run(HOST, rows(1)), run(HOST, rows(...many)), run(HOST, rows(...many))]);
    expect(batches.map(({ length }) => length)).toEqual([1, 200, 200]);
  });

  it('fail alone: who was in the same batch still gets an answer', async () => {
    const { run, rows } = network();
    const [first, spoilt, sound] = await Promise.allSettled([
      run(HOST, rows(1)),
      run(HOST, rows(Number.NaN)),
      run(HOST, rows(3)),
    ]);
    expect(first.status).toBe('fulfilled');
    expect(spoilt).toMatchObject({ status: 'rejected', reason: { message: 'not finite' } });
    expect(sound).toMatchObject({ status: 'fulfilled' });
    expect((sound as PromiseFulfilledResult<Float32Array>).value[0]).toBe(3);
  });
});
