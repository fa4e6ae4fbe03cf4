import type { HostDetail, HostSample, ProcessSample } from '../monitor/sample.js';
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

const perSecond: SeriesKind = { unit: '1/s', resolution: 0.01 };
const bytesPerSecond: SeriesKind = { unit: 'bytes/s', resolution: 1_024 };
const memory: SeriesKind = { unit: 'bytes', resolution: 1_048_576 };
const coarseShare: SeriesKind = { unit: 'share', resolution: 1e-3 };

/** By name; N stands for a CPU's or GPU's number, ID for the reservation's id, NAME for a device's name. */
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
  // One point for each restart at another rung.
  'channel.ID.gap_ms': { unit: 'ms', resolution: 1 },
  'channel.ID.rss': { unit: 'bytes', resolution: 65_536 },
  // Details, once in DETAIL_MS
  'host.load5m': { unit: 'tasks', resolution: 0.01 },
  'host.load15m': { unit: 'tasks', resolution: 0.01 },
  'host.runnable': { unit: 'tasks', resolution: 1 },
  'host.memory_pressure': share,
  'host.memory_pressure_full': share,
  'host.io_pressure': share,
  'host.io_pressure_full': share,
  'host.swap_used': memory,
  'host.major_faults': perSecond,
  'host.swap_in': perSecond,
  'host.swap_out': perSecond,
  'cpu.N.user': coarseShare,
  'cpu.N.system': coarseShare,
  'cpu.N.steal': coarseShare,
  'cpu.N.iowait': coarseShare,
  'cpu.N.frequency': { unit: 'Hz', resolution: 1e6 },
  'disk.NAME.read': bytesPerSecond,
  'disk.NAME.written': bytesPerSecond,
  'disk.NAME.busy': coarseShare,
  'disk.NAME.queue': { unit: 'requests', resolution: 0.01 },
  'net.NAME.received_bps': bps,
  'net.NAME.sent_bps': bps,
  'net.NAME.receive_drops': perSecond,
  'net.NAME.send_drops': perSecond,
  'gpu.N.busy': coarseShare,
  'gpu.N.memory_used': memory,
  'gpu.N.encoder_busy': coarseShare,
  'gpu.N.decoder_busy': coarseShare,
  'channel.ID.busiest_thread': cores,
  'channel.ID.switches': { unit: '1/s', resolution: 1 },
  'channel.ID.major_faults': perSecond,
  'channel.ID.threads': count,
  'channel.ID.widest_mask': { unit: 'CPUs', resolution: 1 },
  'channel.ID.waiting_datagrams': count,
  'channel.ID.dropped_datagrams': count,
  'channel.ID.waiting_bytes': { unit: 'bytes', resolution: 1_024 },
  'channel.ID.cpu_pressure': share,
  'channel.ID.memory_pressure': share,
  'channel.ID.io_pressure': share,
  'channel.ID.fps': { unit: 'frames/s', resolution: 0.1 },
  'channel.ID.bitrate_bps': bps,
  'channel.ID.dropped_frames': count,
  'channel.ID.duplicated_frames': count,
} as const satisfies Record<string, SeriesKind>;

export interface ChannelReading {
  readonly id: string;
  readonly pid: number;
  /** Media seconds per wall second; absent while unknown. */
  readonly speed?: number;
  readonly lagSeconds?: number;
  /** What its encoder said last; absent before it said anything. */
  readonly encoder?: {
    readonly fps: number;
    readonly bitrateBps: number;
    /** Since the encoder's start. */
    readonly droppedFrames: number;
    readonly duplicatedFrames: number;
  };
}

/** A tick is a mean over a second or so; on a busy host the milliseconds of its end would cost as much as its values. */
const TIME_RESOLUTION_MS = 10;

/** Details change slowly or are looked at rarely, and are most of the names: one tick in so many milliseconds has them. */
const DETAIL_MS = 10_000;

/** What one tick leaves in the history. What is not known has no point. */
export function seriesOf(
  sample: HostSample,
  { channels, queued }: { channels: Iterable<ChannelReading>; queued: number },
): SeriesPoint[] {
  const points: SeriesPoint[] = [];
  const atMs = roundTo(sample.atMs, TIME_RESOLUTION_MS);
  const add = (kind: keyof typeof SERIES, which: string | number, value: number | undefined) => {
    if (value !== undefined && Number.isFinite(value))
      points.push({ series: nameOf(kind, which), atMs, value: roundTo(value, SERIES[kind].resolution) });
  };
  const detailed = beginsPeriod(sample.monotonicMs, sample.elapsedS * 1000, DETAIL_MS);
  addHost(sample, queued, add);
  if (detailed) addDetails(sample.detail, add);
  for (const channel of channels) {
    const process = sample.processes.get(channel.pid);
    if (process === undefined) continue;
    addChannel(channel, process, add);
    if (detailed) addChannelDetails(channel, process, add);
  }
  return points;
}

/** How long a change of rung kept a channel from its output. */
export function gapPoint(id: string, atMs: number, gapMs: number): SeriesPoint {
  return { series: nameOf('channel.ID.gap_ms', id), atMs, value: gapMs };
}

type Add = (kind: keyof typeof SERIES, which: string | number, value: number | undefined) => void;

function addHost(sample: HostSample, queued: number, add: Add): void {
  const { state } = sample;
  add('host.busy', '', state.busy);
  add('host.load1m', '', sample.load1m);
  add('host.memory_used', '', state.memoryUsed);
  add('host.cpu_pressure', '', state.cpuPressure);
  add('host.disk_busy', '', state.diskBusy);
  add('host.ingress_bps', '', state.ingressBps);
  add('host.queue_length', '', state.queueLength);
  add('host.reserved', '', state.reserved);
  add('host.channels', '', state.channels);
  add('host.queued', '', queued);
  for (const [cpu, busy] of sample.busyByCpu) add('cpu.N.busy', cpu, busy);
}

function addDetails(detail: HostDetail, add: Add): void {
  const { load, memory, paging, pressure } = detail;
  add('host.load5m', '', load.load5m);
  add('host.load15m', '', load.load15m);
  add('host.runnable', '', load.runnable);
  add('host.memory_pressure', '', pressure.memory);
  add('host.memory_pressure_full', '', pressure.memoryFull);
  add('host.io_pressure', '', pressure.io);
  add('host.io_pressure_full', '', pressure.ioFull);
  add('host.swap_used', '', memory.swapUsedBytes);
  add('host.major_faults', '', paging.majorFaultsPerS);
  add('host.swap_in', '', paging.swapInPagesPerS);
  add('host.swap_out', '', paging.swapOutPagesPerS);
  for (const [cpu, use] of detail.cpus) {
    add('cpu.N.user', cpu, use.user);
    add('cpu.N.system', cpu, use.system);
    add('cpu.N.steal', cpu, use.steal);
    add('cpu.N.iowait', cpu, use.iowait);
    add('cpu.N.frequency', cpu, detail.frequencyHz.get(cpu));
  }
  addDevices(detail, add);
}

function addDevices({ disks, interfaces, gpus }: HostDetail, add: Add): void {
  for (const [name, disk] of disks) {
    add('disk.NAME.read', name, disk.readBytesPerS);
    add('disk.NAME.written', name, disk.writtenBytesPerS);
    add('disk.NAME.busy', name, disk.busy);
    add('disk.NAME.queue', name, disk.queue);
  }
  for (const [name, use] of interfaces) {
    add('net.NAME.received_bps', name, use.receivedBps);
    add('net.NAME.sent_bps', name, use.sentBps);
    add('net.NAME.receive_drops', name, use.receiveDropsPerS);
    add('net.NAME.send_drops', name, use.sendDropsPerS);
  }
  for (const [n, gpu] of gpus.entries()) {
    add('gpu.N.busy', n, gpu.busy);
    add('gpu.N.memory_used', n, gpu.memoryUsedBytes);
    add('gpu.N.encoder_busy', n, gpu.encoderBusy);
    add('gpu.N.decoder_busy', n, gpu.decoderBusy);
  }
}

function addChannel({ id, speed, lagSeconds }: ChannelReading, process: ProcessSample, add: Add): void {
  add('channel.ID.cores', id, process.cores);
  add('channel.ID.wait', id, process.waitCores);
  add('channel.ID.speed', id, speed);
  add('channel.ID.lag', id, lagSeconds);
  add('channel.ID.ingress_bps', id, process.ingressBps);
  add('channel.ID.rss', id, process.rssBytes);
}

function addChannelDetails({ id, encoder }: ChannelReading, process: ProcessSample, add: Add): void {
  const { sockets, pressure } = process;
  add('channel.ID.busiest_thread', id, process.busiestThreadCores);
  add('channel.ID.switches', id, process.switchesPerS);
  add('channel.ID.major_faults', id, process.majorFaultsPerS);
  add('channel.ID.threads', id, process.threads);
  add('channel.ID.widest_mask', id, process.widestMask);
  add('channel.ID.waiting_datagrams', id, sockets.datagrams);
  add('channel.ID.dropped_datagrams', id, sockets.dropped);
  add('channel.ID.waiting_bytes', id, sockets.bytes);
  add('channel.ID.cpu_pressure', id, pressure?.cpu);
  add('channel.ID.memory_pressure', id, pressure?.memory);
  add('channel.ID.io_pressure', id, pressure?.io);
  add('channel.ID.fps', id, encoder?.fps);
  add('channel.ID.bitrate_bps', id, encoder?.bitrateBps);
  add('channel.ID.dropped_frames', id, encoder?.droppedFrames);
  add('channel.ID.duplicated_frames', id, encoder?.duplicatedFrames);
}

/** Is this tick the first to end in its period? */
function beginsPeriod(endMs: number, tookMs: number, periodMs: number): boolean {
  return Math.floor(endMs / periodMs) !== Math.floor((endMs - tookMs) / periodMs);
}

/** The unit of a series' values; empty for a name that is none of SERIES. */
export function unitOf(series: string): string {
  const [first, ...rest] = series.split('.');
  const last = rest.at(-1) ?? '';
  const middle = MIDDLE[first ?? ''];
  return middle === undefined ? '' : (SERIES[`${first}.${middle}${last}` as keyof typeof SERIES]?.unit ?? '');
}

/** What stands for the thing in the names of a kind. */
const MIDDLE: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  host: '',
  cpu: 'N.',
  gpu: 'N.',
  disk: 'NAME.',
  net: 'NAME.',
  channel: 'ID.',
});

function nameOf(kind: keyof typeof SERIES, which: string | number): string {
  const [first, middle, last] = kind.split('.');
  return last === undefined ? kind : `${first}.${which === '' ? middle : which}.${last}`;
}

/** The nearest multiple, written with as few decimals as it has: 0.1 + 0.2 is stored as 0.3. */
function roundTo(value: number, resolution: number): number {
  if (resolution >= 1) return Math.round(value / resolution) * resolution + 0;
  const scale = Math.round(1 / resolution);
  return Math.round(value * scale) / scale + 0; // + 0: no negative zero
}
