/**
 * What a host's CPUs are used for, over seconds: the last tick, in which one starting program looks like a neighbour, is too
 * little to decide on. Pure: what was measured is passed in.
 */
export interface HostUse {
  /** Busy share 0-1 of the CPUs that channels may use, over the last seconds. */
  readonly busy: number;
  /**
   * Cores that others than the reservations use: the host's services, a neighbour, and what corecast itself takes to let channels in
   * (wrappers, ffprobe, trials), which comes in pulses. It follows what is above it faster than what is below it, and so stays
   * above the mean by the more, the more it varies.
   */
  readonly outsideCores: number;
}

export class HostUseMeter {
  #use: HostUse | undefined;

  /** Undefined before the first measurement. */
  get now(): HostUse | undefined {
    return this.#use;
  }

  /** `cpus`: as many are `busy`, a share 0-1; `channelCores`: of that, by processes that hold a reservation. */
  add(busy: number, cpus: number, channelCores: number, elapsedS: number): void {
    if (!(elapsedS > 0) || !Number.isFinite(busy + channelCores)) return;
    const outsideCores = Math.max(0, busy * cpus - channelCores);
    const before = this.#use ?? { busy, outsideCores };
    const rises = outsideCores > before.outsideCores;
    this.#use = {
      busy: nearer(before.busy, busy, elapsedS / BUSY_S),
      outsideCores: nearer(before.outsideCores, outsideCores, elapsedS / (rises ? RISE_S : FALL_S)),
    };
  }
}

/** A host that others fill is full for a newcomer after a second or two. */
const BUSY_S = 1.5;
/** A neighbour that takes a CPU is believed with nine tenths of it after 7 s. */
const RISE_S = 3;
const FALL_S = 10;

function nearer(from: number, to: number, memories: number): number {
  return to + (from - to) * Math.exp(-memories);
}
