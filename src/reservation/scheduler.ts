/** Timers are passed in, like the clock, so that tests and the simulator decide when time passes. */
export interface Scheduler {
  /** Runs once after a delay; the returned function takes it back. */
  setTimer(delayMs: number, run: () => void): () => void;
}

/** setTimeout's largest delay; a longer wait looks again when it is over. */
const MAX_DELAY_MS = 2_147_483_647;

/** The event loop's timers. They do not keep the process alive. */
export const systemScheduler: Scheduler = {
  setTimer(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), MAX_DELAY_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
