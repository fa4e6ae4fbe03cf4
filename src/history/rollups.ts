import { isCorecastError } from '../lib/errors.js';
import { type Db, getEach, type Operation } from './database.js';
import { frameJson, unframe, unframeJson } from './frame.js';
import { type Key, parseRollupKey, rollupKey, rollupStateKey, SECTION, sectionRange } from './keys.js';
import { scan } from './scan.js';
import { decodeWindows, WINDOW_MS, type WindowMs, type Windows } from './windows.js';

/** Windows of each length are kept by the hour and series. */
export const ROLLUP_SECTION: Readonly<Record<WindowMs, string>> = {
  10000: SECTION.rollup10s,
  300000: SECTION.rollup5m,
};

interface State {
  /** Every hour before this one was rolled up. */
  readonly upTo: number;
}

/**
 * Which hours have roll-ups that tell of all their samples. Chunks that are written to an hour which was rolled up (a clock
 * that jumped back, an import) leave a mark in the same write: until the hour is rolled up again its samples are read.
 */
export class Rollups {
  /** Hours before this one are rolled up. */
  upTo = 0;
  readonly #stale = new Map<number, Set<number>>();

  async load(level: Db): Promise<void> {
    const [framed] = await getEach(level, [rollupStateKey]);
    this.upTo = parseState(framed)?.upTo ?? 0;
    this.#stale.clear();
    for await (const [key] of scan(level, sectionRange(SECTION.rollupStale), { onDamage: () => {} })) {
      const mark = parseRollupKey(key);
      if (mark !== undefined) this.#add(mark.bucket, mark.series);
    }
  }

  isCurrent(bucket: number, series: number): boolean {
    return bucket < this.upTo && this.#stale.get(bucket)?.has(series) !== true;
  }

  /** Marks that a write to this stretch of a series has to leave. */
  marksFor(series: number, firstBucket: number, lastBucket: number): Operation[] {
    const marks: Operation[] = [];
    for (let bucket = firstBucket; bucket <= lastBucket && bucket < this.upTo; bucket++) {
      this.#add(bucket, series);
      const key = rollupKey(SECTION.rollupStale, bucket, series);
      marks.push({ type: 'put', key, value: frameJson(key, true) });
    }
    return marks;
  }

  /** Hours with marks, the oldest first. */
  staleHours(): readonly { bucket: number; series: readonly number[] }[] {
    return [...this.#stale]
      .sort(([a], [b]) => a - b)
      .map(([bucket, series]) => ({ bucket, series: [...series] }));
  }

  /** These were rolled up again. */
  settle(bucket: number, series: readonly number[]): void {
    const marked = this.#stale.get(bucket);
    for (const id of series) marked?.delete(id);
    if (marked?.size === 0) this.#stale.delete(bucket);
  }

  #add(bucket: number, series: number): void {
    const marked = this.#stale.get(bucket);
    if (marked === undefined) this.#stale.set(bucket, new Set([series]));
    else marked.add(series);
  }
}

export function stateOperation(upTo: number): Operation {
  return { type: 'put', key: rollupStateKey, value: frameJson(rollupStateKey, { upTo } satisfies State) };
}

/** Without one, all is rolled up again. */
function parseState(framed: Uint8Array | undefined): State | undefined {
  try {
    return framed === undefined ? undefined : unframeJson<State>(rollupStateKey, framed);
  } catch (error) {
    if (isCorecastError(error, 'STORE_DAMAGED')) return undefined;
    throw error;
  }
}

/** A series' windows of these hours; undefined where there are none or they are damaged. */
export async function readWindows(
  level: Db,
  series: number,
  windowMs: WindowMs,
  buckets: readonly number[],
  onDamage: (why: unknown) => void,
): Promise<(Windows | undefined)[]> {
  const keys = buckets.map((bucket) => rollupKey(ROLLUP_SECTION[windowMs], bucket, series));
  const values = await getEach(level, keys);
  return values.map((value, i) =>
    value === undefined ? undefined : parseWindows(keys[i]!, value, onDamage),
  );
}

export function parseWindows(
  key: Key,
  value: Uint8Array,
  onDamage: (why: unknown) => void,
): Windows | undefined {
  try {
    return decodeWindows(unframe(key, value));
  } catch (error) {
    if (!isCorecastError(error, 'STORE_DAMAGED')) throw error;
    onDamage(error);
    return undefined;
  }
}

/** Windows of the longest kind that steps of this length are made of; undefined when they need the samples themselves. */
export function windowFor(stepMs: number, exactly: boolean): WindowMs | undefined {
  return WINDOW_MS.findLast((windowMs) =>
    exactly ? stepMs === windowMs : stepMs % windowMs === 0 && stepMs > 0,
  );
}
