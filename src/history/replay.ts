import { isCorecastError } from '../lib/errors.js';
import type { Samples } from './chunk.js';
import type { Db } from './database.js';
import { decodeJournal } from './journal.js';
import { orderOf, SECTION, sectionRange } from './keys.js';
import { scan } from './scan.js';

export interface Replay {
  /** By series number: what was not a chunk yet, in the order it was appended. */
  readonly open: ReadonlyMap<number, readonly { record: number; samples: Samples }[]>;
  /** Records that were damaged or are missing in the sequence. */
  readonly lost: number;
  /** Numbers of the first and last record; undefined for an empty journal. */
  readonly first: number | undefined;
  readonly last: number | undefined;
}

export async function replayJournal(db: Db): Promise<Replay> {
  const open = new Map<number, { record: number; samples: Samples }[]>();
  let lost = 0;
  let first: number | undefined;
  let last: number | undefined;
  // An unreadable stretch shows as a gap in the sequence too, and is counted there.
  for await (const [key, value] of scan(db, sectionRange(SECTION.journal), { onDamage: () => {} })) {
    const record = orderOf(key);
    if (last !== undefined) lost += record - last - 1;
    first ??= record;
    last = record;
    try {
      const { seals, pieces } = decodeJournal(value);
      for (const { series, count } of seals) dropFirst(open.get(series), count);
      for (const { series, samples } of pieces) {
        const list = open.get(series);
        if (list === undefined) open.set(series, [{ record, samples }]);
        else list.push({ record, samples });
      }
    } catch (error) {
      if (!isCorecastError(error, 'STORE_DAMAGED') && !(error instanceof RangeError)) throw error;
      lost++;
    }
  }
  return { open, lost, first, last };
}

function dropFirst(pieces: { record: number; samples: Samples }[] | undefined, count: number): void {
  let left = count;
  while (pieces !== undefined && pieces.length > 0 && left > 0) {
    const [{ record, samples }] = pieces as [{ record: number; samples: Samples }];
    const taken = Math.min(left, samples.at.length);
    left -= taken;
    if (taken === samples.at.length) pieces.shift();
    else
      pieces[0] = {
        record,
        samples: { at: samples.at.subarray(taken), values: samples.values.subarray(taken) },
      };
  }
}
