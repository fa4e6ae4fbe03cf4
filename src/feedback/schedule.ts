import { hoursOf } from '../config/hours.js';
import type { TrainingConfig } from '../config/schema.js';

/** What the host does now, as far as a training minds. */
export interface HostGlance {
  /** Why no channel is admitted; empty while they are. */
  readonly admissionClosed: string;
  /** Busy share 0-1 of the schedulable CPUs, a training's own work not counted; undefined before the first tick. */
  readonly busy: number | undefined;
  /** Requests that wait for room. */
  readonly queued: number;
  /** Channels that are reserved and not yet running. */
  readonly starting: number;
}

export interface ScheduleFacts {
  readonly nowMs: number;
  /** 0-23, the host's own. */
  readonly hour: number;
  readonly config: TrainingConfig;
  readonly host: HostGlance;
  /** When a training by schedule last came to its end, well or not; undefined for never. */
  readonly endedMs: number | undefined;
  /** When one was last stopped before its end; undefined for never. */
  readonly stoppedMs: number | undefined;
  /** Runs that the history has got since the last training. */
  readonly newRuns: number;
  /** Why none may be begun whatever the host does: one is under way, a candidate is in shadow. Empty: nothing. */
  readonly occupied: string;
}

export type TrainingTurn =
  | { readonly turn: 'train' }
  /** Due, and no room for it: worth a record. */
  | { readonly turn: 'skip'; readonly code: string; readonly reason: string }
  | { readonly turn: 'wait'; readonly reason: string };

/** A training that was stopped for a channel is tried again after this long, and goes on from its checkpoint. */
export const RETRY_MS = 600_000;

/** Whether a training is begun now. Pure. */
export function trainingTurn(facts: ScheduleFacts): TrainingTurn {
  const { config, nowMs, hour, host, endedMs, stoppedMs, newRuns, occupied } = facts;
  const wait = (reason: string): TrainingTurn => ({ turn: 'wait', reason });
  if (!config.schedule) return wait('training.schedule is off');
  if (occupied !== '') return wait(occupied);
  if (endedMs !== undefined && nowMs - endedMs < config.interval_ms)
    return wait(`the last training ended ${minutes(nowMs - endedMs)} ago`);
  if (stoppedMs !== undefined && nowMs - stoppedMs < Math.min(RETRY_MS, config.interval_ms))
    return wait(`the last training was stopped ${minutes(nowMs - stoppedMs)} ago`);
  // What was begun on enough runs is also ended.
  if (newRuns < config.min_new_runs && stoppedMs === undefined)
    return wait(`${newRuns} of ${config.min_new_runs} new runs`);
  if (!hoursOf(config.hours)?.includes(hour)) return wait(`hour ${hour} is not one of ${config.hours}`);
  const skip = (code: string, reason: string): TrainingTurn => ({ turn: 'skip', code, reason });
  if (host.busy === undefined) return wait('the monitor has no sample yet');
  if (host.starting > 0) return skip('starting', `skipped: ${host.starting} channels are starting`);
  const tight = tightness(host, config);
  return tight === undefined ? { turn: 'train' } : skip(tight.code, `skipped: ${tight.reason}`);
}

/** Why a training must stop at once: channels need the host. Undefined: they do not. */
export function tightness(
  { admissionClosed, busy, queued }: HostGlance,
  { host_load }: Pick<TrainingConfig, 'host_load'>,
): { readonly code: string; readonly reason: string } | undefined {
  if (admissionClosed !== '')
    return { code: 'closed', reason: `admission is closed: ${admissionClosed.slice(0, 300)}` };
  if (queued > 0) return { code: 'queue', reason: `${queued} requests wait for room` };
  if (busy !== undefined && busy > host_load)
    return {
      code: 'busy',
      reason: `the host is ${(busy * 100).toFixed(0)} % busy; training.host_load is ${(host_load * 100).toFixed(0)} %`,
    };
  return undefined;
}

function minutes(ms: number): string {
  return `${Math.round(ms / 60_000)} min`;
}
