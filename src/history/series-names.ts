import { isCorecastError } from '../lib/errors.js';
import { type Db, getEach, type Operation } from './database.js';
import { frameJson, unframeJson } from './frame.js';
import { type Key, SECTION, seriesIdKey, textKey } from './keys.js';
import type { Series } from './open-series.js';

/** Names the store keeps at most; retention frees those without samples. */
const MAX_SERIES = 200_000;

/** The value of a series' name. */
export interface SeriesRecord {
  readonly id: number;
  /** Buckets of its oldest and newest chunk. */
  readonly first: number;
  readonly last: number;
}

/** Gives series their numbers. */
export class SeriesNames {
  next = 1;
  count = 0;

  /** Finds or gives the number of each series that has none. Those that there is no room for come back. */
  async number(db: Db, series: readonly Series[]): Promise<Series[]> {
    const values = await getEach(
      db,
      series.map(({ name }) => textKey(SECTION.seriesName, name)),
    );
    const refused: Series[] = [];
    for (const [i, one] of series.entries()) {
      const record = parseSeriesRecord(textKey(SECTION.seriesName, one.name), values[i]);
      if (record !== undefined) {
        Object.assign(one, record, { changed: false });
      } else if (this.count < MAX_SERIES) {
        one.id = this.next++;
        this.count++;
      } else {
        refused.push(one);
      }
    }
    return refused;
  }

  /** Writes that name a series and say where its chunks are. */
  operations({ name, id, first, last }: Series): Operation[] {
    const record: SeriesRecord = { id, first, last };
    const [byName, byId] = [textKey(SECTION.seriesName, name), seriesIdKey(id)];
    return [
      { type: 'put', key: byName, value: frameJson(byName, record) },
      { type: 'put', key: byId, value: frameJson(byId, name) },
    ];
  }

  removal(name: Key, id: number): Operation[] {
    return [
      { type: 'del', key: name },
      { type: 'del', key: seriesIdKey(id) },
    ];
  }
}

/** undefined for a missing or damaged record: the series then gets a new number, its old chunks age out unseen. */
export function parseSeriesRecord(key: Key, framed: Uint8Array | undefined): SeriesRecord | undefined {
  return parse<SeriesRecord>(key, framed);
}

export function parseSeriesName(key: Key, framed: Uint8Array | undefined): string | undefined {
  return parse<string>(key, framed);
}

function parse<T>(key: Key, framed: Uint8Array | undefined): T | undefined {
  if (framed === undefined) return undefined;
  try {
    return unframeJson<T>(key, framed);
  } catch (error) {
    if (isCorecastError(error, 'STORE_DAMAGED')) return undefined;
    throw error;
  }
}
