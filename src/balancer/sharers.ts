import type { HostIndex } from '../reservation/allocator-host.js';
import { type Segments, segmentOf } from '../reservation/allocator-spread.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { Sharers } from './choose-shared.js';
import type { ChannelDemand } from './shared-demand.js';

/** A channel that shares its CPUs, and what it is expected to need now. */
export interface Sharer {
  readonly cpus: readonly CpuShare[];
  /** Thousandths of `cpus`, all together. */
  readonly milli: number;
  readonly demand: ChannelDemand;
}

/** Who shares in each segment. Pure. */
export function sharersOf(
  host: HostIndex,
  segments: Segments,
  channels: Iterable<Sharer>,
): Map<number, Sharers> {
  const bySegment = new Map<number, Adding>();
  for (const { cpus, milli, demand } of channels) {
    const segment = segmentOf(host, segments, cpus);
    if (segment < 0) continue;
    let adding = bySegment.get(segment);
    if (adding === undefined) {
      adding = { sum: { meanMilli: 0, variance: 0, forecastMilli: 0 }, channels: 0, promisedMilli: 0 };
      bySegment.set(segment, adding);
    }
    adding.sum.meanMilli += demand.meanMilli;
    adding.sum.variance += demand.deviationMilli ** 2;
    adding.sum.forecastMilli += demand.forecastMilli;
    adding.channels++;
    adding.promisedMilli += milli;
  }
  return bySegment;
}

/** Sharers as they are added up, thousands of them for one decision. */
interface Adding {
  readonly sum: { meanMilli: number; variance: number; forecastMilli: number };
  channels: number;
  promisedMilli: number;
}
