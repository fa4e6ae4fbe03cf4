import { openHistory } from '../../src/history/store.js';
import { systemClock } from '../../src/lib/clock.js';
import { config, runOf, T0 } from './history.js';

/** Writes samples, runs and facts as fast as it can and prints what is on disk, until it is killed. */
export async function writeForEver(dir: string, from: number): Promise<void> {
  const { history } = await openHistory({ dir, clock: systemClock, config });
  for (let n = from; ; ) {
    for (let i = 0; i < 50; i++, n++)
      history.append([
        { series: 'a', atMs: T0 + n * 1000, value: n },
        { series: 'b', atMs: T0 + n * 1000, value: n / 7 },
      ]);
    await history.flush();
    await history.putRun(runOf(`run${n}`, T0 + n));
    await history.putFact('n', n);
    process.stdout.write(`${n}\n`);
  }
}
