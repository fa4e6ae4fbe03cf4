import { SeenUse } from '../balancer/seen-demand.js';
import { milliOf } from '../reservation/cpu-shares.js';
import type { Reservation } from '../reservation/reservation.js';
import type { IngressChange } from './ingress-change.js';

/** What the adjuster remembers of one running channel. */
export interface Watch {
  /** The last change gave it CPUs. */
  grew: boolean;
  /** When a rung may be tried again, monotonic milliseconds. */
  readonly unhelpfulUntilMs: Map<number, number>;
  /** The rung that it was brought down to last, and what it would have needed then to keep real time, cores. */
  degraded: { readonly rung: number; readonly fromCores: number; readonly atMs: number } | undefined;
  deviatingSinceMs: number | undefined;
  calmSinceMs: number | undefined;
  changedAtMs: number;
  readonly admittedMilli: number;
  /** The most that it was seen to need, cores; halves towards what it needs now every PEAK_HALVES_MS. */
  peakCores: number;
  /** Until when that is known, or from when on it will be: what an encoder does to fill its look-ahead is soon over. */
  peakToMs: number;
  readonly demandByRung: (number | undefined)[];
  busy: boolean;
  /** Made with the first look. */
  ingress: IngressChange | undefined;
  /** Its input has changed to this; forecasts since then are for it. */
  ingressBps: number | undefined;
  seen: SeenUse;
  /** Until when its use is seen, or from when on it will be. */
  seenToMs: number;
}

/** Loading FFmpeg and opening its encoders costs a small channel as much as seconds of media: so long it is not seen. */
const LOADING_MS = 1_500;
const FILLING_MS = 15_000;
const PEAK_HALVES_MS = 1_800_000;
/** What a channel uses is told as a mean over so long (feedback/channel-record.ts). */
const MEAN_MS = 5_000;

export function newWatch(reservation: Reservation, now: number): Watch {
  return {
    deviatingSinceMs: undefined,
    calmSinceMs: undefined,
    // The start itself counts as a change: encoders fill their look-ahead first.
    changedAtMs: now,
    admittedMilli: milliOf(reservation.cpus),
    demandByRung: [],
    grew: false,
    unhelpfulUntilMs: new Map(),
    degraded: undefined,
    peakCores: 0,
    peakToMs: now + FILLING_MS,
    busy: false,
    ingress: undefined,
    ingressBps: undefined,
    seen: new SeenUse(),
    seenToMs: now + LOADING_MS,
  };
}

/** `milli`: of a CPU, what it would have used at real time, the mean of the last MEAN_MS. */
export function see(watch: Watch, milli: number, now: number): void {
  const sinceMs = now - watch.seenToMs;
  if (watch.seen.seconds === 0 && sinceMs < MEAN_MS) return;
  watch.seen.add(milli, sinceMs / 1000);
  watch.seenToMs = now;
}

/** Another FFmpeg does its work from now on. */
export function seeAnew(watch: Watch, now: number): void {
  watch.seen = new SeenUse();
  watch.seenToMs = now + LOADING_MS;
}

/** `demand`: cores that it would use now at real time. */
export function rememberPeak(watch: Watch, demand: number, now: number): void {
  if (now < watch.peakToMs) return;
  const faded = demand + (watch.peakCores - demand) * 0.5 ** ((now - watch.peakToMs) / PEAK_HALVES_MS);
  watch.peakCores = Math.max(demand, faded);
  watch.peakToMs = now;
}

/** Rungs that are left out now. */
export function unhelpfulOf({ unhelpfulUntilMs }: Watch, now: number): number[] {
  return [...unhelpfulUntilMs].filter(([, untilMs]) => now < untilMs).map(([rung]) => rung);
}
