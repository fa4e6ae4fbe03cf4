import { CorecastError } from '../lib/errors.js';
import type { CpuShare, ProcessRef, Reservation, ReservationState } from './reservation.js';

/** What can happen to a reservation, with all that it changes. Deadlines are unix milliseconds, 0 for never. */
export type LeaseStep =
  /** Room was found for a waiting request. */
  | {
      readonly step: 'admit';
      readonly cpus: readonly CpuShare[];
      readonly deadlineMs: number;
      readonly decisionId: string;
    }
  /** A process takes the CPUs: its first one, or the one that replaces it. A new holder, so a new token. */
  | {
      readonly step: 'attach';
      readonly process: ProcessRef;
      readonly token: number;
      readonly selfHeld?: boolean;
    }
  /** The holder is silent or gone, the process lives. */
  | { readonly step: 'orphan'; readonly deadlineMs: number }
  /** A holder is back. It may be another one, so a new token. */
  | { readonly step: 'resume'; readonly token: number }
  /** The process ended, as announced, to make way for the next one. */
  | { readonly step: 'restart'; readonly deadlineMs: number }
  /** Its process is stopped, its CPUs are others'. */
  | { readonly step: 'pause' }
  /** Its CPUs are others', its process is to end. The same holder starts another when there is room. */
  | { readonly step: 'requeue' }
  /** The process of a requeued reservation has ended. */
  | { readonly step: 'gone' }
  /** Room is back: its process goes on. */
  | { readonly step: 'continue'; readonly cpus: readonly CpuShare[] }
  /** Other CPUs or other shares. */
  | { readonly step: 'assign'; readonly cpus: readonly CpuShare[] }
  | { readonly step: 'rung'; readonly rung: number }
  | { readonly step: 'release' }
  | { readonly step: 'expire' };

export type StepName = LeaseStep['step'];

/**
 * Every transition that exists (DESIGN, section 5); whatever is missing here is refused.
 *
 *   QUEUED ──admit──▶ PENDING ──attach──▶ ACTIVE ──orphan──▶ ORPHANED
 *     │                 ▲ │ ▲                │ ◀──resume,attach── │
 *     │                 │ │ └────restart─────┤                    │
 *     └─▶ EXPIRED ◀─────┼─┘                  └────▶ RELEASED ◀────┘      (QUEUED and PENDING can be released, too)
 *
 *   ACTIVE, ORPHANED ──pause──▶ PAUSED ──continue──▶ ACTIVE, and PAUSED ──▶ RELEASED when it is released or its process
 *   ends. Whether the holder is still there is asked again when it is ACTIVE: the lease begins anew. A process that is
 *   attached to a PAUSED reservation is stopped, too.
 *
 *   ACTIVE ──requeue──▶ QUEUED, with the process that is to end; QUEUED ──gone──▶ QUEUED without it, and from there on as
 *   others that wait. When the holder is gone before its process has ended, QUEUED ──pause──▶ PAUSED: nobody is left to
 *   start another.
 */
export const TRANSITIONS: Readonly<
  Record<ReservationState, Readonly<Partial<Record<StepName, ReservationState>>>>
> = {
  QUEUED: { admit: 'PENDING', gone: 'QUEUED', pause: 'PAUSED', release: 'RELEASED', expire: 'EXPIRED' },
  PENDING: {
    attach: 'ACTIVE',
    assign: 'PENDING',
    rung: 'PENDING',
    release: 'RELEASED',
    expire: 'EXPIRED',
  },
  ACTIVE: {
    attach: 'ACTIVE',
    orphan: 'ORPHANED',
    restart: 'PENDING',
    pause: 'PAUSED',
    requeue: 'QUEUED',
    assign: 'ACTIVE',
    rung: 'ACTIVE',
    release: 'RELEASED',
  },
  PAUSED: { attach: 'PAUSED', continue: 'ACTIVE', release: 'RELEASED' },
  ORPHANED: {
    attach: 'ACTIVE',
    resume: 'ACTIVE',
    pause: 'PAUSED',
    assign: 'ORPHANED',
    rung: 'ORPHANED',
    release: 'RELEASED',
  },
  RELEASED: {},
  EXPIRED: {},
};

/** The reservation after a step; throws WRONG_STATE, naming both, when its state does not allow the step. */
export function transition(
  reservation: Reservation,
  step: LeaseStep,
  nowMs: number,
  reason: string,
): Reservation {
  const state = TRANSITIONS[reservation.state][step.step];
  if (state === undefined) throw wrongState(reservation, step.step);
  const next = { ...reservation, state, changedMs: nowMs, reason };
  switch (step.step) {
    case 'admit':
      if (reservation.process !== undefined)
        throw wrongState(reservation, step.step, 'its process has not ended');
      return {
        ...withoutPause(next),
        cpus: step.cpus,
        deadlineMs: step.deadlineMs,
        decisionId: step.decisionId,
      };
    case 'attach':
      requireNewer(reservation, step.token);
      return {
        ...withoutSelfHold(next),
        ...(step.selfHeld === true ? { selfHeld: true as const } : {}),
        process: step.process,
        token: step.token,
        deadlineMs: 0,
      };
    case 'orphan':
      return { ...next, deadlineMs: step.deadlineMs };
    case 'resume':
      requireNewer(reservation, step.token);
      return { ...next, token: step.token, deadlineMs: 0 };
    case 'restart':
      return { ...withoutProcess(next), deadlineMs: step.deadlineMs };
    case 'pause':
    case 'requeue':
      if (reservation.process === undefined) throw wrongState(reservation, step.step, 'it has no process');
      return { ...next, cpus: [], pausedFrom: reservation.pausedFrom ?? reservation.cpus, deadlineMs: 0 };
    case 'gone':
      return withoutProcess(next);
    case 'continue':
      return { ...withoutPause(next), cpus: step.cpus };
    case 'assign':
      return { ...next, cpus: step.cpus };
    case 'rung':
      return { ...next, rung: step.rung };
    case 'release':
    case 'expire':
      return { ...withoutPause(withoutProcess(next)), cpus: [], deadlineMs: 0 };
  }
}

export function hasEnded(state: ReservationState): boolean {
  return state === 'RELEASED' || state === 'EXPIRED';
}

/** Refuses a token that was superseded or never issued. */
export function requireToken(reservation: Reservation, token: number): void {
  if (token === reservation.token) return;
  throw new CorecastError(
    'STALE_TOKEN',
    `reservation ${reservation.id}: token ${token} is not the one in force; another holder took over, or the reservation changed hands since`,
    { metadata: { reservation_id: reservation.id } },
  );
}

/** `because`: what is missing where the state alone would allow it. */
export function wrongState(reservation: Reservation, step: string, because?: string): CorecastError {
  const from = Object.entries(TRANSITIONS)
    .filter(([, steps]) => step in steps)
    .map(([state]) => state);
  return new CorecastError(
    'WRONG_STATE',
    `reservation ${reservation.id} is ${reservation.state} (${reservation.reason}); ${because ?? `${step} needs ${from.join(', ')}`}`,
    { metadata: { reservation_id: reservation.id, state: reservation.state } },
  );
}

function requireNewer(reservation: Reservation, token: number): void {
  if (token > reservation.token) return;
  throw new CorecastError(
    'INTERNAL',
    `reservation ${reservation.id}: new token ${token} is not above ${reservation.token}`,
  );
}

function withoutProcess(reservation: Reservation): Reservation {
  const { process: _, ...rest } = reservation;
  return rest;
}

function withoutSelfHold(reservation: Reservation): Reservation {
  const { selfHeld: _, ...rest } = reservation;
  return rest;
}

function withoutPause(reservation: Reservation): Reservation {
  const { pausedFrom: _, ...rest } = reservation;
  return rest;
}
