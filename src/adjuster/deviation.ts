import { milliOf } from '../reservation/cpu-shares.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { RecentUse } from '../rpc/control.js';

/**
 * Whether a running channel does what was forecast of it, from what was seen of it. Pure. What to do about it: plan.ts.
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
  /** The most that it was seen to need, which halves every half hour towards what it needs now; absent where nobody remembers. */
  readonly peakCores?: number;
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

/** A live channel slower than this is falling behind; FFmpeg's own speed figure wavers by about 1 %. */
export const LATE_SPEED = 0.97;
/** A live channel further behind than this is late whatever its speed says. */
export const LATE_LAG_S = 1;
/** A channel that is slower, but not further behind than this, may only have stalled for a moment. */
const BEHIND_LAG_S = 0.4;
/** Usage of the whole reservation above which the channel is short of CPU. */
const SATURATED = 0.95;
/** The same over less than a second, which CPU time told in hundredths blurs by a few of them. */
const FULL_NOW = 0.92;
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

/** The first sign of trouble, in words; undefined when the channel does what was forecast. */
export function deviationOf(channel: ChannelView): string | undefined {
  const reservedCores = coresOf(channel.reserved);
  if (channel.live && channel.speed < LATE_SPEED)
    return `speed ${channel.speed.toFixed(2)} is below real time`;
  if (channel.live && channel.lagSeconds > LATE_LAG_S) {
    return `${channel.lagSeconds.toFixed(1)} s behind real time`;
  }
  const lost = channel.now?.lostPackets ?? 0;
  // Where its CPUs have time left, it was a burst that no CPU would have helped with.
  if (channel.live && lost > 0 && areFull(channel)) return `loses its input: ${lost} packets in a second`;
  if (isPressed(channel)) {
    const { usageCores, waitCores } = channel.now!;
    return `uses ${usageCores.toFixed(2)} of ${reservedCores.toFixed(2)} cores now, and ${waitCores.toFixed(1)} threads wait for a CPU`;
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

/**
 * Its CPUs are full to the brim with its own work: no need to see whether that lasts. Of those who share that is nobody's
 * fault before one is far above its forecast, and more of its work waits.
 */
export function isPressed(channel: ChannelView): boolean {
  const { live, reserved, shared, forecastQ90Cores, now } = channel;
  if (!live || now === undefined || !areFull(channel)) return false;
  if (shared === undefined) return now.usageCores > coresOf(reserved) * FULL_NOW;
  return now.waitCores > WAITING && now.usageCores > forecastQ90Cores * LEFT_FAR;
}

/** What it will come to need is known before it uses it. */
export function outgrows({ live, forecastAnew, forecastQ90Cores, reserved }: ChannelView): boolean {
  return live && forecastAnew === true && forecastQ90Cores > coresOf(reserved) * LEFT_FORECAST;
}

/** Somebody who reserved nothing runs on its CPUs, and it gets less of them than it was promised. */
export function isSqueezed(channel: ChannelView): boolean {
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

export function isLate({ speed, lagSeconds }: ChannelView): boolean {
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

export function coresOf(cpus: readonly CpuShare[]): number {
  return milliOf(cpus) / 1000;
}
