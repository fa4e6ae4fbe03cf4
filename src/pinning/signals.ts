import { CorecastError, messageOf } from '../lib/errors.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';

/**
 * Stops processes and lets them go on. SIGSTOP halts every thread of the process at once, those it makes meanwhile
 * included, and cannot be caught. The daemon needs to be root, the process's own user, or to have CAP_KILL.
 */
export interface ProcessSignals {
  /** Whether the kernel lets this daemon stop the process; false when it is gone, too. */
  mayStop(process: ProcessRef): boolean;
  /** Stopping what is stopped changes nothing. Throws PROCESS_GONE, or KERNEL with errno. */
  stop(process: ProcessRef): void;
  /** Letting go on what runs changes nothing. Throws as stop() does. */
  resume(process: ProcessRef): void;
}

export function createSignals(
  addon: Pick<HostAddon, 'startTicks'>,
  kill: (pid: number, signal: NodeJS.Signals | 0) => void = (pid, signal) => process.kill(pid, signal),
): ProcessSignals {
  const same = ({ pid, startTicks }: ProcessRef) => {
    try {
      return addon.startTicks(pid) === startTicks;
    } catch {
      return false;
    }
  };
  const send = (ref: ProcessRef, signal: 'SIGSTOP' | 'SIGCONT') => {
    if (!same(ref)) throw gone(ref);
    try {
      kill(ref.pid, signal);
    } catch (error) {
      throw refused(error, ref, signal);
    }
  };
  return {
    mayStop(ref) {
      try {
        kill(ref.pid, 0);
        return same(ref);
      } catch {
        return false;
      }
    },
    stop(ref) {
      send(ref, 'SIGSTOP');
      if (same(ref)) return;
      // It ended between the look and the signal, and another process has its pid and was stopped in its place.
      try {
        kill(ref.pid, 'SIGCONT');
      } catch {
        // Gone as well: there is nobody to let go on.
      }
      throw gone(ref);
    },
    resume: (ref) => send(ref, 'SIGCONT'),
  };
}

function gone({ pid, startTicks }: ProcessRef): CorecastError {
  return new CorecastError('PROCESS_GONE', `process ${pid}, started at tick ${startTicks}, has ended`, {
    errno: 'ESRCH',
  });
}

function refused(error: unknown, ref: ProcessRef, signal: string): CorecastError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ESRCH') return gone(ref);
  const hint = code === 'EPERM' ? '; processes of other users need CAP_KILL' : '';
  return new CorecastError(
    'KERNEL',
    `cannot send ${signal} to process ${ref.pid}: ${messageOf(error)}${hint}`,
    { ...(code === undefined ? {} : { errno: code }), cause: error },
  );
}
