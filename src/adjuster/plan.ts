import { milliOf } from '../reservation/cpu-shares.js';
import type { CpuShare } from '../reservation/reservation.js';
import {
  type ChannelView,
  demandOf,
  deviationOf,
  isLate,
  isPressed,
  isSqueezed,
  outgrows,
} from './deviation.js';

/**
 * What to do about one running channel, in the order of least harm: leave it -> more of its CPUs or more CPUs, those it
 * shares already first, then others of its L3 and NUMA node, then elsewhere -> away from CPUs that somebody else keeps busy ->
 * those of VOD, which gives way -> a cheaper rung -> say that nothing is left. And back: a better rung, then fewer CPUs, when
 * there has been room for long.
 *
 * A deviation counts once it has lasted. One is plain at once: its CPUs have had nothing left for a second and its threads wait.
 *
 * Pure: what was seen and for how long comes in, one action with its reason goes out.
 */
export interface PlanLimits {
  readonly headroom: number;
  readonly sustainMs: number;
  /** A live channel that is late for so long goes down a rung, where more CPUs are not to be had; sustainMs without it. */
  readonly degradeMs?: number;
  readonly restoreMs: number;
  readonly cooldownMs: number;
}

/**
 * Finds CPUs for these shares (busiest first), counting the channel's own as free; undefined when there are none. `idle`: only
 * such as have time left for them now, whatever was promised.
 */
export type Place = (sharesMilli: readonly number[], idle?: boolean) => readonly CpuShare[] | undefined;

export type Plan =
  | { readonly action: 'none' }
  | {
      readonly action: 'grow' | 'move' | 'shrink';
      readonly cpus: readonly CpuShare[];
      readonly reason: string;
    }
  /** VOD gives way for it. */
  | { readonly action: 'preempt'; readonly sharesMilli: readonly number[]; readonly reason: string }
  | { readonly action: 'degrade'; readonly rung: number; readonly reason: string }
  | {
      readonly action: 'restore';
      readonly rung: number;
      readonly cpus: readonly CpuShare[];
      readonly reason: string;
    }
  | { readonly action: 'overloaded'; readonly reason: string };

/** Shrinks only when the need is below this share of what is reserved. */
const SHRINK_BELOW = 0.7;
/** While it is on time, less more than this is not worth a change. */
const WORTH_GROWING = 1.1;
/** Most CPUs that growing adds to the need's minimum in search of room. */
const SPREAD_CPUS = 4;

/** Whether VOD would give way for these shares. */
export type OverVod = (sharesMilli: readonly number[]) => boolean;

export function plan(
  channel: ChannelView,
  limits: PlanLimits,
  place: Place,
  overVod: OverVod = () => false,
): Plan {
  const cooling = channel.sinceChangeMs < limits.cooldownMs;
  const deviation = deviationOf(channel);
  if (cooling && (deviation === undefined || channel.grew !== true)) return { action: 'none' };
  if (deviation !== undefined) {
    return channel.deviatingMs < limits.sustainMs && !isPressed(channel)
      ? { action: 'none' }
      : relieve(channel, deviation, limits, place, overVod);
  }
  return channel.calmMs < limits.restoreMs ? { action: 'none' } : giveBack(channel, limits, place);
}

function relieve(
  channel: ChannelView,
  deviation: string,
  limits: PlanLimits,
  place: Place,
  overVod: OverVod,
): Plan {
  const reservedMilli = milliOf(channel.reserved);
  const ownMilli = Math.ceil((demandNow(channel) / (1 - limits.headroom)) * 1000);
  const needMilli = channel.shared === undefined ? ownMilli : neededOf(channel, channel.shared, ownMilli);
  const away = moveAway(channel, deviation, place);
  if (away !== undefined) return away;
  if (channel.shared !== undefined) {
    const moved = among(channel, deviation, Math.max(needMilli, reservedMilli), place);
    if (moved !== undefined) return moved;
  } else if (needMilli > reservedMilli * (isLate(channel) || isPressed(channel) ? 1 : WORTH_GROWING)) {
    const cpus = placeSpread(needMilli, channel.reserved.length, place);
    if (cpus !== undefined) {
      return {
        action: 'grow',
        cpus,
        reason: `${deviation}; grows from ${reservedMilli} to ${needMilli} thousandths`,
      };
    }
  }
  if (!channel.live || !isLate(channel)) return { action: 'none' };
  const sharesMilli = sharesOverVod(channel, needMilli, limits);
  if (sharesMilli !== undefined && overVod(sharesMilli)) {
    const reason = `${deviation}; VOD gives way for ${sharesMilli.reduce((a, b) => a + b, 0)} thousandths`;
    return { action: 'preempt', sharesMilli, reason };
  }
  const rung = cheaperRung(channel);
  if (rung !== undefined) {
    if (channel.deviatingMs < (limits.degradeMs ?? limits.sustainMs)) return { action: 'none' };
    return {
      action: 'degrade',
      rung,
      reason: `${deviation}; no CPUs for ${needMilli} thousandths`,
    };
  }
  return { action: 'overloaded', reason: `${deviation}; no CPUs and no cheaper rung left` };
}

/** More than it was seen to need until now, where it is plain that it does. */
function neededOf(channel: ChannelView, { needMilli }: { readonly needMilli: number }, ownMilli: number) {
  return isPressed(channel) || outgrows(channel) ? Math.max(needMilli, ownMilli) : needMilli;
}

/** Of a pressed channel the last second says more than the last five; of one whose input has grown its forecast does. */
function demandNow(channel: ChannelView): number {
  const now = isPressed(channel) ? channel.now!.usageCores : 0;
  return Math.max(demandOf(channel), now, outgrows(channel) ? channel.forecastQ90Cores : 0);
}

/** As much as it has, on CPUs that are idle. Those who share look for themselves (among). */
function moveAway(channel: ChannelView, deviation: string, place: Place): Plan | undefined {
  const { live, shared, reserved } = channel;
  if (!live || shared !== undefined || !isSqueezed(channel)) return undefined;
  const cpus = place(
    reserved.map(({ shareMilli }) => shareMilli),
    true,
  );
  if (cpus === undefined || cpus.every(({ cpu }, i) => cpu === reserved[i]?.cpu)) return undefined;
  return { action: 'move', cpus, reason: `${deviation}; others keep its CPUs busy` };
}

/** What a late channel would need to keep real time; undefined where it has that already. */
function sharesOverVod(
  channel: ChannelView,
  needMilli: number,
  { headroom }: PlanLimits,
): readonly number[] | undefined {
  const milli = Math.max(needMilli, Math.ceil((demandOf(channel) / (1 - headroom)) * 1000));
  if (milli <= milliOf(channel.reserved)) return undefined;
  const count = Math.max(channel.reserved.length, Math.ceil(milli / 1000));
  return Array.from({ length: count }, () => Math.ceil(milli / count));
}

/** On more of the CPUs that it shares, or on those of others; undefined where it would be no better off. */
function among(channel: ChannelView, deviation: string, needMilli: number, place: Place): Plan | undefined {
  const { reserved } = channel;
  const cpus = place([needMilli]);
  if (cpus === undefined) return undefined;
  const before = new Set(reserved.map(({ cpu }) => cpu));
  const others = cpus.filter(({ cpu }) => !before.has(cpu)).length;
  // More of a promise makes no late channel faster on the same CPUs.
  if (others === 0 && (isLate(channel) || needMilli <= milliOf(reserved))) return undefined;
  const action = others === cpus.length ? 'move' : 'grow';
  const to = others === 0 ? 'its CPUs' : `${others} CPUs that it did not have`;
  return { action, cpus, reason: `${deviation}; ${needMilli} thousandths on ${to}` };
}

function giveBack(channel: ChannelView, limits: PlanLimits, place: Place): Plan {
  if (channel.rung > 0) {
    const rung = betterRung(channel);
    const demand = demandAt(channel, rung);
    // The ledger knows only who reserved; a neighbour that did not would push the channel down again.
    if (demand - channel.usageCores > channel.idleCores) return { action: 'none' };
    const needMilli = Math.max(Math.ceil((demand / (1 - limits.headroom)) * 1000), milliOf(channel.reserved));
    const cpus = placeSpread(needMilli, channel.reserved.length, place);
    if (cpus === undefined) return { action: 'none' };
    return {
      action: 'restore',
      rung,
      cpus,
      reason: `room for ${needMilli} thousandths returned`,
    };
  }
  // What those who share do not need they lend when somebody asks for it.
  if (channel.shared !== undefined) return { action: 'none' };
  const reservedMilli = milliOf(channel.reserved);
  // By what it came to, not by what it does now: or it would grow again with the next hard picture.
  const peakCores = Math.max(demandOf(channel), channel.peakCores ?? 0);
  const needMilli = Math.max(channel.admittedMilli, Math.ceil((peakCores / (1 - limits.headroom)) * 1000));
  if (needMilli >= reservedMilli * SHRINK_BELOW) return { action: 'none' };
  const cpus = placeSpread(needMilli, 1, place);
  if (cpus === undefined) return { action: 'none' };
  return {
    action: 'shrink',
    cpus,
    reason: `uses ${channel.usageCores.toFixed(2)} cores of ${reservedMilli} thousandths`,
  };
}

export function cheaperRung({
  rung,
  ladderRungs,
  unhelpful = [],
}: Pick<ChannelView, 'rung' | 'ladderRungs' | 'unhelpful'>): number | undefined {
  for (let next = rung + 1; next <= ladderRungs; next++) if (!unhelpful.includes(next)) return next;
  return undefined;
}

/** What was seen at the rung, else at a dearer one, which it does not exceed; else what was forecast of full quality. */
function demandAt({ demandByRung, forecastQ90Cores }: ChannelView, rung: number): number {
  return demandByRung.slice(0, rung + 1).findLast((demand) => demand !== undefined) ?? forecastQ90Cores;
}

/** Full quality is always worth a try. */
function betterRung({ rung, unhelpful = [] }: ChannelView): number {
  let next = rung - 1;
  while (next > 0 && unhelpful.includes(next)) next--;
  return next;
}

function placeSpread(needMilli: number, atLeastCpus: number, place: Place): readonly CpuShare[] | undefined {
  const fewest = Math.max(atLeastCpus, Math.ceil(needMilli / 1000), 1);
  for (let count = fewest; count <= fewest + SPREAD_CPUS; count++) {
    const share = Math.ceil(needMilli / count);
    const cpus = place(Array.from({ length: count }, () => Math.max(1, share)));
    if (cpus !== undefined) return cpus;
  }
  return undefined;
}
