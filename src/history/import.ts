import { CorecastError, invalidField } from '../lib/errors.js';
import { MAX_AT_MS } from './chunk.js';
import type { SeriesChunk } from './history.js';
import type { SeriesReader } from './query.js';
import type { SeriesStore } from './series-store.js';

const MAX_POINTS = 65_536;
const MAX_NAME_CHARS = 200;

/**
 * Writes points of one series but those that the history has already, at the same time with the same value: importing a
 * file twice is importing it once. Throws INVALID_ARGUMENT.
 */
export async function importPoints(
  store: SeriesStore,
  reader: SeriesReader,
  series: string,
  points: SeriesChunk['points'],
): Promise<number> {
  validate(series, points);
  if (points.length === 0) return 0;
  const known = new Set<string>();
  const range = { fromMs: points[0]!.atMs, toMs: Math.min(MAX_AT_MS, points.at(-1)!.atMs + 1) };
  for await (const chunk of reader.query({ series, ...range, stepMs: 0 }))
    for (const { atMs, value } of chunk.points) known.add(`${atMs} ${value}`);
  const fresh = points.filter(({ atMs, value }) => !known.has(`${atMs} ${value}`));
  if (fresh.length === 0) return 0;
  await store.write(series, {
    at: Float64Array.from(fresh, ({ atMs }) => atMs),
    values: Float64Array.from(fresh, ({ value }) => value),
  });
  return fresh.length;
}

function validate(series: string, points: SeriesChunk['points']): void {
  if (series.length < 1 || series.length > MAX_NAME_CHARS || series.includes('*'))
    throw invalidField('series', series, `1 to ${MAX_NAME_CHARS} characters without *`);
  if (points.length > MAX_POINTS)
    throw invalidField('points', `${points.length} points`, `at most ${MAX_POINTS} at once`);
  let before = 0;
  for (const { atMs } of points) {
    if (!(Number.isInteger(atMs) && atMs >= 0 && atMs < MAX_AT_MS))
      throw invalidField('at_ms', atMs, `whole unix milliseconds from 0 to ${MAX_AT_MS - 1}`);
    if (atMs < before)
      throw new CorecastError(
        'INVALID_ARGUMENT',
        `at_ms of ${series} is ${atMs} after ${before}; expected ascending times`,
      );
    before = atMs;
  }
}
