/**
 * What a host's CPUs are used for, over seconds: the last tick, in which one starting program looks like a neighbour, is too
 * little to decide on. Pure: what was measured is passed in.
 */
export interface HostUse {
  /** Busy share 0-1 of the CPUs that channels may use, over the last seconds. */
  readonly busy: number;
  /**
   * Cores that others than the reservations use: the host's services, a neighbour, and what corecast itself takes to let channels in
   * (wrappers, ffprobe, trials), which comes in pulses. Its mean over seconds, followed upwards faster than downwards: so it stays
   * above the mean by the more, the more that varies, whatever the monitor's pace.
   */
  readonly outsideCores: number;
}

export class HostUseMeter {
  #use: HostUse | undefined;
  #outsideMean = 0;

  /** Undefined before the first measurement. */
  get now(): HostUse | undefined {
    return this.#use;
  }

  /** `cpus`: as many are `busy`, a share 0-1; `channelCores`: of that, by processes that hold a reservation. */
  add(busy: number, cpus: number, channelCores: number, elapsedS: number): void {
    if (!(elapsedS > 0) || !Number.isFinite(busy + channelCores)) return;
    const outsideCores = Math.max(0, busy * cpus - channelCores);
    const before = this.#use ?? { busy, outsideCores };
    const meanBefore = this.#use === undefined ? outsideCores : this.#outsideMean;
    this.#outsideMean = nearer(meanBefore, outsideCores, elapsedS / PULSE_S);
    const followS = this.#outsideMean > before.outsideCores ? RISE_S : FALL_S;
    this.#use = {
      busy: nearer(before.busy, busy, elapsedS / BUSY_S),
      outsideCores: nearer(before.outsideCores, this.#outsideMean, elapsedS / followS),
    };
  }
}

/** A host that others fill is full for a newcomer after a second or two. */
const BUSY_S = 1.5;
/**
 * A program that starts fills a CPU for some tenths of a second: a tick that is as short shows five times what one of a second
 * does, and would count for more, because it is followed upwards.
 */
const PULSE_S = 2;
/** With PULSE_S: a neighbour that takes a CPU is believed with nine tenths of it after 8 s. */
const RISE_S = 2;
const FALL_S = 10;

function nearer(from: number, to: number, memories: number): number {
  return to + (from - to) * Math.exp(-memories);
}
