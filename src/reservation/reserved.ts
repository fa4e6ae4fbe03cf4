import type { Verdict } from '../balancer/decide.js';
import type { Decision } from '../balancer/decision.js';
import type { Peer, ReserveCall } from '../rpc/control.js';
import type { Mutation } from './ledger.js';
import type { LedgerRecord, Shared } from './ledger-format.js';
import type { CpuShare, Reservation, ReservationState } from './reservation.js';

export interface Reserved {
  readonly reservation: Reservation;
  readonly decision: Decision;
}

/** Names the first answer that an accepted call leaves. */
export interface AnswerName {
  readonly key: string;
  readonly fingerprint: string;
}

export function newRecord(
  call: ReserveCall,
  peer: Peer,
  its: {
    id: string;
    state: ReservationState;
    token: number;
    cpus: readonly CpuShare[];
    nowMs: number;
    endsInMs: number;
    startTimeoutMs: number;
    decisionId: string;
    reason: string;
    shared?: Shared | undefined;
  },
): LedgerRecord {
  const { signature, channelClass, priority, exclusive, cpuCount } = call;
  return {
    reservation: {
      id: its.id,
      state: its.state,
      token: its.token,
      name: call.name,
      channelClass,
      priority,
      exclusive,
      cpus: its.cpus,
      createdMs: its.nowMs,
      changedMs: its.nowMs,
      deadlineMs: its.nowMs + its.endsInMs,
      decisionId: its.decisionId,
      rung: 0,
      ladderRungs: call.ladderRungs,
      uid: peer.uid,
      reason: its.reason,
    },
    startTimeoutMs: its.startTimeoutMs,
    request: { signature, channelClass, priority, exclusive, cpuCount },
    sharesGuessed: false,
    restarting: false,
    ...(its.shared === undefined ? {} : { shared: its.shared }),
  };
}

/** Undefined for a channel that was reserved for by itself. */
export function sharedOf({ demand, forecast }: Verdict): Shared | undefined {
  return demand && { demand, cpus: forecast.cpuCount };
}

/** How others' reasons and events name a channel. */
export function titleOf({
  id,
  request: { name, channelClass },
}: {
  id: string;
  request: ReserveCall;
}): string {
  return `${channelClass} channel ${id}${name === '' ? '' : ` (${name})`}`;
}

/** The history keeps the whole decision; the ledger what a retry needs if the history has lost it. */
export function acceptedAnswer(
  { key, fingerprint }: AnswerName,
  reservation: Reservation,
  decision: Decision,
): Mutation['answer'] {
  const atMs = reservation.changedMs;
  return { key, answer: { fingerprint, atMs, reservation, decision: { ...decision, candidates: [] } } };
}
