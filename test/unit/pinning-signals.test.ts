import { describe, expect, it } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { createSignals } from '../../src/pinning/signals.js';

const REF = { pid: 100, startTicks: 7 };

/** A kernel with one pid; `onKill` runs after each signal. */
function kernel(onKill: (signal: string | 0) => void = () => {}) {
  const state = { startTicks: 7, sent: [] as (string | 0)[] };
  const signals = createSignals(
    {
      startTicks: () => {
        if (state.startTicks === 0) throw Object.assign(new Error('ESRCH'), { code: 'ESRCH' });
        return state.startTicks;
      },
    },
    (_, signal) => {
      state.sent.push(signal);
      onKill(signal);
    },
  );
  return { state, signals };
}

function refuse(code: string): never {
  throw Object.assign(new Error(`kill ${code}`), { code, syscall: 'kill' });
}

describe('signals', () => {
  it('go to the process that is named by pid and start time, and to no other that has its pid', () => {
    const { state, signals } = kernel();
    signals.stop(REF);
    signals.resume(REF);
    expect(state.sent).toEqual(['SIGSTOP', 'SIGCONT']);
    state.startTicks = 8;
    for (const send of [signals.stop, signals.resume]) {
      expect(() => send(REF)).toThrow(/process 100, started at tick 7, has ended/);
    }
    expect(signals.mayStop(REF)).toBe(false);
    expect(state.sent).toEqual(['SIGSTOP', 'SIGCONT', 0]);
  });

  it('let a stranger go on that got the pid between the look and the signal', () => {
    const { state, signals } = kernel((signal) => {
      if (signal === 'SIGSTOP') state.startTicks = 8;
    });
    expect(() => signals.stop(REF)).toThrow(/has ended/);
    expect(state.sent).toEqual(['SIGSTOP', 'SIGCONT']);
  });

  it('say why the kernel refuses, and what is missing', () => {
    const { signals } = kernel(() => refuse('EPERM'));
    expect(signals.mayStop(REF)).toBe(false);
    try {
      signals.stop(REF);
      expect.unreachable();
    } catch (error) {
      expect(isCorecastError(error, 'KERNEL') && error.details.errno).toBe('EPERM');
      expect((error as Error).message).toContain('need CAP_KILL');
    }
    const gone = kernel(() => refuse('ESRCH'));
    expect(() => gone.signals.resume(REF)).toThrow(/has ended/);
  });
});
