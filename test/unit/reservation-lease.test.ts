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
  { step: 'requeue' },
  { step: 'gone' },
  { step: 'continue', cpus: [{ cpu: 3, shareMilli: 300 }] },
  { step: 'assign', cpus: [{ cpu: 2, shareMilli: 1000 }] },
  { step: 'rung', rung: 1 },
  { step: 'release' },
  { step: 'expire' },
];

function inState(state: ReservationState, step?: LeaseStep): Reservation {
  if (state === 'QUEUED' && (step?.step === 'pause' || step?.step === 'gone'))
    return transition(inState('ACTIVE'), { step: 'requeue' }, 1, 'for a test');
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
    ...(state === 'PAUSED' ? { pausedFrom: [{ cpu: 0, shareMilli: 300 }] } : {}),
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
          const after = transition(inState(state, step), step, 42, 'because');
          expect(after).toMatchObject({ state: to, changedMs: 42, reason: 'because' });
          continue;
        }
        try {
          transition(inState(state, step), step, 42, 'because');
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
        const after = transition(inState(state, step), step, 42, 'because');
        expect(after.cpus.length > 0).toBe(['PENDING', 'ACTIVE', 'ORPHANED'].includes(after.state));
        const ends = step.step === 'requeue';
        expect(after.process !== undefined).toBe(
          ends || ['ACTIVE', 'PAUSED', 'ORPHANED'].includes(after.state),
        );
        expect(after.pausedFrom !== undefined).toBe(['PAUSED', 'QUEUED'].includes(after.state));
      }
    }
  });

  it('lets a channel that gave way wait without CPUs, and without its process once that has ended', () => {
    const active = inState('ACTIVE');
    const queued = transition(active, { step: 'requeue' }, 42, 'makes room');
    expect(queued).toMatchObject({
      state: 'QUEUED',
      cpus: [],
      token: 11,
      process: { pid: 5 },
      deadlineMs: 0,
    });
    expect(queued.pausedFrom).toEqual(active.cpus);
    const gone = transition(queued, { step: 'gone' }, 43, 'makes room');
    expect(gone).toMatchObject({ state: 'QUEUED', pausedFrom: active.cpus });
    expect(gone).not.toHaveProperty('process');
    const admitted = transition(gone, STEPS[0]!, 44, 'room');
    expect(admitted).toMatchObject({ state: 'PENDING', cpus: [{ cpu: 1 }], token: 11 });
    expect(admitted).not.toHaveProperty('pausedFrom');
    const paused = transition(queued, { step: 'pause' }, 43, 'its holder is gone');
    expect(paused).toMatchObject({ state: 'PAUSED', pausedFrom: active.cpus, process: { pid: 5 } });
    expect(() => transition(queued, STEPS[0]!, 43, '')).toThrow(/its process has not ended/);
    expect(() => transition(gone, { step: 'pause' }, 44, '')).toThrow(/has no process/);
  });

  it('keeps a PAUSED channel paused when its holder attaches a process', () => {
    const paused = { ...inState('PAUSED'), pausedFrom: [{ cpu: 0, shareMilli: 300 }] };
    const after = transition(paused, STEPS[1]!, 42, 'for a test');
    expect(after).toMatchObject({ state: 'PAUSED', cpus: [], token: 12, process: { pid: 7 } });
    expect(after.pausedFrom).toEqual(paused.pausedFrom);
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
