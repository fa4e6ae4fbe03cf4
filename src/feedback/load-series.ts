import { CorecastError, invalidField } from '../lib/errors.js';
import { seededRandom, shuffle } from './random.js';

/** CPU percents of one machine at even times, oldest first. */
export interface LoadSeries {
  readonly machine: string;
  readonly load: Float64Array;
}

/**
 * One machine a line: its name, then its loads in percent, separated by commas. Throws INVALID_ARGUMENT with line and
 * column of what is not a number from 0 to 100.
 */
export function parseLoadSeries(text: string, file: string): LoadSeries[] {
  const lines = text.split('\n').map((line) => line.trimEnd());
  const series = lines.flatMap((line, i) => (line === '' ? [] : [parseLine(line, `${file}:${i + 1}`)]));
  if (series.length === 0) throw new CorecastError('INVALID_ARGUMENT', `${file}: holds no machine`);
  const machines = new Set<string>();
  for (const { machine } of series) {
    if (machines.has(machine)) throw invalidField(`${file}: machine`, machine, 'each machine once');
    machines.add(machine);
  }
  return series;
}

function parseLine(line: string, where: string): LoadSeries {
  const [machine, ...cells] = line.split(',');
  const load = Float64Array.from(cells, Number);
  const odd = load.findIndex((x, i) => cells[i]!.trim() === '' || !(x >= 0 && x <= 100));
  if (odd >= 0) {
    throw invalidField(`${where}: column ${odd + 2}`, cells[odd], 'a CPU load from 0 to 100 percent');
  }
  return { machine: machine!, load };
}

/** Every machine in exactly one of `count` parts, by chance; the parts' sizes differ by one at most. */
export function foldsOf(series: readonly LoadSeries[], count: number, seed: number): LoadSeries[][] {
  if (!Number.isInteger(count) || count < 2 || count > series.length) {
    throw invalidField('folds', count, `a whole number from 2 to ${series.length}, the number of machines`);
  }
  const order = shuffle(
    series.map((_, i) => i),
    seededRandom(seed),
  );
  const folds: LoadSeries[][] = Array.from({ length: count }, () => []);
  order.forEach((index, i) => {
    folds[i % count]!.push(series[index]!);
  });
  return folds;
}

/** 1 when all loads are whole percents, 0 otherwise. */
export function resolutionOf(series: readonly LoadSeries[]): number {
  return series.every(({ load }) => load.every(Number.isInteger)) ? 1 : 0;
}
