import type { Decision } from '../balancer/decision.js';
import { type ChannelState, type Forecast, type HostState, STEP_S } from '../forecast/forecast.js';
import type { History } from '../history/history.js';
import type { Run } from '../history/records.js';
import type { ChannelReading } from '../history/series.js';
import type { Clock } from '../lib/clock.js';
import type { HostSample } from '../monitor/sample.js';
import type { ProcessRef, Reservation } from '../reservation/reservation.js';
import type { ChannelUsage, Progress, UsageSummary } from '../rpc/control.js';
import { ChannelRecord, type HorizonObserved } from './channel-record.js';

export type { HorizonObserved } from './channel-record.js';

export interface RecorderOptions {
  readonly history: Pick<History, 'putRun'>;
  readonly clock: Clock;
  readonly schedulableCpus: () => number;
  /** Seconds since the process began. */
  readonly processAgeS: (process: ProcessRef) => number;
  /** CPU seconds of the process so far. */
  readonly processCpuSeconds: (process: ProcessRef) => number;
  /** Once for each horizon of a channel, when it is over (or at the channel's end, if at least half of it was seen). */
  readonly onHorizonObserved?: (observed: HorizonObserved) => void;
}

/**
 * Collects what happens to each running channel beside what was forecast for it, in steps of STEP_S seconds, and leaves it
 * to the history as a Run, the unit that models learn from.
 *
 * Demand is CPU seconds per media second where progress tells the media time, else per wall second. A run keeps its first
 * 720 steps (an hour), and only those in which the channel ran as it was forecast: after a change of rung or of the number
 * of CPUs its samples would speak of something else. A channel that was running before the daemon (adopted) and one that
 * ends within two seconds are summarised, not stored: their beginning, or anything steady, was not seen.
 */
export interface Recorder {
  /**
   * `hostBefore`: the monitor's window. Begun twice, the first stands. `becomes`: the process is about to become the
   * encoder (light mode); what it was and used until now is not the channel's.
   */
  begin(
    reservation: Reservation,
    decision: Decision,
    hostBefore: readonly HostState[],
    becomes?: boolean,
  ): void;
  /** After every change of the reservation: its CPUs, process or rung. */
  update(reservation: Reservation): void;
  /** A newer forecast of a running channel: usage() compares with it. */
  reforecast(id: string, forecast: Forecast): void;
  progress(id: string, progress: Progress): void;
  onTick(sample: HostSample): void;
  /** undefined for a channel that was not begun. */
  usage(id: string): ChannelUsage | undefined;
  /** Its last steps, oldest first; `cores` are CPU seconds per wall second. */
  channelWindow(id: string): readonly ChannelState[];
  /** For the history's series. */
  readings(): readonly ChannelReading[];
  /**
   * Ends the record. `finalCpuSeconds`: user and system of the process as its exit said, where the caller knows; otherwise
   * what it used after the last tick is estimated from the tick before. Rejects with STORE_FAILED when the run could
   * not be written. undefined for a channel that was not begun.
   */
  end(
    id: string,
    finalCpuSeconds?: number,
  ): Promise<{ run: Run; summary: UsageSummary; stored: boolean } | undefined>;
}

export function createRecorder(options: RecorderOptions): Recorder {
  const { history, clock, onHorizonObserved = () => {} } = options;
  const channels = new Map<string, ChannelRecord>();
  return {
    begin(reservation, decision, hostBefore, becomes = false) {
      if (channels.has(reservation.id) || reservation.process === undefined) return;
      const { process } = reservation;
      const ageS = becomes ? 0 : Math.max(0, options.processAgeS(process));
      const record = new ChannelRecord(reservation, decision, {
        startMs: clock.monotonicMs() - ageS * 1000,
        startedMs: Math.round(clock.nowMs() - ageS * 1000),
        ageS,
        seenFromStart: ageS <= STEP_S,
        cpuSecondsBefore: becomes ? options.processCpuSeconds(process) : 0,
        hostBefore,
        schedulableCpus: options.schedulableCpus(),
        onHorizonObserved,
      });
      channels.set(reservation.id, record);
    },
    update: (reservation) => channels.get(reservation.id)?.update(reservation),
    reforecast: (id, forecast) => channels.get(id)?.reforecast(forecast, clock.monotonicMs()),
    progress: (id, progress) => channels.get(id)?.progress(progress, clock.monotonicMs()),
    onTick(sample) {
      for (const record of channels.values()) record.tick(sample);
    },
    usage: (id) => channels.get(id)?.usage(clock.monotonicMs()),
    channelWindow: (id) => channels.get(id)?.window() ?? [],
    readings: () => [...channels].flatMap(([id, record]) => reading(id, record, clock.monotonicMs())),
    async end(id, finalCpuSeconds) {
      const record = channels.get(id);
      if (record === undefined) return undefined;
      channels.delete(id);
      const { run, summary, worthKeeping } = record.end(clock.monotonicMs(), finalCpuSeconds);
      if (worthKeeping) await history.putRun(run);
      return { run, summary, stored: worthKeeping };
    },
  };
}

function reading(id: string, record: ChannelRecord, nowMs: number): ChannelReading[] {
  const { pid, lagSeconds, lastProgress: encoder } = record;
  if (pid === undefined) return [];
  const speed = record.speed(nowMs);
  return [
    {
      id,
      pid,
      ...(speed === undefined ? {} : { speed }),
      ...(lagSeconds === undefined ? {} : { lagSeconds }),
      ...(encoder === undefined ? {} : { encoder }),
    },
  ];
}
