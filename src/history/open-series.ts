import { decodeColumns, encodeColumns, MAX_AT_MS, type Samples } from './chunk.js';
import { CHUNK_SAMPLES, CHUNK_SPAN_MS, OpenChunk } from './open-chunk.js';

/** Series with samples that are not in a chunk on disk. */
const MAX_OPEN_SERIES = 50_000;
const MAX_NAME_CHARS = 200;

export interface Series {
  readonly name: string;
  /** Its number in keys; 0 until its first flush. */
  id: number;
  /** Buckets of its oldest and newest chunk on disk; first > last while there is none. */
  first: number;
  last: number;
  /** Its record on disk is missing or says less. */
  changed: boolean;
  open: OpenChunk;
  /** Chunks in `pending`. */
  pending: number;
}

/** A full chunk that is not on disk yet. */
export interface PendingChunk {
  readonly series: Series;
  readonly chunk: OpenChunk;
  /** Its columns; framed with its key when that is known. */
  readonly bytes: Uint8Array;
  /** In its key; 0 until the first attempt to write it, then the same for each attempt. */
  number: number;
  inFlight: boolean;
}

/** The samples in memory: an open chunk a series, and full chunks that wait to be written, up to a limit in bytes. */
export class OpenSeries {
  readonly series = new Map<string, Series>();
  pending: PendingChunk[] = [];
  pendingBytes = 0;
  dropped = 0;
  /** Journaled samples that were dropped: the journal has to be told, or a replay would count wrong. */
  unsealed: { readonly series: Series; readonly count: number }[] = [];
  readonly #maxPendingBytes: number;

  constructor(maxPendingBytes: number) {
    this.#maxPendingBytes = maxPendingBytes;
  }

  append(name: string, atMs: number, value: number, nowMs: number): void {
    const at = Math.round(atMs);
    const series = this.series.get(name) ?? this.begin(name, nowMs);
    if (series === undefined || !(at >= 0 && at <= MAX_AT_MS)) this.dropped++;
    else this.push(series, at, value, nowMs);
  }

  /** undefined when the name is too long or too many series are open. */
  begin(name: string, nowMs: number, capacity = firstCapacity(name)): Series | undefined {
    if (name.length < 1 || name.length > MAX_NAME_CHARS || this.series.size >= MAX_OPEN_SERIES)
      return undefined;
    const open = new OpenChunk(capacity, nowMs);
    const series: Series = { name, id: 0, first: 1, last: 0, changed: true, open, pending: 0 };
    this.series.set(name, series);
    return series;
  }

  /** `record`: the journal record that has this sample already; 0 for none. */
  push(series: Series, atMs: number, value: number, nowMs: number, record = 0): void {
    if (!series.open.accepts(atMs)) this.seal(series, nowMs);
    series.open.push(atMs, value);
    if (record > 0 && series.open.journaled++ === 0) series.open.firstRecord = record;
  }

  /** Makes the open chunk a pending one. */
  seal(series: Series, nowMs: number): void {
    const { open } = series;
    if (open.count === 0) return;
    const bytes = encodeColumns(open.samples());
    this.pending.push({ series, chunk: open, bytes, number: 0, inFlight: false });
    this.pendingBytes += bytes.length;
    series.pending++;
    series.open = new OpenChunk(CHUNK_SAMPLES, nowMs);
    while (this.pendingBytes > this.#maxPendingBytes && this.#dropOldest());
  }

  /** Series whose samples stopped coming do not keep a chunk open for ever. */
  sealIdle(nowMs: number): void {
    for (const series of this.series.values())
      if (nowMs - series.open.openedMs > CHUNK_SPAN_MS) this.seal(series, nowMs);
  }

  written(entries: readonly PendingChunk[]): void {
    const gone = new Set(entries);
    this.pending = this.pending.filter((entry) => !gone.has(entry));
    for (const { series, bytes } of entries) {
      series.pending--;
      this.pendingBytes -= bytes.length;
    }
  }

  /** Forgets series without samples, and samples of a series that may not be stored. */
  close(series: Series): void {
    if (series.pending > 0 || series.open.count > 0) {
      this.dropped += series.open.count;
      for (const entry of this.pending) if (entry.series === series) this.dropped += entry.chunk.count;
      this.written(this.pending.filter((entry) => entry.series === series));
    }
    this.series.delete(series.name);
  }

  closeEmpty(): void {
    for (const series of this.series.values())
      if (series.pending === 0 && series.open.count === 0) this.series.delete(series.name);
  }

  /** Ascending runs of samples, the oldest written first. */
  samplesOf(series: Series): Samples[] {
    const runs = this.pending
      .filter((entry) => entry.series === series)
      .map(({ bytes }) => decodeColumns(bytes));
    const { at, values } = series.open.samples();
    if (at.length > 0) runs.push({ at: at.slice(), values: values.slice() });
    return runs;
  }

  #journalOwes({ series, chunk }: PendingChunk): void {
    if (chunk.journaled > 0) this.unsealed.push({ series, count: chunk.journaled });
  }

  #dropOldest(): boolean {
    const index = this.pending.findIndex((entry) => !entry.inFlight);
    if (index < 0) return false;
    const [entry] = this.pending.splice(index, 1);
    entry!.series.pending--;
    this.pendingBytes -= entry!.bytes.length;
    this.dropped += entry!.chunk.count;
    entry!.chunk.dropped = true;
    this.#journalOwes(entry!);
    return true;
  }
}

/** The first chunk of a series ends early, each at another time: series begin together, and would all fill together. */
function firstCapacity(name: string): number {
  let hash = 2166136261; // FNV-1a
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
  return CHUNK_SAMPLES / 2 + ((hash >>> 0) % (CHUNK_SAMPLES / 2));
}
