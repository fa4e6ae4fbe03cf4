import type { CpuShare } from '../reservation/reservation.js';
import type { RecentUse } from '../rpc/control.js';

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
export interface ChannelView {
  readonly reserved: readonly CpuShare[];
  readonly live: boolean;
  readonly rung: number;
  readonly ladderRungs: number;
  /** Rungs that did not help when they were tried last, or that the encoder does not start at. */
  readonly unhelpful?: readonly number[];
  /** Cores it used over the last steps. */
  readonly usageCores: number;
  /** Media seconds per wall second; 1 when unknown. */
  readonly speed: number;
  readonly lagSeconds: number;
  /** 0.9 quantile of the forecast in force, cores. */
  readonly forecastQ90Cores: number;
  /** Its input is another than it was admitted with, and it was forecast anew. */
  readonly forecastAnew?: boolean;
  /** Least it may shrink to: what was reserved at admission, thousandths. */
  readonly admittedMilli: number;
  /** Cores used at each rung while it kept real time; index = rung. Undefined where it never did. */
  readonly demandByRung: readonly (number | undefined)[];
  /** Of a channel that shares its CPUs: what it should be promised now, and what all of them need beyond what they are. */
  readonly shared?: { readonly needMilli: number; readonly shortMilli: number } | undefined;
  /** What its CPUs have left, everybody's work counted: the sum of their idle shares, cores. */
  readonly idleCores: number;
  /** Over the last second; absent where it is not known. */
  readonly now?: RecentUse | undefined;
  /** How long it has deviated / been calm / since its last change, milliseconds. */
  readonly deviatingMs: number;
  readonly calmMs: number;
  readonly sinceChangeMs: number;
  /** The last change gave it CPUs: if that does not help, what comes next need not wait for the cool-down. */
  readonly grew?: boolean;
}

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

/** A live channel slower than this is falling behind; FFmpeg's own speed figure wavers by about 1 %. */
export const LATE_SPEED = 0.97;
/** A live channel further behind than this is late whatever its speed says. */
export const LATE_LAG_S = 1;
/** A channel that is slower, but not further behind than this, may only have stalled for a moment. */
const BEHIND_LAG_S = 0.4;
/** Usage of the whole reservation above which the channel is short of CPU. */
const SATURATED = 0.95;
/** Usage above the forecast's 0.9 quantile by this factor has left the forecast. */
const LEFT_FORECAST = 1.1;
/** Usage of the last second above which it has left the forecast of its share of CPUs that several use. */
const LEFT_FAR = 1.25;
/** CPUs with less of their time left have nothing left. */
const NOTHING_IDLE = 0.05;
/** More threads than this wait for a CPU on average: they have work, and nowhere to do it. */
const WAITING = 0.1;
/** A channel that gets less of what it was promised, on CPUs without idle time, has them taken by others. */
const TAKEN = 0.9;
/** Shrinks only when the need is below this share of what is reserved. */
const SHRINK_BELOW = 0.7;
/** Most CPUs that growing adds to the need's minimum in search of room. */
const SPREAD_CPUS = 4;

/** The first sign of trouble, in words; undefined when the channel does what was forecast. */
export function deviationOf(channel: ChannelView): string | undefined {
  const reservedCores = coresOf(channel.reserved);
  if (channel.live && channel.speed < LATE_SPEED)
    return `speed ${channel.speed.toFixed(2)} is below real time`;
  if (channel.live && channel.lagSeconds > LATE_LAG_S) {
    return `${channel.lagSeconds.toFixed(1)} s behind real time`;
  }
  if (isPressed(channel)) {
    const { usageCores, waitCores } = channel.now!;
    return `uses ${usageCores.toFixed(2)} of ${reservedCores.toFixed(2)} cores, and ${waitCores.toFixed(1)} threads wait for a CPU`;
  }
  if (outgrows(channel)) {
    const forecast = channel.forecastQ90Cores.toFixed(2);
    return `its input has changed: the forecast is now ${forecast} of ${reservedCores.toFixed(2)} reserved cores`;
  }
  // Who shares CPUs may use more than its part, as long as all together do not.
  if (channel.shared !== undefined) return sharedDeviation(channel, channel.shared);
  if (channel.live && channel.usageCores > reservedCores * SATURATED) {
    return `uses ${channel.usageCores.toFixed(2)} of ${reservedCores.toFixed(2)} reserved cores`;
  }
  if (channel.live && channel.usageCores > channel.forecastQ90Cores * LEFT_FORECAST) {
    return `uses ${channel.usageCores.toFixed(2)} cores, forecast 0.9 quantile ${channel.forecastQ90Cores.toFixed(2)}`;
  }
  return undefined;
}

/** Its CPUs are full to the brim with its own work, more of which waits: no need to see whether that lasts. */
function isPressed(channel: ChannelView): boolean {
  const { live, reserved, shared, forecastQ90Cores, now } = channel;
  if (!live || now === undefined || !areFull(channel)) return false;
  const most = shared === undefined ? coresOf(reserved) * SATURATED : forecastQ90Cores * LEFT_FAR;
  return now.waitCores > WAITING && now.usageCores > most;
}

/** What it will come to need is known before it uses it. */
function outgrows({ live, forecastAnew, forecastQ90Cores, reserved }: ChannelView): boolean {
  return live && forecastAnew === true && forecastQ90Cores > coresOf(reserved) * LEFT_FORECAST;
}

/** Somebody who reserved nothing runs on its CPUs, and it gets less of them than it was promised. */
function isSqueezed(channel: ChannelView): boolean {
  const { reserved, now } = channel;
  if (now === undefined || !areFull(channel)) return false;
  return now.waitCores > WAITING && now.usageCores < coresOf(reserved) * TAKEN;
}

function areFull({ reserved, idleCores }: ChannelView): boolean {
  return idleCores < NOTHING_IDLE * reserved.length;
}

function sharedDeviation(
  { reserved, usageCores }: ChannelView,
  { needMilli, shortMilli }: NonNullable<ChannelView['shared']>,
): string | undefined {
  const reservedMilli = milliOf(reserved);
  if (shortMilli <= 0 || needMilli <= reservedMilli * LEFT_FORECAST) return undefined;
  if (usageCores * 1000 <= reservedMilli) return undefined;
  const promised = (reservedMilli / 1000).toFixed(2);
  return `uses ${usageCores.toFixed(2)} of ${promised} cores, and those it shares with need ${(shortMilli / 1000).toFixed(2)} more than they were promised`;
}

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
  } else if (needMilli > reservedMilli) {
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
  const needMilli = Math.max(
    channel.admittedMilli,
    Math.ceil((demandOf(channel) / (1 - limits.headroom)) * 1000),
  );
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

function isLate({ speed, lagSeconds }: ChannelView): boolean {
  return lagSeconds > (speed < LATE_SPEED ? BEHIND_LAG_S : LATE_LAG_S);
}

/** What it would use at real time: a channel at speed 0.5 does half of its work. Bounded: a stall is not a demand. */
export function demandOf({
  usageCores,
  speed,
}: {
  readonly usageCores: number;
  readonly speed?: number;
}): number {
  return usageCores / Math.min(1, Math.max(speed ?? 1, 0.25));
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

function milliOf(cpus: readonly CpuShare[]): number {
  return cpus.reduce((sum, cpu) => sum + cpu.shareMilli, 0);
}

function coresOf(cpus: readonly CpuShare[]): number {
  return milliOf(cpus) / 1000;
}
