import type { Decision as DomainDecision } from '../balancer/decision.js';
import type { Forecast as DomainForecast } from '../forecast/forecast.js';
import type { VideoOutput as DomainOutput, Signature as DomainSignature } from '../forecast/signature.js';
import type { Run as DomainRun } from '../history/records.js';
import { formatCpuset } from '../lib/cpuset.js';
import type { GpuUse } from '../lib/native.js';
import type { HostDetail, ThreadSample } from '../monitor/sample.js';
import type { PinResult } from '../pinning/pinning.js';
import type { Reservation as DomainReservation, ReservationState } from '../reservation/reservation.js';
import type * as control from './control.js';
import type { Cpu } from './generated/corecast/v1/Cpu.js';
import type { Decision } from './generated/corecast/v1/Decision.js';
import type { Directive } from './generated/corecast/v1/Directive.js';
import type { Forecast } from './generated/corecast/v1/Forecast.js';
import type { GetHostResponse } from './generated/corecast/v1/GetHostResponse.js';
import type { Gpu } from './generated/corecast/v1/Gpu.js';
import type { HostLoad } from './generated/corecast/v1/HostLoad.js';
import type { Reservation } from './generated/corecast/v1/Reservation.js';
import type { Run } from './generated/corecast/v1/Run.js';
import type { Signature } from './generated/corecast/v1/Signature.js';
import type { ThreadMask } from './generated/corecast/v1/ThreadMask.js';
import type { ThreadUse } from './generated/corecast/v1/ThreadUse.js';
import type { UsageSummary } from './generated/corecast/v1/UsageSummary.js';
import type { VideoOutput } from './generated/corecast/v1/VideoOutput.js';

/* From the domain's types to corecast.v1's messages. Nothing is decided here. */

const SOURCE = {
  lstm: 'FORECAST_SOURCE_LSTM',
  nearest: 'FORECAST_SOURCE_NEAREST',
  cost_table: 'FORECAST_SOURCE_COST_TABLE',
} as const;

const STATE = {
  QUEUED: 'RESERVATION_STATE_QUEUED',
  PENDING: 'RESERVATION_STATE_PENDING',
  ACTIVE: 'RESERVATION_STATE_ACTIVE',
  PAUSED: 'RESERVATION_STATE_PAUSED',
  ORPHANED: 'RESERVATION_STATE_ORPHANED',
  RELEASED: 'RESERVATION_STATE_RELEASED',
  EXPIRED: 'RESERVATION_STATE_EXPIRED',
} as const satisfies Record<ReservationState, string>;

export function toSignature(signature: DomainSignature): Signature {
  return {
    input: signature.input,
    outputs: signature.outputs.map(toOutput),
    complexity: signature.complexity,
    content: signature.content ?? '',
  };
}

function toOutput({ rate, ...output }: DomainOutput): VideoOutput {
  return { ...output, ...rate };
}

export function toForecast(forecast: DomainForecast): Forecast {
  return {
    source: SOURCE[forecast.source],
    modelId: forecast.modelId,
    cpuCount: forecast.cpuCount,
    horizons: forecast.horizons.map((horizon) => ({
      fromSeconds: horizon.fromS,
      toSeconds: horizon.toS,
      demandCores: horizon.demand,
      coreUsage: [...horizon.coreUsage],
      hostLoad: horizon.hostLoad,
    })),
    notes: [...forecast.notes],
  };
}

export function toDecision(decision: DomainDecision): Decision {
  return {
    id: decision.id,
    atMs: decision.atMs,
    outcome: `OUTCOME_${decision.outcome}`,
    reasons: [...decision.reasons],
    signature: toSignature(decision.signature),
    forecast: toForecast(decision.forecast),
    cpus: [...decision.cpus],
    retryAfterMs: Math.max(0, Math.ceil(decision.retryAfterMs)),
    reservationId: decision.reservationId,
    candidates: decision.candidates.map(toForecast),
  };
}

export function toReservation(reservation: DomainReservation, usage?: control.ChannelUsage): Reservation {
  return {
    id: reservation.id,
    state: STATE[reservation.state],
    token: reservation.token,
    name: reservation.name,
    channelClass: reservation.channelClass === 'live' ? 'CHANNEL_CLASS_LIVE' : 'CHANNEL_CLASS_VOD',
    priority: reservation.priority,
    exclusive: reservation.exclusive,
    cpus: [...reservation.cpus],
    ...(reservation.process === undefined ? {} : { process: reservation.process }),
    createdMs: reservation.createdMs,
    changedMs: reservation.changedMs,
    deadlineMs: reservation.deadlineMs,
    decisionId: reservation.decisionId,
    rung: reservation.rung,
    selfHeld: reservation.selfHeld === true,
    // A TCP peer's -1 has no place in an unsigned field; the overflow uid is what the kernel shows for nobody.
    uid: reservation.uid < 0 ? 65_534 : reservation.uid,
    ...(usage === undefined ? {} : toChannelUsage(usage)),
  };
}

/**
 * For listings, which everybody may read: who has the token may act as the holder, so only root and the holder's own user
 * see it. TCP callers have no user that the kernel vouches for.
 */
export function toListed(
  { uid }: control.Peer,
  reservation: DomainReservation,
  usage?: control.ChannelUsage,
): Reservation {
  const own = uid === 0 || (uid > 0 && uid === reservation.uid);
  return { ...toReservation(reservation, usage), ...(own ? {} : { token: 0 }) };
}

function toChannelUsage(usage: control.ChannelUsage) {
  return {
    usageCores: usage.usageCores,
    forecastQ90Cores: usage.forecastQ90Cores,
    ...(usage.speed === undefined ? {} : { speed: usage.speed }),
    ...(usage.lagSeconds === undefined ? {} : { lagSeconds: usage.lagSeconds }),
    ...(usage.ingress === undefined ? {} : { ingress: toIngress(usage.ingress) }),
  };
}

function toIngress({ bps, sockets }: control.ChannelIngress) {
  return {
    ...(Number.isFinite(bps) ? { bps } : {}),
    waitingBytes: sockets.bytes,
    waitingDatagrams: sockets.datagrams,
    droppedDatagrams: sockets.dropped,
  };
}

export function toThreads(pin: PinResult): ThreadMask[] {
  return pin.threads.map(({ tid, name, cpus, verified }) => ({
    tid,
    name,
    cpus: formatCpuset(cpus),
    verified,
  }));
}

export function toThreadUse(threads: readonly ThreadSample[]): ThreadUse[] {
  return [...threads]
    .sort((a, b) => b.cores - a.cores)
    .map(({ tid, cpu, cores, cpuSeconds, waitSeconds, switches, maskCpus }) => ({
      tid,
      cpu: Math.max(0, cpu),
      cores,
      cpuSeconds,
      ...(Number.isFinite(waitSeconds) ? { waitSeconds } : {}),
      switches,
      ...(maskCpus < 0 ? {} : { maskCpus }),
    }));
}

export function toUsage(usage: control.UsageSummary): UsageSummary {
  return {
    cpuSeconds: usage.cpuSeconds,
    wallSeconds: usage.wallSeconds,
    mediaSeconds: usage.mediaSeconds,
    meanCores: usage.meanCores,
    coreUsage: [...usage.coreUsage],
    horizons: usage.horizons.map((horizon) => ({
      fromSeconds: horizon.fromS,
      toSeconds: horizon.toS,
      meanCores: horizon.meanCores,
      maxCores: horizon.maxCores,
      forecastCores: horizon.forecastCores,
      coveredQ90: horizon.coveredQ90,
    })),
  };
}

export function toDirective(directive: control.Directive): Directive {
  switch (directive.kind) {
    case 'set_rung':
      return { setRung: directive.rung, reason: directive.reason };
    case 'cpus':
      return { cpus: directive.cpus, reason: directive.reason };
    case 'requeue':
      return { requeue: true, reason: directive.reason };
    case 'start':
      return { start: directive.cpus, reason: directive.reason };
    case 'stop':
      return { stop: true, reason: directive.reason };
  }
}

/** `counts`: channels that hold CPUs and requests that wait, as the ledger has them now. */
export function toHost(
  view: control.HostView,
  counts: { channels: number; queued: number },
): GetHostResponse {
  return {
    hostname: view.hostname,
    daemonVersion: view.daemonVersion,
    cpuModel: view.cpuModel,
    speedFactor: view.speedFactor,
    cpus: toCpus(view),
    load: view.sample === undefined ? null : { ...toLoad(view.sample), ...counts },
    forecast: view.forecast === undefined ? null : toForecast(view.forecast),
    admissionClosed: view.admissionClosedReason !== '',
    admissionClosedReason: view.admissionClosedReason,
    ingress: [...view.ingress],
    calibration: { ...view.calibration, alarms: [...view.calibration.alarms] },
    pinning: { backend: view.pinning.kind, reason: view.pinning.reason },
  };
}

function toCpus(view: control.HostView): Cpu[] {
  return view.topology.cpus.map((cpu) => ({
    cpu: cpu.cpu,
    core: cpu.core,
    l2: cpu.l2,
    l3: cpu.l3,
    cluster: cpu.cluster,
    die: cpu.die,
    numaNode: cpu.node,
    package: cpu.package,
    kind: cpu.kind,
    online: cpu.online,
    housekeeping: cpu.housekeeping,
    isolated: cpu.isolated,
    nohzFull: cpu.nohzFull,
    reservedMilli: view.reservedMilli.get(cpu.cpu) ?? 0,
    busy: view.sample?.busyByCpu.get(cpu.cpu) ?? 0,
  }));
}

function toLoad(sample: NonNullable<control.HostView['sample']>): HostLoad {
  return {
    atMs: Math.round(sample.atMs),
    busy: sample.state.busy,
    load_1m: sample.load1m,
    cpuPressure: sample.state.cpuPressure,
    memoryAvailableBytes: Math.round(sample.memoryAvailableBytes),
    memoryTotalBytes: Math.round(sample.memoryTotalBytes),
    ingressBps: sample.state.ingressBps,
    diskBusy: sample.state.diskBusy,
    queueLength: sample.state.queueLength,
    ...toDetail(sample.detail),
  };
}

function toDetail({ load, memory, paging, pressure, disks, interfaces, gpus }: HostDetail) {
  return {
    runnable: load.runnable,
    memoryPressure: pressure.memory,
    memoryPressureFull: pressure.memoryFull,
    ioPressure: pressure.io,
    ioPressureFull: pressure.ioFull,
    swapUsedBytes: Math.round(memory.swapUsedBytes),
    majorFaultsPerS: paging.majorFaultsPerS,
    disks: [...disks].map(([name, disk]) => ({ name, ...disk })),
    interfaces: [...interfaces].map(([name, use]) => ({ name, ...use })),
    gpus: gpus.map(toGpu),
  };
}

/** What it does not tell is NaN there, and absent here. */
function toGpu({ name, ...numbers }: GpuUse): Gpu {
  return {
    name,
    ...Object.fromEntries(Object.entries(numbers).filter(([, value]) => Number.isFinite(value))),
  };
}

export function toRun(run: DomainRun): Run {
  return {
    id: run.id,
    origin: run.origin,
    startedMs: run.startedMs,
    signature: toSignature(run.signature),
    cpuCount: run.cpuCount,
    cpuSeconds: run.cpuSeconds,
    wallSeconds: run.wallSeconds,
    mediaSeconds: run.mediaSeconds,
    coreUsage: meanCoreUsage(run),
    hostLoad: meanOf(run, (sample) => sample.hostLoad),
    source: run.source,
  };
}

/** Means over the samples, each weighed by how long it lasted. */
function meanOf(run: DomainRun, value: (sample: DomainRun['samples'][number]) => number): number {
  let sum = 0;
  let fromS = 0;
  for (const sample of run.samples) {
    sum += value(sample) * (sample.atS - fromS);
    fromS = sample.atS;
  }
  return fromS > 0 ? sum / fromS : 0;
}

function meanCoreUsage(run: DomainRun): number[] {
  const cpus = Math.max(0, ...run.samples.map((sample) => sample.coreUsage.length));
  return Array.from({ length: cpus }, (_, i) => meanOf(run, (sample) => sample.coreUsage[i] ?? 0));
}
