import { LATE_LAG_S } from '../adjuster/deviation.js';
import { STEP_S, TABLE_MASK } from './population.js';
import type { Arrival } from './workload.js';

/**
 * The CPUs and who runs on them, one step of STEP_S seconds at a time.
 *
 * A channel wants its demand, and to catch up what it is behind, at most at CATCH_UP times real time. Channels share CPUs
 * in groups, each as one pool without any loss; without a policy that divides the host all are one group on all CPUs.
 * Where more is wanted than the group has, all in it get the same part of what they want. What a channel misses becomes
 * lag; it is late in a step that ends with a lag above LATE_LAG_S, the limit of the daemon's adjuster.
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
  /** By group: the CPUs that those in it run on. */
  groupCpus: number[];
  readonly #variation: Float32Array;
  #wanted = new Float64Array(1);
  #behind = false;
  /** Speeds are of an earlier step, in which somebody was behind. */
  #stale = false;
  #base: Float64Array = new Float64Array(FIRST_SLOTS);
  #offset: Int32Array = new Int32Array(FIRST_SLOTS);
  #until: Int32Array = new Int32Array(FIRST_SLOTS);
  #group: Int32Array = new Int32Array(FIRST_SLOTS);

  constructor(cpus: number, variation: Float32Array) {
    this.cpus = cpus;
    this.#variation = variation;
    this.groupCpus = [cpus];
  }

  /** Its slot, until somebody ends. */
  start(arrival: Arrival, group = 0): number {
    if (this.count === this.demand.length) this.#double();
    const slot = this.count++;
    this.arrival[slot] = arrival;
    this.#base[slot] = arrival.channel.demand;
    this.#offset[slot] = arrival.offset;
    this.#until[slot] = arrival.toStep;
    this.lagS[slot] = 0;
    this.speed[slot] = 1;
    this.demand[slot] = 0;
    this.#group[slot] = group;
    return slot;
  }

  /** To another group. */
  regroup(slot: number, group: number): void {
    this.#group[slot] = group;
  }

  /** Somebody wants more than there is, or catches up. */
  get behind(): boolean {
    return this.#behind;
  }

  /** Ends what is over at this step, last slot first. */
  end(step: number, ended: (arrival: Arrival) => void): void {
    for (let slot = this.count - 1; slot >= 0; slot--) {
      if (this.#until[slot]! > step) continue;
      ended(this.arrival[slot]!);
      const last = --this.count;
      this.arrival[slot] = this.arrival[last]!;
      for (const field of [this.#base, this.demand, this.lagS, this.speed]) field[slot] = field[last]!;
      this.#offset[slot] = this.#offset[last]!;
      this.#until[slot] = this.#until[last]!;
      this.#group[slot] = this.#group[last]!;
    }
  }

  run(step: number): void {
    if (this.#stale && !this.#behind) {
      this.speed.fill(1);
      this.#stale = false;
    }
    this.#want(step);
    this.used = 0;
    for (const [group, cpus] of this.groupCpus.entries()) {
      const wanted = this.#wanted[group]!;
      this.used += Math.min(cpus, wanted);
      if (wanted > cpus + DUST) this.#behind = true;
    }
    this.late = 0;
    if (this.#behind) this.#fallBehind();
  }

  #want(step: number): void {
    const { demand, lagS, count } = this;
    const variation = this.#variation;
    const base = this.#base;
    const offset = this.#offset;
    const group = this.#group;
    if (this.#wanted.length !== this.groupCpus.length) this.#wanted = new Float64Array(this.groupCpus.length);
    const wanted = this.#wanted.fill(0);
    for (let slot = 0; slot < count; slot++) {
      const cores = base[slot]! * variation[(offset[slot]! + step) & TABLE_MASK]!;
      demand[slot] = cores;
      wanted[group[slot]!]! += this.#behind ? cores * wantedSpeed(lagS[slot]!) : cores;
    }
  }

  #fallBehind(): void {
    const { lagS, speed, count } = this;
    this.#behind = false;
    for (let slot = 0; slot < count; slot++) {
      const group = this.#group[slot]!;
      const part = Math.min(1, this.groupCpus[group]! / this.#wanted[group]!);
      speed[slot] = part * wantedSpeed(lagS[slot]!);
      const lag = Math.max(0, lagS[slot]! + STEP_S * (1 - speed[slot]!));
      lagS[slot] = lag < DUST ? 0 : lag;
      if (lag > LATE_LAG_S) this.late++;
      if (lag >= DUST) this.#behind = true;
    }
    this.#stale = true;
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
    this.#group = longerInts(this.#group);
  }
}

export const CATCH_UP = 1.5;
const FIRST_SLOTS = 64;
const DUST = 1e-9;

function wantedSpeed(lagS: number): number {
  return lagS === 0 ? 1 : Math.min(CATCH_UP, 1 + lagS / STEP_S);
}
