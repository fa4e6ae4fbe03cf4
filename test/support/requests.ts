import type { DecideInput } from '../../src/balancer/decide.js';
import { candidateCpuCounts } from '../../src/balancer/decide.js';
import { configSchema } from '../../src/config/schema.js';
import type { Forecast, ForecastSource, HostState } from '../../src/forecast/forecast.js';
import { HORIZONS } from '../../src/forecast/forecast.js';
import type { ChannelRequest } from '../../src/rpc/control.js';
import type { Topology } from '../../src/topology/topology.js';
import { EMPTY } from './topology-of.js';

export function channelRequest(more: Partial<ChannelRequest> = {}): ChannelRequest {
  const picture = { width: 1280, height: 720, fps: 25, bitDepth: 8 };
  return {
    signature: {
      input: { codec: 'h264', bitrateBps: 4_000_000, ...picture },
      outputs: [
        { encoder: 'libx264', preset: 'fast', rate: { bitrateBps: 2_500_000 }, options: {}, ...picture },
      ],
      complexity: {},
    },
    channelClass: 'live',
    priority: 50,
    exclusive: false,
    cpuCount: 0,
    ...more,
  };
}

/** A forecast of `q90` cores, used evenly over the CPUs if `flat`, else falling in a straight line from the busiest. */
export function forecastOf(
  cpuCount: number,
  q90: number,
  more: { q50?: number; flat?: boolean; hostLoad?: number; source?: ForecastSource } = {},
): Forecast {
  const quantiles = (value: number) => ({ q50: value * 0.8, q90: value, q99: value * 1.2 });
  const usage = (rank: number) =>
    more.flat ? q90 / cpuCount : (2 * q90 * (cpuCount - rank)) / (cpuCount * (cpuCount + 1));
  return {
    source: more.source ?? 'cost_table',
    modelId: more.source === 'lstm' ? 'm1' : '',
    cpuCount,
    horizons: HORIZONS.map((horizon) => ({
      ...horizon,
      demand: { ...quantiles(q90), q50: more.q50 ?? q90 * 0.8 },
      coreUsage: Array.from({ length: cpuCount }, (_, rank) => quantiles(Math.min(1, usage(rank)))),
      hostLoad: quantiles(more.hostLoad ?? 0),
    })),
    notes: [],
  };
}

export function hostState(busy: number): HostState {
  return {
    busy,
    coreSpread: 0,
    busiestCore: busy,
    memoryUsed: 0.2,
    diskBusy: 0,
    ingressBps: 0,
    queueLength: 0,
    cpuPressure: 0,
    channels: 0,
    reserved: 0,
  };
}

/** A request for `q90` cores on an idle host with default limits; `more` overrides. */
export function decideInput(topology: Topology, q90: number, more: Partial<DecideInput> = {}): DecideInput {
  const request = more.request ?? channelRequest();
  return {
    request,
    forecasts: candidateCpuCounts(request, topology.schedulable.length).map((c) => forecastOf(c, q90)),
    topology,
    occupancy: EMPTY,
    host: hostState(0),
    limits: configSchema.parse({}).limits,
    smtCoreMilli: 1300,
    memory: { availableBytes: 8 * 2 ** 30, totalBytes: 16 * 2 ** 30 },
    ingressReservedBps: 0,
    channels: 0,
    queuedAhead: 0,
    queued: 0,
    closedReason: '',
    ...more,
  };
}
