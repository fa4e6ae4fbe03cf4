import { isCorecastError, messageOf } from '../lib/errors.js';
import { decodeColumns } from './chunk.js';
import { inspectTables } from './damage.js';
import type { Db } from './database.js';
import { unframe, unframeJson } from './frame.js';
import type { VerifyReport } from './history.js';
import { decodeJournal } from './journal.js';
import { BUCKET_MS, type Key, orderOf, parseChunkKey, parseRollupKey, SECTION, textOf } from './keys.js';
import { scan } from './scan.js';
import { decodeWindows } from './windows.js';

/** Damage is named so often; the rest is counted. */
export const MAX_NAMED = 100;
const EVERYTHING = { gte: Buffer.of(0), lt: Buffer.of(0xff) };

/** Checks every block of every table, then every record: its checksum, and that it can be read. */
export async function verifyRecords(level: Db, location: string): Promise<VerifyReport> {
  const report = new Report();
  for (const [name, problems] of await inspectTables(location))
    for (const problem of problems) report.add(`table ${name}: ${problem}`);
  let records = 0;
  let samples = 0;
  const onDamage = (why: unknown) =>
    report.add(`LevelDB cannot read on after record ${records}: ${messageOf(why)}`);
  for await (const [key, value] of scan(level, EVERYTHING, { onDamage })) {
    records++;
    try {
      samples += readRecord(key, value);
    } catch (error) {
      if (!isExpected(error)) throw error;
      report.add(`${describe(key)}: ${messageOf(error)}`);
    }
  }
  return { records, samples, damage: report.named, damaged: report.count };
}

class Report {
  readonly named: string[] = [];
  count = 0;

  add(sentence: string): void {
    if (this.count++ < MAX_NAMED) this.named.push(sentence);
  }
}

/** Returns how many samples it holds as a chunk. */
function readRecord(key: Key, value: Uint8Array): number {
  switch (String.fromCharCode(key[0]!)) {
    case SECTION.chunk:
      return decodeColumns(unframe(key, value)).at.length;
    case SECTION.rollup10s:
    case SECTION.rollup5m:
      decodeWindows(unframe(key, value));
      return 0;
    case SECTION.journal:
      decodeJournal(key, value);
      return 0;
    default:
      unframeJson(key, value);
      return 0;
  }
}

/** A sound frame around bytes that are none of ours would be a defect; JSON and journals say so in their own ways. */
function isExpected(error: unknown): boolean {
  return (
    isCorecastError(error, 'STORE_DAMAGED') || error instanceof SyntaxError || error instanceof RangeError
  );
}

/** A key in words. */
export function describe(key: Key): string {
  const section = String.fromCharCode(key[0]!);
  const chunk = section === SECTION.chunk ? parseChunkKey(key) : undefined;
  if (chunk !== undefined)
    return `chunk of series ${chunk.series} from ${new Date(chunk.startMs).toISOString()}`;
  const rollup = parseRollupKey(key);
  if (rollup !== undefined && (section === SECTION.rollup10s || section === SECTION.rollup5m))
    return `roll-up of series ${rollup.series} of ${new Date(rollup.bucket * BUCKET_MS).toISOString()}`;
  const kind = KINDS[section];
  if (kind === undefined) return `record with the unknown key ${Buffer.from(key).toString('hex')}`;
  if (section === SECTION.journal) return `${kind} ${orderOf(key)}`;
  return `${kind} ${JSON.stringify(textOf(section === SECTION.decision || section === SECTION.run ? key.subarray(6) : key))}`;
}

const KINDS: Readonly<Record<string, string>> = {
  [SECTION.decision]: 'decision',
  [SECTION.decisionById]: 'entry of decision',
  [SECTION.decisionByReservation]: 'decision of reservation',
  [SECTION.fact]: 'fact',
  [SECTION.seriesId]: 'name of series',
  [SECTION.journal]: 'journal record',
  [SECTION.meta]: 'counters',
  [SECTION.seriesName]: 'series',
  [SECTION.run]: 'run',
  [SECTION.runById]: 'entry of run',
  [SECTION.rollupState]: 'progress of roll-ups',
  [SECTION.rollupStale]: 'stale roll-up',
};
