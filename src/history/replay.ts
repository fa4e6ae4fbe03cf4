import { isCorecastError } from '../lib/errors.js';
import type { Samples } from './chunk.js';
import { chunksOnDisk } from './chunk-reader.js';
import { type Db, getEach, type HistoryDatabase } from './database.js';
import { decodeJournal } from './journal.js';
import { bucketOf, metaKey, orderOf, SECTION, sectionRange, seriesIdKey } from './keys.js';
import { type Meta, parseMeta } from './meta.js';
import { CHUNK_SPAN_MS } from './open-chunk.js';
import { reindex } from './reindex.js';
import { scan } from './scan.js';
import { parseSeriesName } from './series-names.js';

interface Piece {
  record: number;
  samples: Samples;
}

/** By series number: what was not a chunk yet, in the order it was appended. */
type Open = Map<number, Piece[]>;

/** What the last life of the store left to the next. */
export interface Left {
  readonly meta: Meta;
  /** `name` is undefined when its record is damaged. */
  readonly open: readonly {
    readonly id: number;
    readonly name: string | undefined;
    readonly pieces: readonly Piece[];
  }[];
  /** Journal records that were damaged or are missing in the sequence. */
  readonly lost: number;
  /** Numbers of the first and last journal record; undefined for an empty journal. */
  readonly first: number | undefined;
  readonly last: number | undefined;
  /** Sentences for the operator. */
  readonly report: readonly string[];
}

export async function readLeft({ level, mended }: HistoryDatabase): Promise<Left> {
  const report: string[] = [];
  const meta = await readMeta(level, report);
  const { open, lost, first, last } = await replayJournal(level);
  // Records that were deleted may have come back.
  if (mended) await dropStored(level, open);
  if (lost > 0)
    report.push(`${lost} journal records of the history were damaged, and the samples in them are lost`);
  const keys = [...open.keys()].map(seriesIdKey);
  const names = await getEach(level, keys);
  const series = [...open].map(([id, pieces], i) => ({
    id,
    name: parseSeriesName(keys[i]!, names[i]),
    pieces,
  }));
  return { meta, open: series, lost, first, last, report };
}

async function readMeta(level: Db, report: string[]): Promise<Meta> {
  const framed = await level.get(metaKey);
  const nothing = { record: 0, chunk: 0, series: 0, names: 0 };
  if (framed === undefined) return nothing;
  const meta = parseMeta(framed);
  if (meta !== undefined) return meta;
  report.push('the counters of the history were damaged; they were counted anew');
  await reindex(level);
  return parseMeta(await level.get(metaKey)) ?? nothing;
}

async function replayJournal(db: Db): Promise<Pick<Left, 'lost' | 'first' | 'last'> & { open: Open }> {
  const open: Open = new Map();
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
async function dropStored(db: Db, open: Open): Promise<void> {
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

function dropFirst(pieces: Piece[] | undefined, count: number): void {
  let left = count;
  while (pieces !== undefined && pieces.length > 0 && left > 0) {
    const [{ record, samples }] = pieces as [Piece];
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
