import type { Adjuster } from './adjuster/adjuster.js';
import type { Decision } from './balancer/decision.js';
import type { Recorder } from './feedback/recorder.js';
import { summaryOf } from './feedback/usage-summary.js';
import type { History } from './history/history.js';
import type { Run } from './history/records.js';
import { seriesOf } from './history/series.js';
import { isCorecastError, messageOf } from './lib/errors.js';
import type { Log } from './lib/log.js';
import type { HostSample, Monitor } from './monitor/sample.js';
import type { Drift } from './pinning/drift.js';
import type { Pinning } from './pinning/pinning.js';
import { milliOf } from './reservation/cpu-shares.js';
import type { ProcessRef, Reservation, ReservationState } from './reservation/reservation.js';
import type { Reservations } from './reservation/reservations.js';
import type { ChannelUsage, ReservationEvent, UsageSummary } from './rpc/control.js';
import type { ProgressFiles } from './rpc/progress-files.js';

export interface ChannelsDeps {
  readonly reservations: Reservations;
  readonly monitor: Monitor;
  readonly recorder: Recorder;
  readonly pinning: Pinning;
  readonly adjuster: Adjuster;
  readonly history: Pick<History, 'append' | 'decision' | 'run'>;
  readonly progressFiles: ProgressFiles;
  readonly log: Log;
  /** Where the history has none; undefined where there is nothing to forecast from. */
  decisionAgain(reservation: Reservation): Promise<Decision | undefined>;
  /** A finished channel, with what it cost. */
  onRun(run: Run): void;
  /** Threads were found outside their reservation; `repaired` of them were brought back. */
  onDrift(reservation: Reservation, drift: Drift, repaired: number): void;
}

/** A process is attached. */
const RUNS: readonly ReservationState[] = ['ACTIVE', 'ORPHANED', 'PAUSED'];
/** None is, or one that is to end because the channel gave way: what it cost is recorded. */
const ENDS: readonly ReservationState[] = ['QUEUED', 'RELEASED', 'EXPIRED'];
/** A channel that is slower, in media seconds a second, falls behind. */
const BEHIND_SPEED = 0.95;
/** Of the CPUs that a channel has for itself. */
const NEARLY_ALL = 0.9;
const HALF = 0.5;
/** What it uses now, against the last seconds: on its way to the end of what it has. */
const LEAP = 1.3;
/** Usage summaries of the latest ended channels, those too short for the history among them. */
const MAX_SUMMARIES = 2_000;

/**
 * The watch part of the loop: from the attach of a process to its end, it is sampled, its threads are kept on their
 * CPUs, what it costs is recorded, and the adjuster looks at it once a tick.
 */
export class Channels {
  readonly #deps: ChannelsDeps;
  /** By reservation: the process that is sampled now. */
  readonly #tracked = new Map<string, ProcessRef>();
  readonly #idByPid = new Map<number, string>();
  readonly #summaries = new Map<string, Promise<UsageSummary | undefined>>();
  readonly #unwatch: (() => void)[];
  /** By reservation: what keeps its threads off their CPUs and cannot be repaired. */
  readonly #stuck = new Map<string, string>();
  #adjusting = false;

  constructor(deps: ChannelsDeps) {
    this.#deps = deps;
    this.#unwatch = [
      deps.reservations.watch((event) => this.#follow(event)),
      deps.monitor.onTick((sample) => this.#tick(sample)),
    ];
  }

  /** Takes up what runs already; call once after the reservations were reconciled. */
  resume(): void {
    for (const reservation of this.#deps.reservations.list(false))
      if (RUNS.includes(reservation.state)) this.#attached(reservation);
    this.#deps.progressFiles.sweep([...this.#tracked.values()]);
  }

  /** Of an ended channel; undefined when nothing ran or the history has forgotten it. Waits for the record being written. */
  async summary(id: string): Promise<UsageSummary | undefined> {
    const known = await this.#summaries.get(id);
    if (known !== undefined) return known;
    const run = await this.#deps.history.run(id);
    return run?.forecast && summaryOf(run, run.samples, run.forecast);
  }

  /** The reservation whose process this is, while it is sampled. */
  idOf(pid: number): string | undefined {
    return this.#idByPid.get(pid);
  }

  async stop(): Promise<void> {
    for (const unwatch of this.#unwatch) unwatch();
    this.#deps.progressFiles.close();
    await Promise.allSettled(this.#summaries.values());
  }

  #follow({ reservation, event }: ReservationEvent): void {
    if (RUNS.includes(reservation.state))
      this.#attached(reservation, event === 'attached' && reservation.selfHeld === true);
    else if (ENDS.includes(reservation.state)) this.#ended(reservation);
  }

  #attached(reservation: Reservation, becomes = false): void {
    const { id, process } = reservation;
    if (process === undefined) return;
    this.#deps.recorder.update(reservation);
    const known = this.#tracked.get(id);
    if (known?.pid === process.pid && known.startTicks === process.startTicks) return;
    try {
      if (known !== undefined) this.#untrack(known);
      this.#deps.monitor.track(process.pid, process.startTicks);
    } catch (error) {
      // Its end is seen by the pidfd; there is nothing to sample.
      this.#deps.log.debug({ id, error: messageOf(error) }, 'a process ended before it was sampled');
      return;
    }
    this.#tracked.set(id, process);
    this.#idByPid.set(process.pid, id);
    if (known !== undefined) return;
    void this.#begin(reservation, becomes);
  }

  async #begin(reservation: Reservation, becomes: boolean): Promise<void> {
    const { id } = reservation;
    try {
      const kept = await this.#deps.history.decision({ reservationId: id });
      const decision = kept ?? (await this.#deps.decisionAgain(reservation));
      if (decision !== undefined)
        this.#deps.recorder.begin(reservation, decision, this.#deps.monitor.window(), becomes);
    } catch (error) {
      this.#deps.log.warn(
        { id, error: messageOf(error) },
        'a channel is not recorded: its decision cannot be read',
      );
    }
  }

  #ended({ id }: Reservation): void {
    const process = this.#tracked.get(id);
    if (process === undefined) return;
    this.#tracked.delete(id);
    this.#readProgress(id, process);
    this.#deps.progressFiles.forget(process);
    this.#untrack(process);
    this.#summaries.set(id, this.#end(id));
    for (const oldest of this.#summaries.keys()) {
      if (this.#summaries.size <= MAX_SUMMARIES) break;
      this.#summaries.delete(oldest);
    }
  }

  #untrack({ pid }: ProcessRef): void {
    this.#idByPid.delete(pid);
    this.#deps.monitor.untrack(pid);
  }

  async #end(id: string): Promise<UsageSummary | undefined> {
    try {
      const ended = await this.#deps.recorder.end(id);
      if (ended === undefined) return undefined;
      if (ended.stored) this.#deps.onRun(ended.run);
      return ended.summary;
    } catch (error) {
      this.#deps.log.warn({ id, error: messageOf(error) }, 'what a channel cost was not recorded');
      return undefined;
    }
  }

  #tick(sample: HostSample): void {
    const { recorder, reservations, history } = this.#deps;
    for (const [id, process] of this.#tracked) this.#readProgress(id, process);
    recorder.onTick(sample);
    history.append(seriesOf(sample, { channels: recorder.readings(), queued: reservations.queued() }));
    for (const [id, process] of this.#tracked) {
      this.#keepOnCpus(id, process);
      if (deviates(recorder.usage(id), this.#ownCores(id))) this.#deps.monitor.attend(process.pid);
    }
    if (this.#adjusting) return;
    this.#adjusting = true;
    this.#deps.adjuster
      .tick()
      .catch((error) => this.#deps.log.error({ err: error }, 'the adjuster failed'))
      .finally(() => {
        this.#adjusting = false;
      });
  }

  /** Of live; those who share may use more than their part, and VOD uses all that it has. */
  #ownCores(id: string): number {
    const { reservations } = this.#deps;
    const { channelClass, cpus } = reservations.get(id) ?? { cpus: [] };
    const shares = reservations.sharedPart(id) !== undefined;
    if (channelClass !== 'live' || cpus.length === 0 || shares) return Number.POSITIVE_INFINITY;
    return milliOf(cpus) / 1000;
  }

  /** Of channels that nobody holds a session for. */
  #readProgress(id: string, process: ProcessRef): void {
    const { reservations, recorder, progressFiles } = this.#deps;
    const reservation = reservations.get(id);
    if (reservation?.selfHeld !== true) return;
    progressFiles.read({ ...process, uid: reservation.uid }, (progress) => recorder.progress(id, progress));
  }

  #keepOnCpus(id: string, process: ProcessRef): void {
    const reservation = this.#deps.reservations.get(id);
    const cpus = this.#deps.reservations.confinedTo(id);
    if (reservation === undefined || cpus.length === 0) return;
    try {
      const { repaired, drift } = this.#deps.pinning.repair(process, cpus);
      // What cannot be repaired is the same every tick: told once.
      const news = drift !== undefined && (repaired > 0 || this.#stuck.get(id) !== drift.text);
      if (repaired > 0 || drift === undefined) this.#stuck.delete(id);
      else this.#stuck.set(id, drift.text);
      if (news) this.#deps.onDrift(reservation, drift, repaired);
    } catch (error) {
      if (isCorecastError(error, 'PROCESS_GONE')) return;
      this.#deps.log.warn(
        { id, pid: process.pid, error: messageOf(error) },
        'threads could not be kept on their CPUs',
      );
    }
  }
}

/** Behind real time, or above what was forecast of it or near the end of what it has, over the last seconds or now. */
function deviates(usage: ChannelUsage | undefined, ownCores: number): boolean {
  if (usage === undefined) return false;
  const { speed = 1, usageCores, forecastQ90Cores, now } = usage;
  const nowCores = now?.usageCores ?? 0;
  const most = Math.max(usageCores, nowCores);
  const leaps = nowCores > usageCores * LEAP && nowCores > ownCores * HALF;
  return speed < BEHIND_SPEED || leaps || most > Math.min(forecastQ90Cores, ownCores * NEARLY_ALL);
}
