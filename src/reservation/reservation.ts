/** One CPU's part of a reservation. */
export interface CpuShare {
  readonly cpu: number;
  /** Thousandths, 1-1000. */
  readonly shareMilli: number;
}

export const RESERVATION_STATES = [
  'QUEUED',
  'PENDING',
  'ACTIVE',
  'PAUSED',
  'ORPHANED',
  'RELEASED',
  'EXPIRED',
] as const;
export type ReservationState = (typeof RESERVATION_STATES)[number];

export type ChannelClass = 'live' | 'vod';

/** A process named beyond doubt: the pid and field 22 of /proc/PID/stat. */
export interface ProcessRef {
  readonly pid: number;
  readonly startTicks: number;
}

/** A reservation as the ledger stores it. */
export interface Reservation {
  readonly id: string;
  readonly state: ReservationState;
  /** Fencing token, from one counter of the whole ledger. */
  readonly token: number;
  readonly name: string;
  readonly channelClass: ChannelClass;
  /** 0 (lowest) to 100. */
  readonly priority: number;
  readonly exclusive: boolean;
  /** Empty in QUEUED, PAUSED, RELEASED and EXPIRED. */
  readonly cpus: readonly CpuShare[];
  /** In PAUSED, and in QUEUED when it was requeued: the CPUs that it gave up. From a pause it goes on with as many. */
  readonly pausedFrom?: readonly CpuShare[];
  /** In QUEUED: it was told to end, and has not yet. */
  readonly process?: ProcessRef;
  /** No holder renews it: it is held by the life of its process (light mode). */
  readonly selfHeld?: true;
  /** Unix milliseconds. */
  readonly createdMs: number;
  readonly changedMs: number;
  /** Unix milliseconds; 0 for never. */
  readonly deadlineMs: number;
  readonly decisionId: string;
  /** 0 is full quality. */
  readonly rung: number;
  readonly ladderRungs: number;
  /** Effective uid of the caller that reserved. */
  readonly uid: number;
  /** Why it is in this state, in words. */
  readonly reason: string;
}

/** It ran before, and gave way: its holder is there and starts FFmpeg anew when there is room. */
export function isRequeued({ state, pausedFrom }: Reservation): boolean {
  return state === 'QUEUED' && pausedFrom !== undefined;
}

/** States in which a reservation owns CPUs. */
export function holdsCpus(state: ReservationState): boolean {
  return state === 'PENDING' || state === 'ACTIVE' || state === 'ORPHANED';
}
