import type { Clock } from '../lib/clock.js';
import { formatCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { HostSample } from '../monitor/sample.js';
import type { ReservationState } from '../reservation/reservation.js';
import type { CalibrationView, ChannelUsage, Control, HostView } from '../rpc/control.js';

const TREND_MS = 600_000;
const TREND_STEP_MS = 10_000;
const TREND_SERIES = 'host.busy';
/** Rows on the page; more are counted, not listed. */
const MAX_CHANNELS = 500;

/** What /api/status answers and the page shows. */
export interface StatusView {
  readonly nowMs: number;
  readonly hostname: string;
  readonly version: string;
  readonly cpuModel: string;
  /** Empty while new channels may come. */
  readonly admissionClosedReason: string;
  /** Null before the first tick. */
  readonly load: {
    readonly atMs: number;
    readonly busy: number;
    readonly load1m: number;
    readonly cpuPressure: number;
    readonly memoryAvailableBytes: number;
    readonly memoryTotalBytes: number;
    readonly ingressBps: number;
    readonly memoryPressure: number;
    readonly ioPressure: number;
    readonly swapUsedBytes: number;
    readonly majorFaultsPerS: number;
    /** Packets, frames and channels that wait. */
    readonly queueLength: number;
    readonly diskBusy: number;
    /** Packets a second that network interfaces dropped. */
    readonly networkDropsPerS: number;
    /** Shares 0-1; null for what a GPU does not tell. */
    readonly gpus: readonly { name: string; busy: number | null; encoderBusy: number | null }[];
  } | null;
  /** How well forecasts kept their word lately, and the drift alarms that stand. */
  readonly calibration: CalibrationView;
  /** Forecast host load by span; null without a forecast. */
  readonly forecast: readonly { fromS: number; toS: number; q50: number; q90: number }[] | null;
  readonly reservedMilli: number;
  readonly schedulableMilli: number;
  readonly counts: Readonly<Partial<Record<ReservationState, number>>>;
  readonly cpus: readonly {
    cpu: number;
    core: number;
    l3: number;
    node: number;
    online: boolean;
    housekeeping: boolean;
    reservedMilli: number;
    busy: number;
  }[];
  /** Those that need looking at first. */
  readonly channels: readonly ChannelRow[];
  readonly channelsNotListed: number;
  /** Host load over the last ten minutes, oldest first. */
  readonly trend: readonly { atMs: number; value: number }[];
}

export interface ChannelRow {
  readonly id: string;
  readonly name: string;
  readonly state: ReservationState;
  readonly channelClass: string;
  readonly priority: number;
  readonly cpus: string;
  readonly usageCores: number | null;
  readonly forecastQ90Cores: number | null;
  readonly speed: number | null;
  readonly lagSeconds: number | null;
  /** What reaches it; null where nobody counts it. */
  readonly ingressBps: number | null;
  /** At its sockets: what waits for FFmpeg, and the datagrams that found no room. */
  readonly waitingBytes: number;
  readonly waitingDatagrams: number;
  readonly droppedDatagrams: number;
  readonly rung: number;
  readonly changedMs: number;
  readonly reason: string;
}

export type StatusSource = Pick<Control, 'host' | 'reservations' | 'query'>;

export async function statusView(control: StatusSource, clock: Clock, log: Log): Promise<StatusView> {
  const nowMs = clock.nowMs();
  const [host, trend] = await Promise.all([control.host(), trendOf(control, nowMs, log)]);
  const rows = control.reservations(false).map(
    ({ reservation, usage }): ChannelRow => ({
      id: reservation.id,
      name: reservation.name,
      state: reservation.state,
      channelClass: reservation.channelClass,
      priority: reservation.priority,
      cpus: formatCpuset(reservation.cpus.map((share) => share.cpu)),
      ...usageColumns(usage),
      rung: reservation.rung,
      changedMs: reservation.changedMs,
      reason: reservation.reason,
    }),
  );
  const counts: Partial<Record<ReservationState, number>> = {};
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1;
  rows.sort((a, b) => trouble(b) - trouble(a) || (a.name < b.name ? -1 : 1));
  return {
    nowMs,
    hostname: host.hostname,
    version: host.daemonVersion,
    cpuModel: host.cpuModel,
    admissionClosedReason: host.admissionClosedReason,
    load: loadOf(host),
    calibration: host.calibration,
    forecast: forecastOf(host),
    reservedMilli: host.topology.schedulable.reduce(
      (sum, cpu) => sum + (host.reservedMilli.get(cpu) ?? 0),
      0,
    ),
    schedulableMilli: host.topology.schedulable.length * 1000,
    counts,
    cpus: cpusOf(host),
    channels: rows.slice(0, MAX_CHANNELS),
    channelsNotListed: Math.max(0, rows.length - MAX_CHANNELS),
    trend,
  };
}

function usageColumns(usage: ChannelUsage | undefined) {
  return {
    usageCores: usage?.usageCores ?? null,
    forecastQ90Cores: usage?.forecastQ90Cores ?? null,
    speed: usage?.speed ?? null,
    lagSeconds: usage?.lagSeconds ?? null,
    ingressBps: known(usage?.ingress?.bps ?? Number.NaN),
    waitingBytes: usage?.ingress?.sockets.bytes ?? 0,
    waitingDatagrams: usage?.ingress?.sockets.datagrams ?? 0,
    droppedDatagrams: usage?.ingress?.sockets.dropped ?? 0,
  };
}

/** Higher stands further up: holder gone, behind real time, over its forecast, degraded, waiting. */
function trouble(row: ChannelRow): number {
  if (row.state === 'ORPHANED') return 5;
  if ((row.lagSeconds ?? 0) > 1 || (row.channelClass === 'live' && (row.speed ?? 1) < 0.95)) return 4;
  if (row.usageCores !== null && row.usageCores > (row.forecastQ90Cores ?? Number.POSITIVE_INFINITY))
    return 3;
  if (row.rung > 0) return 2;
  return row.state === 'QUEUED' || row.state === 'PAUSED' ? 1 : 0;
}

function loadOf({ sample }: HostView): StatusView['load'] {
  if (sample === undefined) return null;
  return {
    atMs: sample.atMs,
    busy: sample.state.busy,
    load1m: sample.load1m,
    cpuPressure: sample.state.cpuPressure,
    memoryAvailableBytes: sample.memoryAvailableBytes,
    memoryTotalBytes: sample.memoryTotalBytes,
    ingressBps: sample.state.ingressBps,
    ...detailOf(sample),
  };
}

function detailOf({ state, detail }: HostSample) {
  const { pressure, memory, paging, interfaces, gpus } = detail;
  let networkDropsPerS = 0;
  for (const use of interfaces.values()) networkDropsPerS += use.receiveDropsPerS + use.sendDropsPerS;
  return {
    memoryPressure: pressure.memory,
    ioPressure: pressure.io,
    swapUsedBytes: memory.swapUsedBytes,
    majorFaultsPerS: paging.majorFaultsPerS,
    queueLength: state.queueLength,
    diskBusy: state.diskBusy,
    networkDropsPerS,
    gpus: gpus.map(({ name, busy, encoderBusy }) => ({
      name,
      busy: known(busy),
      encoderBusy: known(encoderBusy),
    })),
  };
}

function known(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function forecastOf({ forecast }: HostView): StatusView['forecast'] {
  if (forecast === undefined) return null;
  return forecast.horizons.map(({ fromS, toS, hostLoad }) => ({
    fromS,
    toS,
    q50: hostLoad.q50,
    q90: hostLoad.q90,
  }));
}

function cpusOf(host: HostView): StatusView['cpus'] {
  return host.topology.cpus.map(({ cpu, core, l3, node, online, housekeeping }) => ({
    cpu,
    core,
    l3,
    node,
    online,
    housekeeping,
    reservedMilli: host.reservedMilli.get(cpu) ?? 0,
    busy: host.sample?.busyByCpu.get(cpu) ?? 0,
  }));
}

/** The history may be damaged or empty; the page does without. */
async function trendOf(control: StatusSource, nowMs: number, log: Log): Promise<StatusView['trend']> {
  const points: { atMs: number; value: number }[] = [];
  const query = { series: TREND_SERIES, fromMs: nowMs - TREND_MS, toMs: nowMs, stepMs: TREND_STEP_MS };
  try {
    for await (const chunk of control.query(query)) {
      points.push(...chunk.points);
      if (points.length >= TREND_MS / TREND_STEP_MS) break;
    }
  } catch (error) {
    log.debug({ reason: messageOf(error) }, 'the status page has no history to show');
  }
  return points.slice(0, TREND_MS / TREND_STEP_MS + 1);
}
