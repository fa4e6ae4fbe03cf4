/** Progress points that are looked back at. */
const KEPT_MS = 20_000;
/** Messages of a wrapper that had to wait for a CPU arrive together: what lies between them is no speed. */
const SLOPE_MS = 1_000;
/** A process that says nothing for longer than this has stopped, as far as one can tell. */
const SILENT_MS = 3_000;

/**
 * The media time of one channel, from the out_time of its progress messages, which come when they come. A process that was
 * started again begins at zero: its time is added to what there was.
 */
export class MediaClock {
  #points: { ms: number; mediaS: number }[] = [];
  #before = 0;
  #last = 0;

  /** Media seconds of all processes so far. */
  get totalS(): number {
    return this.#before + this.#last;
  }

  get known(): boolean {
    return this.totalS > 0;
  }

  add(ms: number, outTimeS: number): void {
    if (!(outTimeS >= 0)) return;
    if (outTimeS < this.#last) {
      this.#before += this.#last;
      this.#points = [];
    }
    this.#last = outTimeS;
    // Before the first output out_time stands at zero: the encoder fills its look-ahead, no media time passes.
    if (outTimeS === 0) return;
    this.#points.push({ ms, mediaS: this.totalS });
    while (this.#points.length > 2 && ms - this.#points[0]!.ms > KEPT_MS) this.#points.shift();
  }

  /**
   * Media seconds per wall second between two moments; undefined when it is not known. The span before the first output
   * does not count: there the encoder's delay passes, not media.
   */
  speed(fromMs: number, toMs: number): number | undefined {
    const [first] = this.#points;
    const last = this.#points.at(-1);
    if (first === undefined || last === undefined || first === last) return undefined;
    const from = Math.max(fromMs, first.ms);
    if (toMs - from < 500) return undefined;
    return Math.max(0, this.#at(toMs) - this.#at(from)) / ((toMs - from) / 1000);
  }

  /** The latest point that is long enough before a moment to tell a slope, else the first. */
  #slopeFrom(ms: number): { ms: number; mediaS: number } | undefined {
    return this.#points.findLast((point) => ms - point.ms >= SLOPE_MS) ?? this.#points[0];
  }

  /** Between points in proportion; after the last one as it went before, until it has been silent for too long. */
  #at(ms: number): number {
    const points = this.#points;
    const after = points.findIndex((point) => point.ms >= ms);
    if (after === 0) return points[0]!.mediaS;
    const b = after < 0 ? points.at(-1) : points[after];
    const a = after < 0 ? this.#slopeFrom(b?.ms ?? 0) : points[after - 1];
    if (a === undefined || b === undefined || b.ms === a.ms) return points.at(-1)!.mediaS;
    const until = Math.min(ms, b.ms + SILENT_MS);
    return a.mediaS + ((b.mediaS - a.mediaS) * (until - a.ms)) / (b.ms - a.ms);
  }
}
