/**
 * Which cores channels that share CPUs could leave, so that whole ones come free for VOD and exclusive reservations: when
 * what is open has far more room than is needed, its least used cores are to close. One channel at a time moves off them. Pure.
 */

import type { OccupancyIndex } from './allocator-occupancy.js';
import { type Segment, type Segments, spreadOver } from './allocator-spread.js';
import { milliOf } from './cpu-shares.js';
import type { CpuShare } from './reservation.js';

export interface Closer {
  readonly id: string;
  readonly cpus: readonly CpuShare[];
  /** CPUs that it can use at once. */
  readonly threads: number;
}

/** Undefined when nothing should close. The index is as it was when this returns. */
export function closingOf(
  index: OccupancyIndex,
  { all }: Segments,
  channels: () => readonly Closer[],
): { id: string; cpus: readonly CpuShare[]; reason: string } | undefined {
  for (const segment of all) {
    const closing = new Set(coresToClose(index, segment));
    if (closing.size === 0) continue;
    const rest = { cores: segment.cores.filter((core) => !closing.has(core)) };
    for (const channel of channels().filter(({ cpus }) => isOn(index, cpus, closing))) {
      const cpus = elsewhere(index, rest, channel);
      if (cpus === undefined) continue;
      return { id: channel.id, cpus, reason: `leaves ${closing.size} of its cores that few use to others` };
    }
  }
  return undefined;
}

/** The least used open cores, as many as the others have room for with KEEP of their capacity to spare. */
function coresToClose(index: OccupancyIndex, { cores }: Segment): number[] {
  const { coreFree, capacity } = index;
  const open = cores.filter((core) => coreFree[core]! < capacity[core]! && coreFree[core]! > 0);
  let free = open.reduce((sum, core) => sum + coreFree[core]!, 0);
  let left = open.reduce((sum, core) => sum + capacity[core]!, 0);
  const closing: number[] = [];
  const used = (core: number) => capacity[core]! - coreFree[core]!;
  for (const core of open.sort((a, b) => used(a) - used(b) || b - a)) {
    free -= capacity[core]!;
    left -= capacity[core]!;
    if (free < KEEP * left + LEAST_KEPT_MILLI) break;
    closing.push(core);
  }
  return closing;
}

function elsewhere(
  index: OccupancyIndex,
  rest: Pick<Segment, 'cores'>,
  { cpus, threads }: Closer,
): readonly CpuShare[] | undefined {
  const milli = milliOf(cpus);
  index.release(cpus, false);
  const found = spreadOver(index, rest, { milli, roomMilli: milli, cpus: threads });
  index.reserve(cpus, false);
  return found;
}

function isOn({ host }: OccupancyIndex, cpus: readonly CpuShare[], cores: ReadonlySet<number>): boolean {
  return cpus.some(({ cpu }) => {
    const slot = host.slotOf.get(cpu);
    return slot !== undefined && cores.has(host.coreOf[slot]!);
  });
}

/** Room that stays: closing what opens again soon would move channels to and fro. */
const KEEP = 0.25;
const LEAST_KEPT_MILLI = 500;
