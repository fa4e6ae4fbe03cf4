import type { HistoryDatabase } from './database.js';
import { FORMAT } from './format.js';
import type { HistoryStats } from './history.js';
import { BUCKET_MS, SECTION, sectionRange } from './keys.js';
import type { SeriesStore } from './series-store.js';

/** What is counted, by name: the section whose keys are counted and all sections whose bytes it takes. */
const COUNTED = {
  samples: [SECTION.chunk],
  'roll-ups, 10 s': [SECTION.rollup10s],
  'roll-ups, 5 min': [SECTION.rollup5m],
  'series names': [SECTION.seriesName, SECTION.seriesId],
  decisions: [SECTION.decision, SECTION.decisionById, SECTION.decisionByReservation],
  runs: [SECTION.run, SECTION.runById],
  facts: [SECTION.fact],
  journal: [SECTION.journal],
} as const;

export async function countHistory(
  database: HistoryDatabase,
  series: SeriesStore,
  damagedRecords: number,
): Promise<HistoryStats> {
  const { level } = database;
  const sections = [];
  for (const [name, parts] of Object.entries(COUNTED)) {
    let entries = 0;
    const { gte, lt } = sectionRange(parts[0]);
    for await (const _ of level.keys({ gte, lt })) entries++;
    let bytes = 0;
    for (const part of parts) {
      const range = sectionRange(part);
      bytes += await level.approximateSize(range.gte, range.lt);
    }
    sections.push({ name, entries, bytes });
  }
  const { samplesStored, samplesDropped } = series.metrics;
  return {
    format: FORMAT,
    diskBytes: await database.sizeBytes(),
    series: sections.find(({ name }) => name === 'series names')?.entries ?? 0,
    oldestMs: (await edgeOf(database, false)) * BUCKET_MS,
    newestMs: (await edgeOf(database, true)) * BUCKET_MS,
    sections,
    samplesStored,
    samplesDropped,
    writeFailures: database.writeFailures,
    damagedRecords,
    rolledUpToMs: series.rollups.upTo * BUCKET_MS,
  };
}

/** The oldest or newest bucket with a chunk; 0 without any. */
async function edgeOf({ level }: HistoryDatabase, reverse: boolean): Promise<number> {
  for await (const key of level.keys({ ...sectionRange(SECTION.chunk), reverse, limit: 1 }))
    return Buffer.from(key).readUInt32BE(1);
  return 0;
}
