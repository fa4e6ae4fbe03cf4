import type { Aggregate, SeriesChunk } from './history.js';
import { percentile95, type Windows } from './windows.js';

/** Points that a reader gets at once. */
export const PAGE_POINTS = 1_000;

/**
 * One number for each step. Steps begin at multiples of their length since 1970, so that the same step has the same number
 * whatever the query's range; only the first, cut by the range, is stamped with the range's beginning. NaN samples do not
 * count; steps without samples have no point. Call end() after the last,
 * then take() while there is something.
 */
export class Steps {
  readonly #series: string;
  #points: { atMs: number; value: number }[] = [];
  readonly #stepMs: number;
  readonly #fromMs: number;
  readonly #aggregate: Aggregate;
  #step = -1;
  #sum = 0;
  #count = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  /** The largest p95 of whole windows: the p95 of them together is no larger. */
  #p95 = Number.NEGATIVE_INFINITY;
  readonly #values: number[] = [];

  constructor(series: string, { stepMs, fromMs, aggregate = 'mean' }: StepsOf) {
    this.#series = series;
    this.#stepMs = stepMs;
    this.#fromMs = fromMs;
    this.#aggregate = aggregate;
  }

  get full(): boolean {
    return this.#points.length >= PAGE_POINTS;
  }

  get size(): number {
    return this.#points.length;
  }

  /** Times ascend, those of windows among them. */
  add(atMs: number, value: number): void {
    this.#begin(atMs);
    if (Number.isNaN(value)) return;
    this.#sum += value;
    this.#count++;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
    if (this.#aggregate === 'p95') this.#values.push(value);
  }

  addWindow(windows: Windows, i: number): void {
    this.#begin(windows.at[i]!);
    this.#sum += windows.sum[i]!;
    this.#count += windows.count[i]!;
    this.#min = Math.min(this.#min, windows.min[i]!);
    this.#max = Math.max(this.#max, windows.max[i]!);
    this.#p95 = Math.max(this.#p95, windows.p95[i]!);
  }

  end(): void {
    if (this.#count > 0)
      this.#points.push({ atMs: Math.max(this.#fromMs, this.#step * this.#stepMs), value: this.#result() });
    this.#sum = 0;
    this.#count = 0;
    this.#min = Number.POSITIVE_INFINITY;
    this.#max = Number.NEGATIVE_INFINITY;
    this.#p95 = Number.NEGATIVE_INFINITY;
    this.#values.length = 0;
  }

  take(): SeriesChunk {
    const points = this.#points;
    this.#points = [];
    return { series: this.#series, points };
  }

  #begin(atMs: number): void {
    const step = Math.floor(atMs / this.#stepMs);
    if (step !== this.#step) this.end();
    this.#step = step;
  }

  #result(): number {
    switch (this.#aggregate) {
      case 'mean':
        return this.#sum / this.#count;
      case 'min':
        return this.#min;
      case 'max':
        return this.#max;
      case 'count':
        return this.#count;
      case 'p95':
        if (this.#values.length === 0) return this.#p95;
        return Math.max(this.#p95, percentile95(Float64Array.from(this.#values)));
    }
  }
}

export interface StepsOf {
  readonly stepMs: number;
  readonly fromMs: number;
  readonly aggregate?: Aggregate;
}
