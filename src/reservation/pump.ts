/** Runs one task again and again, one run at a time: however often it is asked for during a run, one more follows. */
export class Pump {
  readonly #task: () => Promise<void>;
  #running = false;
  #again = false;

  constructor(task: () => Promise<void>) {
    this.#task = task;
  }

  run(): void {
    this.#again = true;
    if (!this.#running) void this.#loop();
  }

  async #loop(): Promise<void> {
    this.#running = true;
    while (this.#again) {
      this.#again = false;
      await this.#task();
    }
    this.#running = false;
  }
}
