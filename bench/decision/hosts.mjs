/** Hosts of any size for the decision benchmark, and what is reserved on them. */
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { allocate, OccupancyIndex } = await import(`${dist}/reservation/allocator.js`);
const { segmentsOf, spreadAnywhere } = await import(`${dist}/reservation/allocator-spread.js`);
const { normalQuantile } = await import(`${dist}/balancer/shared-demand.js`);
const { sharersOf } = await import(`${dist}/balancer/sharers.js`);
const { configSchema } = await import(`${dist}/config/schema.js`);
const { quantile, headroom, cpus: SEGMENT_CPUS } = configSchema.parse({}).sharing;
const RULE = { z: normalQuantile(quantile), headroom, common: 0.05 };

export const SMT_CORE_MILLI = 1300;

/** SMT siblings are half the host apart, as on most machines. */
export function topologyOf({ nodes, l3sPerNode, coresPerL3 }) {
  const cores = nodes * l3sPerNode * coresPerL3;
  const cpus = Array.from({ length: cores * 2 }, (_, cpu) => {
    const core = cpu % cores;
    return {
      cpu,
      core,
      l3: Math.floor(core / coresPerL3),
      node: Math.floor(core / (coresPerL3 * l3sPerNode)),
      package: 0,
      kind: 'performance',
      capacity: 1024,
      online: true,
      housekeeping: false,
    };
  });
  const to = (a) =>
    new Map(Array.from({ length: nodes }, (_, b) => [b, a === b ? 10 : 20 + Math.abs(a - b)]));
  return {
    cpus,
    schedulable: cpus.map(({ cpu }) => cpu),
    housekeeping: [],
    distance: new Map(Array.from({ length: nodes }, (_, node) => [node, to(node)])),
  };
}

/**
 * A host with so many reservations, which together hold the share `filled` of its capacity: the index as the daemon keeps
 * it. Sizes are drawn evenly from nothing to twice the mean, every 50th is exclusive; the others share CPUs where there is room.
 */
export class LoadedHost {
  constructor(topology, { reservations, filled, random }) {
    this.index = new OccupancyIndex(topology, SMT_CORE_MILLI);
    this.held = [];
    this.topology = topology;
    this.meanMilli = (filled * this.index.capacityMilli) / reservations;
    this.random = random;
    this.count = 0;
    while (this.held.length < reservations) this.#arrive();
  }

  /** As the daemon adds it up for a decision, once after each change. */
  sharing() {
    const { host } = this.index;
    const sharing = this.held.filter(({ demand }) => demand !== undefined);
    const sharers = sharersOf(host, segmentsOf(host, SEGMENT_CPUS), sharing);
    return { rule: RULE, quantile, cpus: SEGMENT_CPUS, sharers };
  }

  /** One reservation ends, another comes: the host stays as full as it was. */
  churn() {
    const at = Math.floor(this.random() * this.held.length);
    const gone = this.held[at];
    this.held[at] = this.held.at(-1);
    this.held.pop();
    this.index.release(gone.cpus, gone.exclusive);
    this.#arrive();
  }

  /** What finds no place comes again at half its size. */
  #arrive() {
    const exclusive = this.count++ % 50 === 0;
    let milli = Math.ceil(2 * this.meanMilli * this.random());
    for (;;) {
      const threads = Math.ceil(milli / 800);
      const shared = exclusive
        ? undefined
        : spreadAnywhere(this.index, SEGMENT_CPUS, { milli, roomMilli: milli, cpus: threads });
      if (shared !== undefined) {
        this.index.reserve(shared, false);
        const demand = { meanMilli: 0.8 * milli, deviationMilli: 0.15 * milli, forecastMilli: 0.1 * milli };
        this.held.push({ cpus: shared, exclusive: false, milli, demand });
        return;
      }
      const sharesMilli = evenly(milli, threads);
      const request = { sharesMilli, channelClass: 'live', smtCoreMilli: SMT_CORE_MILLI };
      for (const whole of exclusive ? [true, false] : [false]) {
        const placed = allocate(this.topology, this.index, { ...request, exclusive: whole });
        if (!placed.ok) continue;
        this.index.reserve(placed.cpus, whole);
        this.held.push({ cpus: placed.cpus, exclusive: whole });
        return;
      }
      milli = Math.ceil(milli / 2);
      if (milli === 1) throw new Error(`a host of ${this.index.free.length} CPUs has no room left at all`);
    }
  }
}

function evenly(milli, count) {
  const weights = Array.from({ length: count }, (_, i) => 1 - (0.5 * i) / count);
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.min(1000, Math.max(1, Math.ceil((milli * weight) / sum))));
}
