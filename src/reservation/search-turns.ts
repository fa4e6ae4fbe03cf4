/** A search for room among others takes up to some 50 ms on a large host: so many of those who wait have one in a round. */
const MOST_SEARCHES = 2;

/** Who may look for room among others: nobody twice at the same state of things, and not all in one round. */
export class SearchTurns {
  readonly #seen = new WeakMap<object, string>();
  #left = MOST_SEARCHES;

  newRound(): void {
    this.#left = MOST_SEARCHES;
  }

  /** `state` names all that the search would rest on. */
  mayLook(who: object, state: string): boolean {
    if (this.#left === 0 || this.#seen.get(who) === state) return false;
    this.#left--;
    this.#seen.set(who, state);
    return true;
  }
}
