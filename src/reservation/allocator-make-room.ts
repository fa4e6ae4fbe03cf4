/**
 * Whose CPUs a request that does not fit could have, and where those go. Pure: it tries on an OccupancyIndex, which is as
 * it was when it returns, and says what to do; book.ts carries it out.
 *
 * Two ways, the gentler one first:
 *   defragment   Enough is free in all, but not in one place. Running channels, at most `migrations` of them, move to
 *                other CPUs with all that they have. One at a time the channel leaves whose absence helps most, looked for
 *                where a core would be emptiest, until the request fits and everybody who left has a place again.
 *   preempt      VOD gives way to live. Victims are those of the lowest priority, the youngest first; then whoever is not
 *                needed is let off again, the most valued first, so that none of them could be spared. Each victim keeps as
 *                much as it can: it moves with all it has, or to fewer whole CPUs, or, where even one is not to be had, it
 *                yields: it is paused or requeued.
 *
 * `ask` decides on the request with some channels away, and is asked often: a decision on a large host takes up to a
 * millisecond. Room that grows never makes a request stop fitting, so preemption looks for its victims by bisection; the
 * defragmentation has a budget of tries.
 */

import { place } from './allocator.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import { spreadAnywhere } from './allocator-spread.js';
import { milliOf } from './cpu-shares.js';
import type { ChannelClass, CpuShare } from './reservation.js';

/** A running channel that may be asked for its CPUs. */
export interface Tenant {
  readonly id: string;
  readonly cpus: readonly CpuShare[];
  readonly exclusive: boolean;
  readonly channelClass: ChannelClass;
  readonly priority: number;
  readonly createdMs: number;
  /** How it can give up all of its CPUs: its process can be stopped, or ended and started anew. Absent: it cannot. */
  readonly yields?: 'pause' | 'requeue';
  /** It shares CPUs, in segments of at most so many. */
  readonly spread?: number;
}

/** What the request would get now. */
export interface Trial {
  readonly fits: boolean;
  readonly cpus: readonly CpuShare[];
  /** How far it is from fitting; of two tries the one with less is nearer. */
  readonly missing: number;
}

/** Decides on the request while these are away. */
export type Ask = (away: readonly Tenant[]) => Trial;

/** What one channel gives. */
export interface Concession {
  readonly tenant: Tenant;
  readonly way: 'move' | 'shrink' | 'pause' | 'requeue' | 'lend';
  /** Where it goes on; empty when it yields. */
  readonly cpus: readonly CpuShare[];
}

const CPU_MILLI = 1000;

/** Undefined when at most `migrations` moves within `tries` decisions make no room. */
export function defragment(
  index: OccupancyIndex,
  tenants: readonly Tenant[],
  request: { readonly exclusive: boolean; readonly ask: Ask },
  budget: { readonly migrations: number; readonly tries: number },
): readonly Concession[] | undefined {
  const candidates = mostRoomFirst(index, tenants);
  const away: Tenant[] = [];
  let { tries } = budget;
  let missing = Number.POSITIVE_INFINITY;
  try {
    while (away.length < budget.migrations) {
      let helps: Tenant | undefined;
      for (const tenant of candidates) {
        if (away.includes(tenant)) continue;
        if (tries-- <= 0) return undefined;
        const all = [...away, tenant];
        index.release(tenant.cpus, tenant.exclusive);
        const trial = request.ask(all);
        const moves = trial.fits ? rehouse(index, trial.cpus, request.exclusive, all, mustMove) : undefined;
        index.reserve(tenant.cpus, tenant.exclusive);
        if (moves !== undefined) return moves;
        if (trial.fits || trial.missing >= missing) continue;
        missing = trial.missing;
        helps = tenant;
      }
      if (helps === undefined) return undefined;
      index.release(helps.cpus, helps.exclusive);
      away.push(helps);
    }
    return undefined;
  } finally {
    for (const { cpus, exclusive } of away) index.reserve(cpus, exclusive);
  }
}

/** Those without whom a core would be emptiest; of equals the smallest, which is moved most easily. */
function mostRoomFirst(index: OccupancyIndex, tenants: readonly Tenant[]): readonly Tenant[] {
  const { host, room } = index;
  const left = (tenant: Tenant) => {
    const onCore = new Map<number, number>();
    for (const { cpu, shareMilli } of tenant.cpus) {
      const slot = host.slotOf.get(cpu);
      if (slot === undefined) continue;
      const core = host.coreOf[slot]!;
      onCore.set(core, (onCore.get(core) ?? room[core]!) + shareMilli);
    }
    return Math.max(0, ...onCore.values());
  };
  return tenants
    .map((tenant) => ({ tenant, left: left(tenant), milli: milliOf(tenant.cpus) }))
    .sort((a, b) => b.left - a.left || a.milli - b.milli || (a.tenant.id < b.tenant.id ? -1 : 1))
    .map(({ tenant }) => tenant);
}

/**
 * Undefined when no set of these makes room, or one of them could neither move nor yield. Without `keep` all victims
 * yield: where the host's load is too high, it does not help that they go on elsewhere.
 */
export function preempt(
  index: OccupancyIndex,
  tenants: readonly Tenant[],
  request: { readonly exclusive: boolean; readonly ask: Ask },
  keep = true,
): readonly Concession[] | undefined {
  const all = [...tenants].sort(leastHarm);
  const yielding = all.filter((tenant) => tenant.yields !== undefined);
  if (!keep) return preemptOf(index, yielding, request, yields);
  const found = preemptOf(index, all, request, movesOrYields);
  // Somebody who can only move found no place: look again without those.
  if (found !== undefined || yielding.length === all.length) return found;
  return preemptOf(index, yielding, request, movesOrYields);
}

function preemptOf(
  index: OccupancyIndex,
  tenants: readonly Tenant[],
  { exclusive, ask }: { readonly exclusive: boolean; readonly ask: Ask },
  find: Rehouse,
): readonly Concession[] | undefined {
  const without = <T>(away: readonly Tenant[], look: (trial: Trial) => T): T => {
    for (const tenant of away) index.release(tenant.cpus, tenant.exclusive);
    try {
      return look(ask(away));
    } finally {
      for (const tenant of away) index.reserve(tenant.cpus, tenant.exclusive);
    }
  };
  const fits = (away: readonly Tenant[]) => without(away, (trial) => trial.fits);
  if (tenants.length === 0 || !fits(tenants)) return undefined;
  const victims = spare(tenants.slice(0, fewestThatFit(tenants, fits)), fits);
  return without(victims, (trial) =>
    trial.fits ? rehouse(index, trial.cpus, exclusive, victims, find) : undefined,
  );
}

/** The lowest priority first, of equals the youngest. */
function leastHarm(a: Tenant, b: Tenant): number {
  return a.priority - b.priority || b.createdMs - a.createdMs || (a.id > b.id ? -1 : 1);
}

/** Length of the shortest prefix without which the request fits. All of them make it fit. */
function fewestThatFit(tenants: readonly Tenant[], fits: (away: readonly Tenant[]) => boolean): number {
  let most = 1;
  while (most < tenants.length && !fits(tenants.slice(0, most))) most *= 2;
  let least = most >> 1;
  most = Math.min(most, tenants.length);
  while (most - least > 1) {
    const middle = (least + most) >> 1;
    if (fits(tenants.slice(0, middle))) most = middle;
    else least = middle;
  }
  return most;
}

/** Lets off whoever is not needed, from the most valued on: whole runs at first, then one by one. */
function spare(victims: readonly Tenant[], fits: (away: readonly Tenant[]) => boolean): readonly Tenant[] {
  let kept = victims;
  for (let run = victims.length >> 1; run >= 1; run >>= 1) {
    for (let end = kept.length; end > 0; ) {
      const start = Math.max(0, end - run);
      const fewer = [...kept.slice(0, start), ...kept.slice(end)];
      if (fewer.length > 0 && fits(fewer)) kept = fewer;
      end = start;
    }
  }
  return kept;
}

type Rehouse = (index: OccupancyIndex, tenant: Tenant) => Concession | undefined;

/** A place for each of them beside what the request took, the most valued and the largest first. All of them are away. */
function rehouse(
  index: OccupancyIndex,
  taken: readonly CpuShare[],
  exclusive: boolean,
  tenants: readonly Tenant[],
  find: Rehouse,
): readonly Concession[] | undefined {
  const concessions: Concession[] = [];
  index.reserve(taken, exclusive);
  try {
    const order = [...tenants].sort((a, b) => -leastHarm(a, b) || milliOf(b.cpus) - milliOf(a.cpus));
    for (const tenant of order) {
      const concession = find(index, tenant);
      if (concession === undefined) return undefined;
      index.reserve(concession.cpus, tenant.exclusive);
      concessions.push(concession);
    }
    return concessions.filter(({ tenant, cpus }) => !sameShares(tenant.cpus, cpus));
  } finally {
    index.release(taken, exclusive);
    for (const { tenant, cpus } of concessions) index.release(cpus, tenant.exclusive);
  }
}

function mustMove(index: OccupancyIndex, tenant: Tenant): Concession | undefined {
  const cpus = placed(
    index,
    tenant,
    tenant.cpus.map(({ shareMilli }) => shareMilli),
  );
  return cpus === undefined ? undefined : { tenant, way: 'move', cpus };
}

function movesOrYields(index: OccupancyIndex, tenant: Tenant): Concession | undefined {
  const moved = mustMove(index, tenant);
  if (moved !== undefined) return moved;
  const cpus = fewerCpus(index, tenant);
  if (cpus !== undefined) return { tenant, way: 'shrink', cpus };
  return yields(index, tenant);
}

function yields(_: OccupancyIndex, tenant: Tenant): Concession | undefined {
  return tenant.yields && { tenant, way: tenant.yields, cpus: [] };
}

/** VOD goes at whatever pace it gets, so one whole CPU is worth more than none. */
export function fewerCpus(
  index: OccupancyIndex,
  tenant: Pick<Tenant, 'cpus' | 'exclusive' | 'channelClass'>,
): readonly CpuShare[] | undefined {
  if (tenant.exclusive) return undefined;
  for (let count = tenant.cpus.length - 1; count >= 1; count--) {
    const cpus = placed(index, tenant, new Array<number>(count).fill(CPU_MILLI));
    if (cpus !== undefined) return cpus;
  }
  return undefined;
}

export function placed(
  index: OccupancyIndex,
  { cpus, exclusive, channelClass, spread }: Pick<Tenant, 'cpus' | 'exclusive' | 'channelClass' | 'spread'>,
  sharesMilli: readonly number[],
): readonly CpuShare[] | undefined {
  if (spread !== undefined) {
    const milli = sharesMilli.reduce((sum, share) => sum + share, 0);
    return spreadAnywhere(index, spread, { milli, roomMilli: milli, cpus: 1 });
  }
  const prefer = cpus.map(({ cpu }) => cpu);
  const { smtCoreMilli } = index;
  const found = place(index, { sharesMilli, exclusive, channelClass, smtCoreMilli, prefer });
  return found.ok ? found.cpus : undefined;
}

function sameShares(a: readonly CpuShare[], b: readonly CpuShare[]): boolean {
  const held = new Map(a.map(({ cpu, shareMilli }) => [cpu, shareMilli]));
  return a.length === b.length && b.every(({ cpu, shareMilli }) => held.get(cpu) === shareMilli);
}
