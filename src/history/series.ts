import type { HostSample, ProcessSample } from '../monitor/sample.js';
import type { SeriesPoint } from './history.js';

interface SeriesKind {
  readonly unit: string;
  /** Values are stored as multiples of this: what the measurement can tell. Finer digits are noise that costs bytes. */
  readonly resolution: number;
}

const share: SeriesKind = { unit: 'share', resolution: 1e-4 };
const cores: SeriesKind = { unit: 'cores', resolution: 1e-3 };
const count: SeriesKind = { unit: 'count', resolution: 1 };
const bps: SeriesKind = { unit: 'bits/s', resolution: 1_000 };

/** By name; N and ID stand for the CPU's number and the reservation's id. */
export const SERIES = {
  'host.busy': share,
  'host.load1m': { unit: 'tasks', resolution: 0.01 },
  'host.memory_used': share,
  'host.cpu_pressure': share,
  'host.disk_busy': share,
  'host.ingress_bps': bps,
  'host.queue_length': count,
  'host.reserved': share,
  'host.channels': { unit: 'channels', resolution: 1 },
  'host.queued': { unit: 'channels', resolution: 1 },
  'cpu.N.busy': { unit: 'share', resolution: 1e-3 },
  'channel.ID.cores': cores,
  'channel.ID.wait': cores,
  'channel.ID.speed': { unit: 'media s/s', resolution: 1e-3 },
  'channel.ID.lag': { unit: 's', resolution: 0.01 },
  'channel.ID.ingress_bps': bps,
  'channel.ID.rss': { unit: 'bytes', resolution: 65_536 },
} as const satisfies Record<string, SeriesKind>;

export interface ChannelReading {
  readonly id: string;
  readonly pid: number;
  /** Media seconds per wall second; absent while unknown. */
  readonly speed?: number;
  readonly lagSeconds?: number;
}

/** A tick is a mean over a second or so; on a busy host the milliseconds of its end would cost as much as its values. */
const TIME_RESOLUTION_MS = 10;

/** What one tick leaves in the history. What is not known has no point. */
export function seriesOf(
  sample: HostSample,
  { channels, queued }: { channels: Iterable<ChannelReading>; queued: number },
): SeriesPoint[] {
  const points: SeriesPoint[] = [];
  const atMs = roundTo(sample.atMs, TIME_RESOLUTION_MS);
  const add = (series: string, kind: SeriesKind, value: number | undefined) => {
    if (value !== undefined && Number.isFinite(value))
      points.push({ series, atMs, value: roundTo(value, kind.resolution) });
  };
  const { state } = sample;
  const host = {
    'host.busy': state.busy,
    'host.load1m': sample.load1m,
    'host.memory_used': state.memoryUsed,
    'host.cpu_pressure': state.cpuPressure,
    'host.disk_busy': state.diskBusy,
    'host.ingress_bps': state.ingressBps,
    'host.queue_length': state.queueLength,
    'host.reserved': state.reserved,
    'host.channels': state.channels,
    'host.queued': queued,
  } as const;
  for (const [series, value] of Object.entries(host)) add(series, SERIES[series as keyof typeof host], value);
  for (const [cpu, busy] of sample.busyByCpu) add(`cpu.${cpu}.busy`, SERIES['cpu.N.busy'], busy);
  for (const channel of channels) {
    const process = sample.processes.get(channel.pid);
    if (process !== undefined)
      for (const [kind, value] of readings(channel, process))
        add(nameOf(kind, channel.id), SERIES[kind], value);
  }
  return points;
}

/** The unit of a series' values; empty for a name that is none of SERIES. */
export function unitOf(series: string): string {
  const [first, ...rest] = series.split('.');
  const last = rest.at(-1) ?? '';
  const middle = { host: '', cpu: 'N.', channel: 'ID.' }[first ?? ''];
  return middle === undefined ? '' : (SERIES[`${first}.${middle}${last}` as keyof typeof SERIES]?.unit ?? '');
}

function readings({ speed, lagSeconds }: ChannelReading, process: ProcessSample) {
  return [
    ['channel.ID.cores', process.cores],
    ['channel.ID.wait', process.waitCores],
    ['channel.ID.speed', speed],
    ['channel.ID.lag', lagSeconds],
    ['channel.ID.ingress_bps', process.ingressBps],
    ['channel.ID.rss', process.rssBytes],
  ] as const;
}

function nameOf(kind: `channel.ID.${string}`, id: string): string {
  return `channel.${id}.${kind.slice('channel.ID.'.length)}`;
}

/** The nearest multiple, written with as few decimals as it has: 0.1 + 0.2 is stored as 0.3. */
function roundTo(value: number, resolution: number): number {
  if (resolution >= 1) return Math.round(value / resolution) * resolution + 0;
  const scale = Math.round(1 / resolution);
  return Math.round(value * scale) / scale + 0; // + 0: no negative zero
}
