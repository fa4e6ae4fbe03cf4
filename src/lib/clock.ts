/** Time is passed in, never asked of the system directly, so that tests and the simulator own it. */
export interface Clock {
  /** Wall time: unix milliseconds. May jump. For records and for what people read. */
  nowMs(): number;
  /** Monotonic milliseconds since an arbitrary point. For deadlines and durations. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
};
