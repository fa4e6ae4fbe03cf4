import { SeenUse } from '../balancer/seen-demand.js';
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
  readonly demandByRung: (number | undefined)[];
  busy: boolean;
  /** Made with the first look. */
  ingress: IngressChange | undefined;
  /** Its input has changed to this; forecasts since then are for it. */
  ingressBps: number | undefined;
  seen: SeenUse;
  lookedMs: number;
}

export function newWatch(reservation: Reservation, now: number): Watch {
  return {
    deviatingSinceMs: undefined,
    calmSinceMs: undefined,
    // The start itself counts as a change: encoders fill their look-ahead first.
    changedAtMs: now,
    admittedMilli: reservation.cpus.reduce((sum, cpu) => sum + cpu.shareMilli, 0),
    demandByRung: [],
    grew: false,
    unhelpfulUntilMs: new Map(),
    degraded: undefined,
    busy: false,
    ingress: undefined,
    ingressBps: undefined,
    seen: new SeenUse(),
    lookedMs: now,
  };
}

/** Rungs that are left out now. */
export function unhelpfulOf({ unhelpfulUntilMs }: Watch, now: number): number[] {
  return [...unhelpfulUntilMs].filter(([, untilMs]) => now < untilMs).map(([rung]) => rung);
}
