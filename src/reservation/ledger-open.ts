import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { Ledger, type LedgerContents } from './ledger.js';
import {
  ANSWER_PREFIX,
  type Answer,
  ASIDE_PREFIX,
  CENSUS_KEY,
  type Census,
  decode,
  encode,
  FORMAT,
  type LedgerRecord,
  RECORD_PREFIX,
  toggle,
  ZERO_DIGEST,
} from './ledger-format.js';
import { type LedgerStore, levelStore, type StoreOperation } from './ledger-store.js';

export interface LedgerOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** leases.keep_ended_ms; asked at each sweep, so that it can change. */
  keepEndedMs(): number;
  readonly createStore?: (directory: string) => LedgerStore;
  /** Awaited before each write, so that what is committed meanwhile goes with it. */
  readonly gather?: () => Promise<void>;
}

/** Records that were set aside and are kept for people to look at; more are only counted. */
const MAX_ASIDE = 1_000;

/**
 * Opens the ledger, whatever state it is in; `report` says in words what was wrong and what was done about it.
 *
 * - a database that LevelDB cannot read: the directory is renamed to <directory>.damaged-<time>, a fresh one is started
 * - a record that does not parse or match its checksum: set aside under x/, the rest is used
 * - records that LevelDB lost: counted by the census and reported
 * - a database in use, of a newer format, or that may not be read: STORE_FAILED, nothing is touched
 *
 * After any loss the token counter jumps to the wall clock in milliseconds: no token can then equal one that was issued
 * in the lost part, because nobody issues a thousand tokens a second for decades.
 */
export async function openLedger(options: LedgerOptions): Promise<{ ledger: Ledger; report: string[] }> {
  const { directory, clock } = options;
  const createStore = options.createStore ?? levelStore;
  const report: string[] = [];
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  let { store, found } = await tryOpen(createStore, directory);
  if (store === undefined) {
    const aside = setAside(directory, clock.nowMs());
    report.push(
      `the reservation ledger ${directory} is damaged (${found}); it was set aside as ${aside} and a fresh one started`,
    );
    ({ store, found } = await tryOpen(createStore, directory));
    if (store === undefined) throw unusable(directory, found, undefined);
  }
  report.push(...droppedByLevel(directory));
  const { contents, repairs, problems } = judge(found as Found, clock.nowMs(), report.length > 0);
  report.push(...problems);
  if (repairs.length > 0) {
    try {
      await store.batch(repairs, { sync: true });
    } catch (error) {
      await store.close();
      throw unusable(directory, messageOf(error), error);
    }
  }
  return { ledger: new Ledger(store, contents, clock, options.keepEndedMs, options.gather), report };
}

type Found = readonly (readonly [string, string])[];

/** The open store and all it holds, or no store and what is damaged. Throws when it must not be touched. */
async function tryOpen(
  createStore: (directory: string) => LedgerStore,
  directory: string,
): Promise<{ store: LedgerStore; found: Found } | { store: undefined; found: string }> {
  // Without CURRENT, LevelDB would take the directory for a new one and delete the files of the old one.
  const files = readdirSync(directory);
  if (!files.includes('CURRENT') && files.some((file) => /\.(ldb|sst|log)$|^MANIFEST-/.test(file))) {
    return { store: undefined, found: 'its file CURRENT is missing' };
  }
  const store = createStore(directory);
  try {
    await store.open();
    const found: [string, string][] = [];
    for await (const entry of store.iterator()) found.push(entry);
    refuseNewer(directory, found);
    return { store, found };
  } catch (error) {
    await store.close().catch(() => {});
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    const code = (cause as { code?: unknown }).code;
    if (error instanceof CorecastError) throw error;
    if (code === 'LEVEL_LOCKED') {
      throw new CorecastError(
        'STORE_FAILED',
        `the reservation ledger ${directory} is held by another process: is another corecastd running with this state_dir?`,
        { cause: error },
      );
    }
    const missing = code === 'LEVEL_IO_ERROR' && messageOf(cause).includes('No such file or directory');
    if (code === 'LEVEL_CORRUPTION' || missing) return { store: undefined, found: messageOf(cause) };
    throw unusable(directory, messageOf(cause), error);
  }
}

function refuseNewer(directory: string, found: Found): void {
  const census = found.find(([key]) => key === CENSUS_KEY);
  if (census === undefined) return;
  const decoded = decode<Census>(CENSUS_KEY, census[1]);
  if (decoded.ok || decoded.version === undefined || decoded.version <= FORMAT) return;
  throw new CorecastError(
    'STORE_FAILED',
    `the reservation ledger ${directory} has format ${decoded.version}, this corecast knows ${FORMAT}; run the newer version, or move the directory away to start without its reservations`,
  );
}

function judge(found: Found, nowMs: number, lossKnown: boolean) {
  const records = new Map<string, { record: LedgerRecord; sum: string }>();
  const answers: [string, { fingerprint: string; atMs: number; sum: string }][] = [];
  const repairs: StoreOperation[] = [];
  const problems: string[] = [];
  let census: Census | undefined;
  let digest = ZERO_DIGEST;
  let token = 0;
  let aside = found.filter(([key]) => key.startsWith(ASIDE_PREFIX)).length;
  for (const [key, value] of found) {
    if (key.startsWith(ASIDE_PREFIX)) continue;
    const decoded = decode<unknown>(key, value);
    if (decoded.ok && key === CENSUS_KEY) {
      census = decoded.body as Census;
    } else if (decoded.ok && key.startsWith(RECORD_PREFIX)) {
      const record = decoded.body as LedgerRecord;
      records.set(record.reservation.id, { record, sum: decoded.sum });
      token = Math.max(token, record.reservation.token);
      digest = toggle(digest, decoded.sum);
    } else if (decoded.ok && key.startsWith(ANSWER_PREFIX)) {
      const { fingerprint, atMs } = decoded.body as Answer;
      answers.push([key, { fingerprint, atMs, sum: decoded.sum }]);
      digest = toggle(digest, decoded.sum);
    } else {
      const problem = decoded.ok ? 'has a key of no known kind' : decoded.problem;
      problems.push(`ledger record ${JSON.stringify(key)} ${problem}; it was set aside`);
      repairs.push({ type: 'del', key });
      if (aside++ < MAX_ASIDE) repairs.push({ type: 'put', key: `${ASIDE_PREFIX}${nowMs}/${key}`, value });
    }
  }
  answers.sort(([, a], [, b]) => a.atMs - b.atMs);
  problems.push(...missing(census, found.length > 0, records.size, answers.length, digest));
  if (problems.length > 0 || lossKnown) token = Math.max(token, census?.token ?? 0, nowMs);
  const now: Census = {
    token: Math.max(token, census?.token ?? 0),
    records: records.size,
    answers: answers.length,
    digest,
  };
  if (problems.length > 0 || lossKnown || census === undefined) {
    repairs.push({ type: 'put', key: CENSUS_KEY, value: encode(CENSUS_KEY, now).value });
  }
  const contents: LedgerContents = { records, answers: new Map(answers), census: now };
  return { contents, repairs, problems };
}

function missing(
  census: Census | undefined,
  used: boolean,
  records: number,
  answers: number,
  digest: string,
): string[] {
  if (census === undefined) return used ? ['the ledger has lost its census: records may be missing'] : [];
  if (census.records === records && census.answers === answers && census.digest === digest) return [];
  return [
    `the ledger held ${census.records} reservations and ${census.answers} answers when it was last written, ` +
      `now ${records} and ${answers} can be read; the missing ones are lost, or older versions stand for them`,
  ];
}

/** LevelDB says only in its own log what it dropped from a damaged write-ahead log. */
function droppedByLevel(directory: string): string[] {
  const path = join(directory, 'LOG');
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines
    .filter((line) => line.includes(': dropping '))
    .slice(0, 10)
    .map((line) => {
      const what = /([^/\s]+): dropping (\d+) bytes; (.*)$/.exec(line);
      const text = what === null ? line : `${what[2]} bytes of ${what[1]} (${what[3]})`;
      return `LevelDB dropped ${text}: the ledger's last writes may be lost`;
    });
}

function setAside(directory: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  let aside = `${directory}.damaged-${stamp}`;
  for (let i = 2; existsSync(aside); i++) aside = `${directory}.damaged-${stamp}-${i}`;
  renameSync(directory, aside);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return aside;
}

function unusable(directory: string, why: string | Found, cause: unknown): CorecastError {
  return new CorecastError(
    'STORE_FAILED',
    `the reservation ledger ${directory} cannot be used (${why}); check the disk, its free space and the directory's owner`,
    { cause },
  );
}
