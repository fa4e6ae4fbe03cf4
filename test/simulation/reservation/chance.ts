import { seededRandom } from '../../support/seeded-random.js';

/** Everything that chance decides in one run comes from one seed. */
export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** Uniform whole number, 0 up to and without `count`. */
  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True with this probability. */
  hits(probability: number): boolean {
    return this.#next() < probability;
  }

  /** One of them; undefined of none. */
  of<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }
}
