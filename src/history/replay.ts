import { isCorecastError } from '../lib/errors.js';
import type { Samples } from './chunk.js';
import { chunksOnDisk } from './chunk-reader.js';
import type { Db } from './database.js';
import { decodeJournal } from './journal.js';
import { bucketOf, orderOf, SECTION, sectionRange } from './keys.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { scan } from './scan.js';

export interface Replay {
  /** By series number: what was not a chunk yet, in the order it was appended. */
  readonly open: ReadonlyMap<number, { record: number; samples: Samples }[]>;
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
      const { seals, pieces } = decodeJournal(key, value);
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

/** Takes out what chunks have already: after a repair the journal may tell of samples that were written long ago. */
export async function dropStored(db: Db, open: Replay['open']): Promise<void> {
  const snapshot = db.snapshot();
  try {
    for (const [id, pieces] of open) {
      const fromMs = Math.min(...pieces.map(({ samples }) => samples.at[0] ?? Number.POSITIVE_INFINITY));
      const toMs = Math.max(...pieces.map(({ samples }) => samples.at.at(-1) ?? 0)) + 1;
      const stored = new Set<string>();
      const record = { id, first: bucketOf(Math.max(0, fromMs - CHUNK_SPAN_MS)), last: bucketOf(toMs) };
      for await (const { at, values } of chunksOnDisk(db, snapshot, record, { fromMs, toMs }, () => {}))
        for (let i = 0; i < at.length; i++) stored.add(`${at[i]} ${values[i]}`);
      if (stored.size === 0) continue;
      for (const piece of pieces) {
        const { at, values } = piece.samples;
        const fresh = (_: number, i: number) => !stored.has(`${at[i]} ${values[i]}`);
        piece.samples = { at: at.filter(fresh), values: values.filter(fresh) };
      }
    }
  } finally {
    await snapshot.close();
  }
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
