/**
 * What operators do today, as rules of one setting each. All are given more than they have in practice: the measured load
 * at once and without error, and no loss from threads that move or share caches.
 */
import type { Host } from './host.js';
import { ALL, type Policy, type PolicyKind } from './policy.js';
import type { Arrival, Workload } from './workload.js';
import { demandAt } from './workload.js';

const range = (from: number, to: number, step: number) =>
  Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => Number((from + i * step).toFixed(4)));

export const noAdmission: PolicyKind = {
  name: 'no admission',
  setting: 'none',
  settings: () => [],
  make: () => ({ admit: () => ALL, reservedCores: () => 0 }),
};

export const countCap: PolicyKind = {
  name: 'count cap',
  setting: 'channels per CPU',
  settings: () => range(0.2, 3, 0.05),
  make: ({ cpus }, perCpu) => ({
    admit: (_, host) => (host.count + 1 <= perCpu * cpus ? ALL : undefined),
    reservedCores: () => 0,
  }),
};

/** Mean CPU of the last minute, as a load balancer or an autoscaler reads it. */
export const meanCpu: PolicyKind = {
  name: 'mean CPU',
  setting: 'busy share of the last minute below which all come in',
  settings: () => range(0.3, 1, 0.02),
  make: ({ cpus }, threshold) => {
    const window = new Window(MINUTE_STEPS);
    return {
      admit: () => (window.mean() < threshold * cpus ? ALL : undefined),
      observe: ({ used }) => window.add(used),
      reservedCores: () => 0,
    };
  },
};

/** Adds up what the same signatures took before, as a cost table or a session limit by work does. */
export const signatureLookup: PolicyKind = {
  name: 'signature lookup',
  setting: 'share of the CPUs that the table may fill',
  settings: () => range(0.3, 1.4, 0.02),
  make: ({ cpus }, share) => {
    let sum = 0;
    return {
      admit: ({ channel }) => {
        if (sum + channel.lookup > share * cpus) return undefined;
        sum += channel.lookup;
        return ALL;
      },
      ended: ({ channel }) => {
        sum -= channel.lookup;
      },
      reservedCores: () => sum,
    };
  },
};

/** What is used now goes on; who came in since the last step, and who asks, counts with the table's demand. */
export const reactive: PolicyKind = {
  name: 'reactive',
  setting: 'share of the CPUs that the last value and the newcomer may fill',
  settings: () => range(0.5, 1, 0.01),
  make: (workload, share) => measured(workload, share, ({ used }) => used),
};

/** Bashir et al. 2021: the mean of the host's recent use and N times its standard deviation; newcomers as above. */
export const nSigma: PolicyKind = {
  name: 'N-sigma',
  setting: 'N, over the last five minutes',
  settings: () => range(0, 12, 0.5),
  make: (workload, n) => {
    const window = new Window(SIGMA_STEPS);
    return measured(workload, 1, ({ used }) => {
      window.add(used);
      return window.mean() + n * window.deviation();
    });
  },
};

function measured({ cpus }: Workload, share: number, peakOf: (host: Host) => number): Policy {
  let peak = 0;
  let newcomers = 0;
  return {
    admit: ({ channel }: Arrival) => {
      if (peak + newcomers + channel.lookup > share * cpus) return undefined;
      newcomers += channel.lookup;
      return ALL;
    },
    observe: (host: Host) => {
      peak = peakOf(host);
      newcomers = 0;
    },
    reservedCores: () => 0,
  };
}

/**
 * Knows what every channel will want in every step: admits one when no step of its life would then want more than there
 * is. It takes them as they come, so it isn't the best that could be picked from all arrivals; nobody else picks either.
 */
export const oracle: PolicyKind = {
  name: 'oracle',
  setting: 'none',
  settings: () => [],
  make: (workload) => {
    const last = workload.arrivals.reduce((most, { toStep }) => Math.max(most, toStep), workload.steps);
    const promised = new Float64Array(last);
    return {
      admit: (arrival) => {
        const { fromStep, toStep } = arrival;
        for (let step = fromStep; step < toStep; step++) {
          if (promised[step]! + demandAt(arrival, workload, step) > workload.cpus) return undefined;
        }
        for (let step = fromStep; step < toStep; step++) promised[step]! += demandAt(arrival, workload, step);
        return ALL;
      },
      reservedCores: () => 0,
    };
  },
};

const MINUTE_STEPS = 12;
const SIGMA_STEPS = 60;

/** The last so many values. */
export class Window {
  readonly #values: Float64Array;
  #count = 0;
  #sum = 0;
  #squares = 0;

  constructor(length: number) {
    this.#values = new Float64Array(length);
  }

  add(value: number): void {
    const at = this.#count % this.#values.length;
    const old = this.#values[at]!;
    this.#values[at] = value;
    this.#count++;
    this.#sum += value - old;
    this.#squares += value * value - old * old;
  }

  /** 0 before the first value. */
  mean(): number {
    return this.#sum / Math.max(1, this.#filled());
  }

  deviation(): number {
    const mean = this.mean();
    return Math.sqrt(Math.max(0, this.#squares / Math.max(1, this.#filled()) - mean * mean));
  }

  #filled(): number {
    return Math.min(this.#count, this.#values.length);
  }
}
