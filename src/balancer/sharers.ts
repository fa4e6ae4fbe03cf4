import type { HostIndex } from '../reservation/allocator-host.js';
import { type Segments, segmentOf } from '../reservation/allocator-spread.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { Sharers } from './choose-shared.js';
import { type ChannelDemand, NOBODY, plus } from './shared-demand.js';

/** A channel that shares its CPUs, and what it is expected to need now. */
export interface Sharer {
  readonly cpus: readonly CpuShare[];
  readonly demand: ChannelDemand;
}

/** Who shares in each segment. Pure. */
export function sharersOf(
  host: HostIndex,
  segments: Segments,
  channels: Iterable<Sharer>,
): Map<number, Sharers> {
  const bySegment = new Map<number, Sharers>();
  for (const { cpus, demand } of channels) {
    const segment = segmentOf(host, segments, cpus);
    if (segment < 0) continue;
    const others = bySegment.get(segment);
    bySegment.set(segment, {
      sum: plus(others?.sum ?? NOBODY, demand),
      channels: (others?.channels ?? 0) + 1,
      promisedMilli: cpus.reduce((sum, { shareMilli }) => sum + shareMilli, others?.promisedMilli ?? 0),
    });
  }
  return bySegment;
}
