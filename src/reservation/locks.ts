/** One at a time for each name, in the order of asking. A name that nobody wants costs nothing. */
export class Locks {
  readonly #tails = new Map<string, Promise<unknown>>();

  run<T>(name: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name);
    // The first one starts in this turn of the event loop: what it decides, it decides on what the caller saw.
    const result = before === undefined ? task() : before.then(task, task);
    const tail = result.catch(() => {});
    this.#tails.set(name, tail);
    void tail.then(() => {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    });
    return result;
  }

  /** Resolves when everything asked for so far is done. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
