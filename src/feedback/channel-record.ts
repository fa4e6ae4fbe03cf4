import type { Decision } from '../balancer/decision.js';
import {
  type ChannelState,
  type Forecast,
  HORIZONS,
  type HostState,
  STEP_S,
  WINDOW_STEPS,
} from '../forecast/forecast.js';
import type { Signature } from '../forecast/signature.js';
import type { Run, RunSample } from '../history/records.js';
import type { HostSample } from '../monitor/sample.js';
import type { CpuShare, Reservation } from '../reservation/reservation.js';
import type { ChannelUsage, Progress, RecentUse } from '../rpc/control.js';
import { ChannelStep, round } from './channel-step.js';
import { coreUsage } from './core-usage.js';
import { MediaClock } from './media-clock.js';
import { demandsWithin, mean, summaryOf, type Totals } from './usage-summary.js';

/** Steps of a run that are kept: one hour. */
export const MAX_SAMPLES = 720;
const RECENT_S = 5;
/** What is going on now: long enough that one large frame is not all there is to see. */
const NOW_S = 0.7;
/** A tick that ends earlier than this after the start is no part of the first step. */
const LOADING_S = 1.2;
/** CPU seconds after the last tick are estimated for no longer than this. */
const MAX_GAP_S = 2;
/** A last step that is shorter than this says more about its edges than about the channel. */
const LEAST_STEP_S = 2;

export interface HorizonObserved {
  /** The reservation. */
  readonly id: string;
  /** What was transcoded: the same over restarts, where the channel has a name. */
  readonly source: string;
  readonly signature: Signature;
  readonly forecast: Forecast;
  /** Index into HORIZONS. */
  readonly horizon: number;
  /** Mean demand over the horizon's steps. */
  readonly demandCores: number;
}

export interface RecordContext {
  readonly startMs: number;
  readonly startedMs: number;
  /** Of the process when the record began. */
  readonly ageS: number;
  /** False for a channel that ran before the daemon did: how it began is not known. */
  readonly seenFromStart: boolean;
  /** What its first process had used before it became the channel's encoder. */
  readonly cpuSecondsBefore: number;
  readonly hostBefore: readonly HostState[];
  readonly schedulableCpus: number;
  readonly onHorizonObserved: (observed: HorizonObserved) => void;
}

/** What one channel does, from its first tick to its end. */
export class ChannelRecord {
  readonly #decision: Decision;
  readonly #context: RecordContext;
  readonly #first: Reservation;
  readonly #media = new MediaClock();
  readonly #samples: RunSample[] = [];
  readonly #window: ChannelState[] = [];
  #reservation: Reservation;
  #forecast: { value: Forecast; sinceMs: number };
  #step = new ChannelStep();
  #stepStartMs: number;
  #recent: RecentTick[] = [];
  #droppedPackets = 0;
  #process: { pid: number; cpuSeconds: number | undefined } | undefined;
  #cpuSeconds = 0;
  #lastTickMs: number;
  #progress: Progress | undefined;
  /** Set once the samples no longer speak of the signature on the CPUs it was forecast for. */
  #frozen: Totals | undefined;
  #observed = 0;

  constructor(reservation: Reservation, decision: Decision, context: RecordContext) {
    this.#first = reservation;
    this.#reservation = reservation;
    this.#decision = decision;
    this.#context = context;
    this.#forecast = { value: decision.forecast, sinceMs: context.startMs };
    this.#stepStartMs = context.startMs + Math.floor(context.ageS / STEP_S) * STEP_S * 1000;
    this.#lastTickMs = context.startMs;
    this.#attach(reservation, context.cpuSecondsBefore);
    // What a process used before it was adopted belongs to its totals, not to its first step.
    if (!context.seenFromStart && this.#process !== undefined) this.#process.cpuSeconds = undefined;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The reservation changed: other CPUs, another process, another rung. */
  update(reservation: Reservation): void {
    const sameWork = reservation.rung === this.#first.rung && this.#hasItsCpus(reservation);
    if (!sameWork && (reservation.cpus.length > 0 || reservation.state === 'PAUSED'))
      this.#frozen ??= this.#totals(this.#lastTickMs, undefined);
    if (reservation.process !== undefined && reservation.process.pid !== this.#process?.pid)
      this.#attach(reservation, 0);
    if (reservation.cpus.length > 0) this.#reservation = reservation;
  }

  /** A live channel that shares its CPUs may move among more or fewer of them: it has the threads that it was forecast with. */
  #hasItsCpus({ cpus }: Reservation): boolean {
    const { cpus: first } = this.#first;
    return first.length === this.#cpuCount ? cpus.length === first.length : cpus.length >= this.#cpuCount;
  }

  /** The CPUs that the forecast assumed. */
  get #cpuCount(): number {
    const { channelClass, exclusive, cpus } = this.#first;
    return channelClass === 'live' && !exclusive
      ? Math.min(cpus.length, this.#decision.forecast.cpuCount)
      : cpus.length;
  }

  reforecast(forecast: Forecast, nowMs: number): void {
    this.#forecast = { value: forecast, sinceMs: nowMs };
  }

  progress(progress: Progress, nowMs: number): void {
    this.#progress = progress;
    this.#media.add(nowMs, progress.outTimeUs / 1e6);
  }

  tick(sample: HostSample): void {
    const process = this.#process && sample.processes.get(this.#process.pid);
    if (process === undefined) return;
    const before = this.#process!.cpuSeconds;
    const cpuSeconds = before === undefined ? 0 : Math.max(0, process.cpuSeconds - before);
    this.#process!.cpuSeconds = process.cpuSeconds;
    this.#cpuSeconds += before === undefined ? process.cpuSeconds : cpuSeconds;
    // The process may have begun within the tick.
    const ranS = Math.min(sample.elapsedS, (sample.monotonicMs - this.#lastTickMs) / 1000);
    this.#lastTickMs = sample.monotonicMs;
    const lostPackets = Math.max(0, process.sockets.dropped - this.#droppedPackets);
    this.#droppedPackets = process.sockets.dropped;
    const { waitCores } = process;
    this.#recent.push({ ms: sample.monotonicMs, elapsedS: ranS, cpuSeconds, waitCores, lostPackets });
    while (sample.monotonicMs - this.#recent[0]!.ms >= RECENT_S * 1000) this.#recent.shift();
    const elapsedS = (sample.monotonicMs - this.#context.startMs) / 1000;
    // Loading FFmpeg and opening its encoders costs a small channel as much as seconds of media: it counts in the totals.
    if (elapsedS > LOADING_S) this.#step.add(process, cpuSeconds, ranS, sample.state);
    const step = Math.round(elapsedS / STEP_S);
    // The tick nearest to the boundary ends the step.
    if (step * STEP_S > this.#lastStepS && Math.abs(elapsedS - step * STEP_S) <= sample.elapsedS / 2)
      this.#endStep(step * STEP_S, sample.monotonicMs);
    else if (elapsedS - this.#lastStepS > 1.5 * STEP_S) this.#endStep(elapsedS, sample.monotonicMs);
  }

  usage(nowMs: number): ChannelUsage {
    const seconds = this.#recent.reduce((sum, { elapsedS }) => sum + elapsedS, 0);
    const cpuSeconds = this.#recent.reduce((sum, tick) => sum + tick.cpuSeconds, 0);
    const speed = this.speed(nowMs);
    const now = recentUse(this.#recent);
    return {
      usageCores: seconds > 0 ? cpuSeconds / seconds : 0,
      forecastQ90Cores: this.#forecastQ90(nowMs),
      ...(now === undefined ? {} : { now }),
      ...(speed === undefined ? {} : { speed }),
      ...(this.#progress === undefined ? {} : { lagSeconds: this.#progress.lagSeconds }),
    };
  }

  /** Over the last seconds where progress tells, else what the holder said: FFmpeg's own is the mean since its start. */
  speed(nowMs: number): number | undefined {
    return this.#media.speed(nowMs - RECENT_S * 1000, nowMs) ?? this.#progress?.speed;
  }

  get lagSeconds(): number | undefined {
    return this.#progress?.lagSeconds;
  }

  /** The last word of its encoder. */
  get lastProgress(): Progress | undefined {
    return this.#progress;
  }

  window(): readonly ChannelState[] {
    return [...this.#window];
  }

  /** `finalCpuSeconds`: of the last process, as its exit said; without it the time since the last tick is estimated. */
  end(
    nowMs: number,
    finalCpuSeconds?: number,
  ): { run: Run; summary: ReturnType<typeof summaryOf>; worthKeeping: boolean } {
    const totals = this.#totals(nowMs, finalCpuSeconds);
    if (this.#step.seconds >= LEAST_STEP_S) this.#endStep((nowMs - this.#context.startMs) / 1000, nowMs);
    for (const [horizon, { fromS, toS }] of HORIZONS.entries())
      if (horizon >= this.#observed && totals.wallSeconds >= (fromS + toS) / 2) this.#observe(horizon);
    const { hostBefore, startedMs, schedulableCpus, seenFromStart } = this.#context;
    const runTotals = this.#frozen ?? totals;
    const run: Run = {
      id: this.#first.id,
      origin: this.#first.channelClass,
      startedMs,
      signature: this.#decision.signature,
      cpuCount: this.#cpuCount,
      schedulableCpus,
      hostBefore,
      samples: this.#samples,
      forecast: this.#decision.forecast,
      ...runTotals,
      source: this.#source,
    };
    const worthKeeping = seenFromStart && runTotals.wallSeconds >= LEAST_STEP_S && this.#samples.length > 0;
    return { run, summary: summaryOf(totals, this.#samples, this.#decision.forecast), worthKeeping };
  }

  get #source(): string {
    return this.#first.name === '' ? this.#first.id : this.#first.name;
  }

  get #lastStepS(): number {
    return (this.#stepStartMs - this.#context.startMs) / 1000;
  }

  #attach({ process }: Reservation, cpuSeconds: number): void {
    this.#process = process === undefined ? undefined : { pid: process.pid, cpuSeconds };
    this.#droppedPackets = 0;
  }

  #endStep(atS: number, endMs: number): void {
    const step = this.#step;
    const fromMs = this.#stepStartMs;
    this.#step = new ChannelStep();
    this.#stepStartMs = this.#context.startMs + atS * 1000;
    if (step.seconds === 0) return;
    const speed = this.#media.speed(fromMs, endMs);
    const known = speed !== undefined && speed > 0;
    const ingressBps = step.ingressBps ?? this.#decision.signature.input.bitrateBps * (speed ?? 1);
    this.#window.push({
      cores: round(step.cores),
      ingressBps: Math.round(ingressBps),
      speed: round(speed ?? 1),
    });
    if (this.#window.length > WINDOW_STEPS) this.#window.shift();
    if (this.#frozen !== undefined || this.#samples.length >= MAX_SAMPLES) return;
    const held = busiest(this.#reservation.cpus, step.coresByCpu, this.#cpuCount);
    const { host } = step;
    this.#samples.push({
      atS: round(atS),
      demandCores: round(known ? step.cores / speed : step.cores),
      coreUsage: coreUsage(step.cores, step.coresByCpu, held).map(round),
      hostLoad: host.busy,
      ingressBps: Math.round(ingressBps),
      speed: round(speed ?? 1),
      host,
    });
    const horizon = HORIZONS[this.#observed];
    if (horizon !== undefined && atS >= horizon.toS) this.#observe(this.#observed);
  }

  /** Each horizon once, when it is over; at the end of the channel also one of which at least half was seen. */
  #observe(horizon: number): void {
    this.#observed = horizon + 1;
    const { fromS, toS } = HORIZONS[horizon]!;
    const demands = demandsWithin(this.#samples, fromS, toS);
    if (demands.length === 0 || !this.#context.seenFromStart || this.#frozen !== undefined) return;
    const { signature, forecast } = this.#decision;
    const { id } = this.#first;
    const source = this.#source;
    this.#context.onHorizonObserved({ id, source, signature, forecast, horizon, demandCores: mean(demands) });
  }

  #totals(nowMs: number, finalCpuSeconds: number | undefined): Totals {
    const gapS = Math.min(MAX_GAP_S, Math.max(0, (nowMs - this.#lastTickMs) / 1000));
    const last = this.#recent.at(-1);
    const rate = last === undefined || last.elapsedS === 0 ? 0 : last.cpuSeconds / last.elapsedS;
    const seen = this.#process?.cpuSeconds ?? 0;
    const rest = finalCpuSeconds === undefined ? rate * gapS : Math.max(0, finalCpuSeconds - seen);
    return {
      cpuSeconds: round(this.#cpuSeconds + rest),
      wallSeconds: round(Math.max(0, (nowMs - this.#context.startMs) / 1000)),
      mediaSeconds: round(this.#media.totalS),
    };
  }

  #forecastQ90(nowMs: number): number {
    const { value, sinceMs } = this.#forecast;
    const elapsedS = (nowMs - sinceMs) / 1000;
    const present = value.horizons.find(({ toS }) => elapsedS < toS) ?? value.horizons.at(-1);
    return present?.demand.q90 ?? 0;
  }
}

interface RecentTick {
  readonly ms: number;
  readonly elapsedS: number;
  readonly cpuSeconds: number;
  readonly waitCores: number;
  readonly lostPackets: number;
}

/** Over the newest ticks that make NOW_S together. */
function recentUse(ticks: readonly RecentTick[]): RecentUse | undefined {
  let [seconds, cpuSeconds, waited, lostPackets] = [0, 0, 0, 0];
  for (let i = ticks.length - 1; i >= 0 && seconds < NOW_S; i--) {
    const tick = ticks[i]!;
    seconds += tick.elapsedS;
    cpuSeconds += tick.cpuSeconds;
    waited += tick.waitCores * tick.elapsedS;
    lostPackets += tick.lostPackets;
  }
  if (seconds < NOW_S) return undefined;
  return { usageCores: cpuSeconds / seconds, waitCores: waited / seconds, lostPackets };
}

/** Of CPUs that are shared those that the channel uses most, as many as it was forecast for. */
function busiest(
  cpus: readonly CpuShare[],
  coresByCpu: ReadonlyMap<number, number>,
  count: number,
): readonly number[] {
  const held = cpus.map(({ cpu }) => cpu);
  if (held.length <= count) return held;
  const usage = (cpu: number) => coresByCpu.get(cpu) ?? 0;
  return held.sort((a, b) => usage(b) - usage(a)).slice(0, count);
}
