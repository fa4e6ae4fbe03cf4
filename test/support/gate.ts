import { type LedgerStore, levelStore } from '../../src/reservation/ledger-store.js';

/** A real LevelDB whose writes wait, or fail, when told to. */
export class Gate {
  #open = Promise.resolve();
  #release = () => {};
  #passing = 0;
  waiting = 0;
  fails = false;

  /** `passing`: so many writes still go through. */
  close(passing = 0): void {
    this.#passing = passing;
    this.#open = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  open(): void {
    this.#release();
  }

  store = (directory: string): LedgerStore => {
    const store = levelStore(directory);
    return {
      open: () => store.open(),
      close: () => store.close(),
      get: (key) => store.get(key),
      iterator: () => store.iterator(),
      batch: async (operations, options) => {
        this.waiting++;
        if (this.#passing-- <= 0) await this.#open;
        this.waiting--;
        if (this.fails) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
        await store.batch(operations, options);
      },
    };
  };
}
