import { describe, expect, it } from 'vitest';
import { estimateResponse } from '../../src/forecast/host-response.js';
import { seededNormal } from '../support/seeded-random.js';

/** The bench's parts are plain JavaScript: what they give is checked here, not by the compiler. */
const part = (name: string) => import(new URL(`../../bench/hardware/${name}.mjs`, import.meta.url).href);
const { learnFleet, fleetCells } = await part('fleet');
const { calibrationDesign } = await part('design');
const { cellKey } = await part('table');
const { quantile } = await part('statistics');

interface Cell {
  readonly key: string;
  readonly mean: number;
  readonly loadings: Float64Array;
  readonly noise: number;
  readonly seconds: number;
}

interface Run {
  readonly video: string;
  readonly config: string;
  readonly logFps: number;
  readonly seconds: number;
}

interface Machine {
  readonly id: string;
  readonly model: string;
  readonly runs: Map<string, Run>;
}

const VIDEOS = ['a', 'b', 'c', 'd'];
const CONFIGS = Array.from({ length: 40 }, (_, c) => String(c));

/**
 * Machines with a factor, a planted component (how wide their vector units are: it acts on some configurations more)
 * and noise; videos whose curves differ in slope.
 */
function plantedFleet(count: number, seed: number, { component = 0.15, noise = 0.03 } = {}): Machine[] {
  const normal = seededNormal(seed);
  return Array.from({ length: count }, (_, m) => {
    const [factor, width] = [0.5 * normal(), normal()];
    const runs = new Map<string, Run>();
    for (const [v, video] of VIDEOS.entries()) {
      for (const [c, config] of CONFIGS.entries()) {
        const base = 6 - v * 0.3 - c * (0.05 + 0.01 * v);
        const logFps = base + factor + component * width * Math.sin(c) + noise * normal();
        runs.set(cellKey(video, config), { video, config, logFps, seconds: 1000 / Math.exp(logFps) });
      }
    }
    return { id: String(m), model: `CPU ${m}`, runs };
  });
}

function calibrate(fleet: unknown, machine: Machine, budgetSeconds: number, videos = VIDEOS) {
  const cells: Cell[] = fleetCells(fleet, videos).filter(({ key }: Cell) => machine.runs.has(key));
  const chosen: Cell[] = calibrationDesign(cells, budgetSeconds);
  const measured = chosen.map(({ key, mean, loadings, noise }) => ({
    logRatio: machine.runs.get(key)!.logFps - mean,
    loadings,
    noise,
  }));
  const response = estimateResponse(cells[0]!.loadings.length, measured);
  const rest = cells.filter((cell) => !chosen.includes(cell));
  const errors = (forecast: (cell: Cell) => number) =>
    rest.map((cell) => 100 * Math.abs(Math.expm1(forecast(cell) - machine.runs.get(cell.key)!.logFps)));
  const factor = quantile(
    measured.map(({ logRatio }) => logRatio),
    0.5,
  );
  return {
    chosen,
    median: quantile(
      errors((cell) => cell.mean + response.logRatio(cell.loadings)),
      0.5,
    ) as number,
    oneFactor: quantile(
      errors((cell) => cell.mean + factor),
      0.5,
    ) as number,
  };
}

describe('a fleet of measured machines', () => {
  it('forecasts a machine that is not among them down to the noise, far better than one factor', () => {
    const [machine, ...fleet] = plantedFleet(13, 1);
    const { median, oneFactor } = calibrate(learnFleet(fleet), machine!, 20);
    // Two thirds of a standard deviation of 3 % is what nobody can forecast.
    expect(median).toBeLessThan(2.8);
    expect(oneFactor).toBeGreaterThan(2 * median);
  });

  it('finds nothing where machines differ by a factor alone', () => {
    const [machine, ...fleet] = plantedFleet(13, 2, { component: 0 });
    const { median, oneFactor } = calibrate(learnFleet(fleet), machine!, 20);
    expect(median).toBeLessThan(2.5);
    expect(median).toBeLessThan(1.2 * oneFactor);
  });

  it('is moved little by a machine on which another job ran', () => {
    const [machine, ...fleet] = plantedFleet(13, 3);
    const disturbed = fleet.map((other, m) =>
      m > 0
        ? other
        : {
            ...other,
            runs: new Map(
              [...other.runs].map(([key, run], i) => [key, i % 5 ? run : { ...run, logFps: run.logFps - 2 }]),
            ),
          },
    );
    const calm = calibrate(learnFleet(fleet), machine!, 20).median;
    expect(calibrate(learnFleet(disturbed), machine!, 20).median).toBeLessThan(calm + 1);
  });

  it('forecasts a video that it never encoded from a few runs of it', () => {
    const [machine, ...fleet] = plantedFleet(13, 4);
    const without = fleet.map(({ runs, ...facts }) => ({
      ...facts,
      runs: new Map([...runs].filter(([, { video }]) => video !== 'b')),
    }));
    const { median, oneFactor } = calibrate(learnFleet(without), machine!, 120, ['b']);
    expect(median).toBeLessThan(4);
    expect(oneFactor).toBeGreaterThan(1.5 * median);
  });

  it('does with machines that ran different parts of the grid', () => {
    const [machine, ...fleet] = plantedFleet(13, 5);
    const partial = fleet.map(({ runs, ...facts }, m) => ({
      ...facts,
      runs: new Map([...runs].filter((_, i) => (i + m) % 4 !== 0)),
    }));
    expect(calibrate(learnFleet(partial), machine!, 20).median).toBeLessThan(3.5);
  });

  it('says nothing of a configuration that no machine ran', () => {
    const fleet = learnFleet(plantedFleet(3, 6));
    const keys = fleetCells(fleet, ['a']).map(({ key }: Cell) => key);
    expect(keys).toHaveLength(CONFIGS.length);
    expect(keys).not.toContain(cellKey('a', '999'));
  });
});

describe('the calibration design', () => {
  const cells: Cell[] = fleetCells(learnFleet(plantedFleet(8, 7)), VIDEOS);
  const seconds = (chosen: readonly Cell[]) => chosen.reduce((sum, cell) => sum + cell.seconds, 0);

  it.each([1, 5, 20, 60])('keeps within %i seconds and takes no run twice', (budget) => {
    const chosen: Cell[] = calibrationDesign(cells, budget);
    expect(seconds(chosen)).toBeLessThanOrEqual(budget);
    expect(new Set(chosen).size).toBe(chosen.length);
    const shortest = Math.min(...cells.filter((cell) => !chosen.includes(cell)).map((cell) => cell.seconds));
    expect(seconds(chosen) + shortest).toBeGreaterThan(budget);
  });

  it('goes by the clock of the machine: one that is three times as slow gets fewer runs in about the same time', () => {
    const slow: Cell[] = calibrationDesign(cells, 60, (cell: Cell) => 3 * cell.seconds);
    expect(3 * seconds(slow)).toBeLessThan(60 + 2 * Math.max(...slow.map((cell) => cell.seconds)));
    expect(slow.length).toBeLessThan(calibrationDesign(cells, 60).length);
    expect(slow.length).toBeGreaterThan(3);
  });

  it('leaves less uncertainty than as many seconds of runs taken at random', () => {
    const chosen: Cell[] = calibrationDesign(cells, 20);
    const normal = seededNormal(8);
    for (let trial = 0; trial < 10; trial++) {
      const order = cells.map((cell) => ({ cell, at: normal() })).sort((a, b) => a.at - b.at);
      const random: Cell[] = [];
      for (const { cell } of order) if (seconds(random) + cell.seconds <= 20) random.push(cell);
      expect(remainingVariance(cells, chosen)).toBeLessThan(remainingVariance(cells, random));
    }
  });

  it('is the same every time', () => {
    expect(calibrationDesign(cells, 30)).toEqual(calibrationDesign(cells, 30));
  });
});

/** Mean variance of the cells' forecasts after these runs, by Monte Carlo over planted machines without outliers. */
function remainingVariance(cells: readonly Cell[], chosen: readonly Cell[]): number {
  const size = cells[0]!.loadings.length;
  const normal = seededNormal(9);
  let sum = 0;
  for (let draw = 0; draw < 60; draw++) {
    const truth = Float64Array.from({ length: size }, normal);
    const at = (cell: Cell) => cell.loadings.reduce((total, loading, k) => total + loading * truth[k]!, 0);
    const runs = chosen.map((cell) => ({
      logRatio: at(cell) + cell.noise * normal(),
      loadings: cell.loadings,
      noise: cell.noise,
    }));
    const response = estimateResponse(size, runs);
    for (const cell of cells) sum += (at(cell) - response.logRatio(cell.loadings)) ** 2;
  }
  return sum / (60 * cells.length);
}
