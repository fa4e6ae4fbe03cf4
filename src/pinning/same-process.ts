import { CorecastError } from '../lib/errors.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';

type StartTicks = Pick<HostAddon, 'startTicks'>;

/** False when it is gone, or the pid is another process's by now. */
export function isSame(addon: StartTicks, { pid, startTicks }: ProcessRef): boolean {
  try {
    return addon.startTicks(pid) === startTicks;
  } catch {
    return false;
  }
}

/** Throws PROCESS_GONE when the pid is another process's by now, and what the addon says when there is none. */
export function expectSame(addon: StartTicks, { pid, startTicks }: ProcessRef): void {
  const now = addon.startTicks(pid);
  if (now === startTicks) return;
  throw new CorecastError(
    'PROCESS_GONE',
    `pid ${pid} is now a process that started at tick ${now}; the one that started at tick ${startTicks} has ended`,
    { errno: 'ESRCH' },
  );
}
