import { describe, expect, it } from 'vitest';
import { loadRows } from '../../src/feedback/load-rows.js';
import { foldsOf, type LoadSeries, parseLoadSeries, resolutionOf } from '../../src/feedback/load-series.js';
import { LOAD_HORIZONS } from '../../src/forecast/load-window.js';

const machines = (count: number): LoadSeries[] =>
  Array.from({ length: count }, (_, i) => ({ machine: `m${i}`, load: Float64Array.of(i, i + 1, i) }));

describe('a file of loads', () => {
  it('holds one machine a line', () => {
    expect(parseLoadSeries('vm0,1,2.5,100\r\nvm1,0,0\n', 'a.csv')).toEqual([
      { machine: 'vm0', load: Float64Array.of(1, 2.5, 100) },
      { machine: 'vm1', load: Float64Array.of(0, 0) },
    ]);
  });

  it.each([
    ['vm0,1\nvm1,2,x\n', 'a.csv:2: column 3 is "x"'],
    ['vm0,1,,3\n', 'a.csv:1: column 3 is ""'],
    ['vm0,101\n', 'a.csv:1: column 2 is "101"'],
    ['vm0,-1\n', 'a.csv:1: column 2 is "-1"'],
    ['vm0,1\nvm0,2\n', 'a.csv: machine is "vm0"'],
    ['\n', 'a.csv: holds no machine'],
  ])('%j is refused with the place and the value', (text, message) => {
    expect(() => parseLoadSeries(text, 'a.csv')).toThrow(message);
  });

  it('is of whole percents only when every load is', () => {
    expect(resolutionOf(machines(2))).toBe(1);
    expect(resolutionOf([...machines(2), { machine: 'x', load: Float64Array.of(1, 2.5) }])).toBe(0);
  });
});

describe('folds', () => {
  it('hold every machine once and differ in size by one at most', () => {
    const folds = foldsOf(machines(23), 5, 7);
    const names = folds.flat().map(({ machine }) => machine);
    expect(new Set(names).size).toBe(23);
    expect(names).toHaveLength(23);
    expect(folds.map(({ length }) => length).sort()).toEqual([4, 4, 5, 5, 5]);
  });

  it('are those of their seed', () => {
    expect(foldsOf(machines(23), 5, 7)).toEqual(foldsOf(machines(23), 5, 7));
    expect(foldsOf(machines(23), 5, 7)).not.toEqual(foldsOf(machines(23), 5, 8));
  });

  it.each([1, 2.5, 4])('%d of three machines are refused', (count) => {
    expect(() => foldsOf(machines(3), count, 1)).toThrow(`folds is ${count}`);
  });
});

describe('training rows', () => {
  const load = Float64Array.from({ length: 30 }, (_, i) => (i * 13) % 50);
  const rowsOf = (loads: Float64Array) => loadRows([{ machine: 'm', load: loads }], 1);

  it('are one for each position with a past', () => {
    expect(rowsOf(load).packed.count).toBe(29);
  });

  it('know no target beyond the end of a series', () => {
    const { target } = rowsOf(load).packed;
    const known = Array.from(target.subarray(-LOAD_HORIZONS.length), (x) => !Number.isNaN(x));
    expect(known).toEqual(LOAD_HORIZONS.map((ahead) => ahead === 1));
  });

  it('see nothing of what comes after their position', () => {
    const changed = load.map((x, i) => (i >= 20 ? 100 - x : x));
    // Normalisation is over all rows of the training part; the sequence is not normalised by it.
    const width = rowsOf(load).packed.sequence.length / 29;
    const untilChange = (loads: Float64Array) => rowsOf(loads).packed.sequence.subarray(0, 20 * width);
    expect(untilChange(changed)).toEqual(untilChange(load));
    expect(rowsOf(changed).packed.sequence).not.toEqual(rowsOf(load).packed.sequence);
  });

  it('have statics of mean 0 and deviation 1, or 0 where a feature never changes', () => {
    const { packed } = rowsOf(load);
    const width = packed.fixed.length / packed.count;
    for (let feature = 0; feature < width; feature++) {
      const column = Array.from({ length: packed.count }, (_, row) => packed.fixed[row * width + feature]!);
      const mean = column.reduce((a, b) => a + b, 0) / column.length;
      const deviation = Math.sqrt(column.reduce((sum, x) => sum + (x - mean) ** 2, 0) / column.length);
      // What is clipped at five deviations moves both a little.
      expect(Math.abs(mean)).toBeLessThan(0.05);
      expect(deviation).toBeLessThan(1.01);
    }
  });
});
