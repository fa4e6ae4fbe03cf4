import { candidateCpuCounts } from '../balancer/demand.js';
import { type Forecast, HORIZONS, type Quantiles } from '../forecast/forecast.js';
import type { ChannelRequest } from '../rpc/control.js';
import type { Topology } from '../topology/topology.js';
import type { MeasuredChannel } from './population.js';

/** No measured channel needs more CPUs. */
const MOST_CPUS = 16;

/** Only memory and ingress would look at the signature. */
export const REQUEST: ChannelRequest = {
  signature: {
    input: { codec: 'h264', width: 1280, height: 720, fps: 25, bitrateBps: 0, bitDepth: 8 },
    outputs: [],
    complexity: {},
  },
  channelClass: 'live',
  priority: 50,
  exclusive: false,
  cpuCount: 0,
};

/** As the daemon asks for, on a host of so many CPUs. */
export function countsOn(cpus: number): number[] {
  return candidateCpuCounts(REQUEST, Math.min(cpus, MOST_CPUS));
}

export function forecastOf({ horizons }: MeasuredChannel, cpuCount: number): Forecast {
  const spread = (quantiles: Quantiles): Quantiles => ({
    q50: Math.min(1, quantiles.q50 / cpuCount),
    q90: Math.min(1, quantiles.q90 / cpuCount),
    q99: Math.min(1, quantiles.q99 / cpuCount),
  });
  return {
    source: 'nearest',
    modelId: '',
    cpuCount,
    notes: [],
    horizons: HORIZONS.map((span, i) => {
      const [q50, q90, q99] = horizons[i]!;
      const demand = { q50, q90, q99 };
      return {
        ...span,
        demand,
        coreUsage: Array.from({ length: cpuCount }, () => spread(demand)),
        hostLoad: { q50: 0, q90: 0, q99: 0 },
      };
    }),
  };
}

/** Cores of one CPU, eight to an L3. */
export function plainTopology(cpus: number): Topology {
  return {
    cpus: Array.from({ length: cpus }, (_, cpu) => ({
      cpu,
      core: cpu,
      l2: cpu,
      l3: Math.floor(cpu / 8),
      cluster: cpu,
      die: 0,
      node: Math.floor(cpu / 64),
      package: 0,
      kind: 'performance' as const,
      capacity: 1024,
      online: true,
      housekeeping: false,
      isolated: false,
      nohzFull: false,
    })),
    schedulable: Array.from({ length: cpus }, (_, cpu) => cpu),
    housekeeping: [],
    distance: new Map(),
  };
}
