import type { Forecast } from '../forecast/forecast.js';
import type { Signature } from '../forecast/signature.js';
import type { CpuShare } from '../reservation/reservation.js';

export type Outcome = 'ACCEPTED' | 'QUEUED' | 'REFUSED';

export type ReasonCode =
  | 'FITS'
  | 'CPU_SHORT'
  | 'NO_PLACEMENT'
  | 'HOST_LOAD'
  | 'MEMORY'
  | 'INGRESS'
  | 'QUEUE_AHEAD'
  | 'QUEUE_FULL'
  | 'ADMISSION_CLOSED'
  | 'TOO_LARGE'
  | 'CHANNEL_LIMIT'
  | 'PEER_LIMIT'
  /** VOD gave way to live. */
  | 'PREEMPTED'
  /** Others moved together, so that a place came free. */
  | 'DEFRAGMENTED'
  /** Others who share its CPUs gave up what they do not need any more. */
  | 'BORROWED';

export interface Reason {
  readonly code: ReasonCode;
  readonly text: string;
  readonly needed: number;
  readonly available: number;
  readonly unit: 'thousandths' | 'share' | 'bytes' | 'bits/s' | 'channels' | 'cpus';
  readonly passed: boolean;
}

export interface Decision {
  readonly id: string;
  readonly atMs: number;
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly signature: Signature;
  /** For the chosen CPU count, or the best candidate when nothing fits. */
  readonly forecast: Forecast;
  readonly candidates: readonly Forecast[];
  /** Empty unless accepted. */
  readonly cpus: readonly CpuShare[];
  /** 0 when waiting does not help. */
  readonly retryAfterMs: number;
  /** Empty for Predict. */
  readonly reservationId: string;
}
