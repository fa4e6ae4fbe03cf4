import type { SeriesChunk } from './history.js';

const PAGE_POINTS = 1_000;

/** Gathers points into pages for the reader. Call end() after the last, then take() while there is something. */
export interface PointSink {
  readonly full: boolean;
  readonly size: number;
  add(atMs: number, value: number): void;
  end(): void;
  take(): SeriesChunk;
}

/** The samples as they are. */
export class Page implements PointSink {
  readonly #series: string;
  #points: { atMs: number; value: number }[] = [];

  constructor(series: string) {
    this.#series = series;
  }

  get full(): boolean {
    return this.#points.length >= PAGE_POINTS;
  }

  get size(): number {
    return this.#points.length;
  }

  add(atMs: number, value: number): void {
    this.#points.push({ atMs, value });
  }

  end(): void {}

  take(): SeriesChunk {
    const points = this.#points;
    this.#points = [];
    return { series: this.#series, points };
  }
}

/**
 * Means over steps that begin at multiples of their length since 1970, so that the same step has the same mean whatever the
 * query's range; only the first, cut by the range, is stamped with the range's beginning. NaN samples do not count;
 * steps without samples have no point.
 */
export class StepMeans implements PointSink {
  readonly #page: Page;
  readonly #stepMs: number;
  readonly #fromMs: number;
  #step = -1;
  #sum = 0;
  #count = 0;

  constructor(series: string, stepMs: number, fromMs: number) {
    this.#page = new Page(series);
    this.#stepMs = stepMs;
    this.#fromMs = fromMs;
  }

  get full(): boolean {
    return this.#page.full;
  }

  get size(): number {
    return this.#page.size;
  }

  /** Times ascend. */
  add(atMs: number, value: number): void {
    const step = Math.floor(atMs / this.#stepMs);
    if (step !== this.#step) this.end();
    this.#step = step;
    if (Number.isNaN(value)) return;
    this.#sum += value;
    this.#count++;
  }

  end(): void {
    if (this.#count > 0)
      this.#page.add(Math.max(this.#fromMs, this.#step * this.#stepMs), this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
  }

  take(): SeriesChunk {
    return this.#page.take();
  }
}
