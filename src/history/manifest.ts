import { readLog, Varints } from './log-file.js';

/** The tags of a version edit (LevelDB's db/version_edit.cc). */
const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousLog: 9,
} as const;

/** Which tables a manifest counts as the database. */
export interface Manifest {
  readonly live: ReadonlySet<number>;
  /** Were live once: the database may not have come to removing them. */
  readonly retired: ReadonlySet<number>;
}

/** undefined when it is damaged. A manifest that was cut between two edits looks sound and tells too little. */
export function readManifest(bytes: Uint8Array): Manifest | undefined {
  const { records, damagedBytes, tornBytes } = readLog(bytes);
  if (records.length === 0 || damagedBytes > 0 || tornBytes > 0) return undefined;
  const live = new Set<number>();
  const retired = new Set<number>();
  for (const record of records) if (!applyEdit(new Varints(record), live, retired)) return undefined;
  return { live, retired };
}

function applyEdit(edit: Varints, live: Set<number>, retired: Set<number>): boolean {
  while (!edit.done) {
    const tag = edit.next();
    if (tag === TAG.comparator) edit.slice();
    else if (tag === TAG.compactPointer) {
      edit.next(); // level
      edit.slice();
    } else if (tag === TAG.deletedFile) {
      edit.next(); // level
      const number = edit.next();
      live.delete(number);
      retired.add(number);
    } else if (tag === TAG.newFile) {
      edit.next(); // level
      const number = edit.next();
      edit.next(); // size
      edit.slice(); // smallest key
      edit.slice(); // largest key
      live.add(number);
      retired.delete(number);
    } else if (SINGLE.has(tag)) edit.next();
    else return false;
  }
  return !edit.overrun;
}

const SINGLE: ReadonlySet<number> = new Set([TAG.logNumber, TAG.nextFile, TAG.lastSequence, TAG.previousLog]);
