import { LATE_LAG_S } from '../adjuster/plan.js';
import type { CpuShare } from '../reservation/reservation.js';
import { STEP_S, TABLE_MASK } from './population.js';
import type { Arrival } from './workload.js';

/**
 * The CPUs and who runs on them, one step of STEP_S seconds at a time.
 *
 * A channel wants its demand, and to catch up what it is behind, at most at CATCH_UP times real time. A channel without
 * CPUs of its own runs anywhere: all of those share the host as one pool, without any loss. A channel with CPUs splits
 * what it wants over them in proportion to its shares. Where more is wanted than there is, all on that CPU get the same
 * part of what they want; a channel goes as fast as its slowest CPU. What it misses becomes lag; it is late in a step that
 * ends with a lag above LATE_LAG_S, the limit of the daemon's adjuster. One host has channels of one kind only.
 */
export class Host {
  readonly cpus: number;
  /** By slot, the first `count` of each. */
  count = 0;
  readonly arrival: Arrival[] = [];
  /** Cores wanted in the last step, to keep real time. */
  demand: Float64Array = new Float64Array(FIRST_SLOTS);
  lagS: Float64Array = new Float64Array(FIRST_SLOTS);
  /** Media seconds per wall second in the last step. */
  speed: Float64Array = new Float64Array(FIRST_SLOTS);
  /** CPUs used in the last step, all channels. */
  used = 0;
  late = 0;
  readonly #variation: Float32Array;
  readonly #shares: (Share[] | undefined)[] = [];
  readonly #load: Float64Array;
  #pinned = false;
  #behind = false;
  /** Speeds are of an earlier step, in which somebody was behind. */
  #stale = false;
  #base: Float64Array = new Float64Array(FIRST_SLOTS);
  #offset: Int32Array = new Int32Array(FIRST_SLOTS);
  #until: Int32Array = new Int32Array(FIRST_SLOTS);

  constructor(cpus: number, variation: Float32Array) {
    this.cpus = cpus;
    this.#variation = variation;
    this.#load = new Float64Array(cpus);
  }

  /** Its slot, until somebody ends. */
  start(arrival: Arrival, cpus?: readonly CpuShare[]): number {
    if (this.count === this.demand.length) this.#double();
    const slot = this.count++;
    this.arrival[slot] = arrival;
    this.#base[slot] = arrival.channel.demand;
    this.#offset[slot] = arrival.offset;
    this.#until[slot] = arrival.toStep;
    this.lagS[slot] = 0;
    this.speed[slot] = 1;
    this.demand[slot] = 0;
    this.#shares[slot] = undefined;
    if (cpus !== undefined) this.confine(slot, cpus);
    return slot;
  }

  /** Gives a channel other CPUs, numbered from 0. */
  confine(slot: number, cpus: readonly CpuShare[]): void {
    const milli = cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
    this.#shares[slot] = cpus.map(({ cpu, shareMilli }) => ({ cpu, part: shareMilli / milli }));
    this.#pinned = true;
  }

  /** Ends what is over at this step, last slot first. */
  end(step: number, ended: (arrival: Arrival) => void): void {
    for (let slot = this.count - 1; slot >= 0; slot--) {
      if (this.#until[slot]! > step) continue;
      ended(this.arrival[slot]!);
      const last = --this.count;
      this.arrival[slot] = this.arrival[last]!;
      this.#shares[slot] = this.#shares[last];
      for (const field of [this.#base, this.demand, this.lagS, this.speed]) field[slot] = field[last]!;
      this.#offset[slot] = this.#offset[last]!;
      this.#until[slot] = this.#until[last]!;
    }
  }

  run(step: number): void {
    let wanted = 0;
    const { demand, lagS, speed, count } = this;
    const variation = this.#variation;
    const base = this.#base;
    const offset = this.#offset;
    for (let slot = 0; slot < count; slot++) {
      const cores = base[slot]! * variation[(offset[slot]! + step) & TABLE_MASK]!;
      demand[slot] = cores;
      wanted += cores;
    }
    if (this.#stale && !this.#behind) {
      speed.fill(1);
      this.#stale = false;
    }
    if (this.#behind) {
      wanted = 0;
      for (let slot = 0; slot < count; slot++) wanted += demand[slot]! * wantedSpeed(lagS[slot]!);
    }
    if (this.#pinned) this.#runPinned();
    else this.#runPooled(wanted);
    this.late = 0;
    if (!this.#behind) return;
    this.#behind = false;
    for (let slot = 0; slot < count; slot++) {
      const lag = Math.max(0, lagS[slot]! + STEP_S * (1 - speed[slot]!));
      lagS[slot] = lag < DUST ? 0 : lag;
      if (lag > LATE_LAG_S) this.late++;
      if (lag >= DUST) this.#behind = true;
    }
    this.#stale = true;
  }

  #runPooled(wanted: number): void {
    this.used = Math.min(this.cpus, wanted);
    if (wanted <= this.cpus && !this.#behind) return;
    this.#behind = true;
    const part = Math.min(1, this.cpus / wanted);
    for (let slot = 0; slot < this.count; slot++) this.speed[slot] = part * wantedSpeed(this.lagS[slot]!);
  }

  #runPinned(): void {
    const load = this.#load.fill(0);
    for (let slot = 0; slot < this.count; slot++) {
      const cores = this.demand[slot]! * wantedSpeed(this.lagS[slot]!);
      for (const { cpu, part } of this.#shares[slot]!) load[cpu]! += cores * part;
    }
    let most = 0;
    for (let cpu = 0; cpu < load.length; cpu++) most = Math.max(most, load[cpu]!);
    if (most > 1) this.#behind = true;
    this.used = 0;
    for (let slot = 0; slot < this.count; slot++) {
      const wanted = wantedSpeed(this.lagS[slot]!);
      let speed = wanted;
      // Alone it gets no more than a whole CPU of each.
      if (most > 1)
        for (const { cpu } of this.#shares[slot]!) speed = Math.min(speed, wanted / Math.max(1, load[cpu]!));
      this.speed[slot] = speed;
      this.used += this.demand[slot]! * speed;
    }
  }

  #double(): void {
    const longer = (old: Float64Array) => {
      const field = new Float64Array(old.length * 2);
      field.set(old);
      return field;
    };
    const longerInts = (old: Int32Array) => {
      const field = new Int32Array(old.length * 2);
      field.set(old);
      return field;
    };
    this.demand = longer(this.demand);
    this.lagS = longer(this.lagS);
    this.speed = longer(this.speed);
    this.#base = longer(this.#base);
    this.#offset = longerInts(this.#offset);
    this.#until = longerInts(this.#until);
  }
}

interface Share {
  readonly cpu: number;
  readonly part: number;
}

export const CATCH_UP = 1.5;
const FIRST_SLOTS = 64;
const DUST = 1e-9;

function wantedSpeed(lagS: number): number {
  return lagS === 0 ? 1 : Math.min(CATCH_UP, 1 + lagS / STEP_S);
}
