import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import {
  hasEnded,
  type LeaseStep,
  requireToken,
  TRANSITIONS,
  transition,
} from '../../src/reservation/lease.js';
import {
  RESERVATION_STATES,
  type Reservation,
  type ReservationState,
} from '../../src/reservation/reservation.js';

const STEPS: readonly LeaseStep[] = [
  { step: 'admit', cpus: [{ cpu: 1, shareMilli: 500 }], deadlineMs: 900, decisionId: 'd2' },
  { step: 'attach', process: { pid: 7, startTicks: 70 }, token: 12 },
  { step: 'orphan', deadlineMs: 800 },
  { step: 'resume', token: 13 },
  { step: 'restart', deadlineMs: 700 },
  { step: 'pause' },
  { step: 'continue', cpus: [{ cpu: 3, shareMilli: 300 }] },
  { step: 'assign', cpus: [{ cpu: 2, shareMilli: 1000 }] },
  { step: 'rung', rung: 1 },
  { step: 'release' },
  { step: 'expire' },
];

function inState(state: ReservationState): Reservation {
  const holds = state === 'PENDING' || state === 'ACTIVE' || state === 'ORPHANED';
  return {
    id: 'r1',
    state,
    token: 11,
    name: 'news',
    channelClass: 'live',
    priority: 50,
    exclusive: false,
    cpus: holds ? [{ cpu: 0, shareMilli: 300 }] : [],
    ...(['ACTIVE', 'PAUSED', 'ORPHANED'].includes(state) ? { process: { pid: 5, startTicks: 50 } } : {}),
    createdMs: 1,
    changedMs: 1,
    deadlineMs: 5,
    decisionId: 'd1',
    rung: 0,
    ladderRungs: 2,
    uid: 1000,
    reason: 'for a test',
  };
}

describe('the lease state machine', () => {
  it('has no way out of the two ends', () => {
    expect(TRANSITIONS.RELEASED).toEqual({});
    expect(TRANSITIONS.EXPIRED).toEqual({});
    expect(RESERVATION_STATES.filter(hasEnded)).toEqual(['RELEASED', 'EXPIRED']);
  });

  it('takes exactly the steps of its table and names state and step when it refuses', () => {
    for (const state of RESERVATION_STATES) {
      for (const step of STEPS) {
        const to = TRANSITIONS[state][step.step];
        if (to !== undefined) {
          const after = transition(inState(state), step, 42, 'because');
          expect(after).toMatchObject({ state: to, changedMs: 42, reason: 'because' });
          continue;
        }
        try {
          transition(inState(state), step, 42, 'because');
          expect.unreachable(`${step.step} in ${state}`);
        } catch (error) {
          expect(isCorecastError(error, 'WRONG_STATE')).toBe(true);
          expect((error as Error).message).toContain(`is ${state}`);
          expect((error as Error).message).toContain(step.step);
        }
      }
    }
  });

  it('owns CPUs and a process only in the states that do', () => {
    for (const state of RESERVATION_STATES) {
      for (const step of STEPS) {
        if (TRANSITIONS[state][step.step] === undefined) continue;
        const after = transition(inState(state), step, 42, 'because');
        expect(after.cpus.length > 0).toBe(['PENDING', 'ACTIVE', 'ORPHANED'].includes(after.state));
        expect(after.process !== undefined).toBe(['ACTIVE', 'PAUSED', 'ORPHANED'].includes(after.state));
        expect(after.pausedFrom !== undefined).toBe(after.state === 'PAUSED');
      }
    }
  });

  it('gives each new holder a token above the old one', () => {
    expect(transition(inState('PENDING'), STEPS[1]!, 42, '').token).toBe(12);
    expect(transition(inState('ORPHANED'), STEPS[3]!, 42, '').token).toBe(13);
    const same: LeaseStep = { step: 'resume', token: 11 };
    expect(() => transition(inState('ORPHANED'), same, 42, '')).toThrow(/not above 11/);
  });

  it('refuses every token but the one in force', () => {
    requireToken(inState('ACTIVE'), 11);
    for (const token of [10, 12, 0, Number.NaN]) {
      expect(() => requireToken(inState('ACTIVE'), token)).toThrow(/is not the one in force/);
    }
  });
});
