import { Counter, Gauge, type Registry } from 'prom-client';
import type { CollectorMetrics } from '../monitor/collector.js';
import type { HostDetail } from '../monitor/sample.js';

export interface MonitorSource {
  /** Undefined before the first tick. */
  sample(): { readonly detail: HostDetail } | undefined;
  monitorMetrics(): { readonly droppedDatagrams: number; readonly collectors: readonly CollectorMetrics[] };
}

type Set<L extends string> = (labels: Partial<Record<L, string>>, value: number) => void;

/** What the monitor sees of the host, and how its collectors fare. Labels are CPUs, devices and collectors: bounded. */
export function registerMonitor(registry: Registry, source: MonitorSource): void {
  registerCollectors(registry, source);
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    fill: (detail: HostDetail, set: Set<L>) => void,
  ) =>
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        const sample = source.sample();
        if (sample !== undefined)
          fill(sample.detail, (labels, value) => Number.isFinite(value) && this.set(labels, value));
      },
    });
  gauge('corecast_host_cpu_ratio', "Share of a CPU's time, by mode", ['cpu', 'mode'], ({ cpus }, set) => {
    for (const [cpu, use] of cpus)
      for (const mode of ['user', 'system', 'steal', 'iowait'] as const)
        set({ cpu: String(cpu), mode }, use[mode]);
  });
  gauge('corecast_host_cpu_frequency_hertz', 'Frequency of a CPU', ['cpu'], ({ frequencyHz }, set) => {
    for (const [cpu, hz] of frequencyHz) set({ cpu: String(cpu) }, hz);
  });
  gauge('corecast_host_load', 'Load averages', ['span'], ({ load }, set) => {
    set({ span: '1m' }, load.load1m);
    set({ span: '5m' }, load.load5m);
    set({ span: '15m' }, load.load15m);
  });
  gauge('corecast_host_runnable_tasks', 'Tasks that run or wait to', [], ({ load }, set) =>
    set({}, load.runnable),
  );
  gauge(
    'corecast_host_pressure_ratio',
    'Share of the last ten seconds in which some task, or every task, waited (PSI)',
    ['resource', 'kind'],
    ({ pressure }, set) => {
      for (const resource of ['cpu', 'memory', 'io'] as const)
        set({ resource, kind: 'some' }, pressure[resource]);
      set({ resource: 'memory', kind: 'full' }, pressure.memoryFull);
      set({ resource: 'io', kind: 'full' }, pressure.ioFull);
    },
  );
  gauge('corecast_host_swap_used_bytes', 'Swap in use', [], ({ memory }, set) =>
    set({}, memory.swapUsedBytes),
  );
  gauge(
    'corecast_host_paging_rate',
    'Major faults, and pages swapped, a second',
    ['kind'],
    ({ paging }, set) => {
      set({ kind: 'major_fault' }, paging.majorFaultsPerS);
      set({ kind: 'swap_in' }, paging.swapInPagesPerS);
      set({ kind: 'swap_out' }, paging.swapOutPagesPerS);
    },
  );
  registerDevices(gauge);
}

function registerDevices(
  gauge: <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    fill: (detail: HostDetail, set: Set<L>) => void,
  ) => void,
): void {
  gauge('corecast_host_disk_throughput_bytes', 'Bytes a second', ['disk', 'direction'], ({ disks }, set) => {
    for (const [disk, use] of disks) {
      set({ disk, direction: 'read' }, use.readBytesPerS);
      set({ disk, direction: 'write' }, use.writtenBytesPerS);
    }
  });
  gauge(
    'corecast_host_disk_busy_ratio',
    'Share of time with a request in flight',
    ['disk'],
    ({ disks }, set) => {
      for (const [disk, { busy }] of disks) set({ disk }, busy);
    },
  );
  gauge('corecast_host_disk_queue_requests', 'Mean requests in flight', ['disk'], ({ disks }, set) => {
    for (const [disk, { queue }] of disks) set({ disk }, queue);
  });
  gauge('corecast_host_network_bits', 'Bits a second', ['interface', 'direction'], ({ interfaces }, set) => {
    for (const [name, use] of interfaces) {
      set({ interface: name, direction: 'receive' }, use.receivedBps);
      set({ interface: name, direction: 'send' }, use.sentBps);
    }
  });
  gauge(
    'corecast_host_network_drops_rate',
    'Packets dropped a second',
    ['interface', 'direction'],
    ({ interfaces }, set) => {
      for (const [name, use] of interfaces) {
        set({ interface: name, direction: 'receive' }, use.receiveDropsPerS);
        set({ interface: name, direction: 'send' }, use.sendDropsPerS);
      }
    },
  );
  gauge(
    'corecast_gpu_busy_ratio',
    'Share of time in use, by engine',
    ['gpu', 'name', 'engine'],
    ({ gpus }, set) => {
      for (const [n, { name, busy, encoderBusy, decoderBusy }] of gpus.entries()) {
        const gpu = String(n);
        set({ gpu, name, engine: 'compute' }, busy);
        set({ gpu, name, engine: 'encoder' }, encoderBusy);
        set({ gpu, name, engine: 'decoder' }, decoderBusy);
      }
    },
  );
  gauge('corecast_gpu_memory_bytes', 'GPU memory', ['gpu', 'name', 'kind'], ({ gpus }, set) => {
    for (const [n, { name, memoryUsedBytes, memoryTotalBytes }] of gpus.entries()) {
      set({ gpu: String(n), name, kind: 'used' }, memoryUsedBytes);
      set({ gpu: String(n), name, kind: 'total' }, memoryTotalBytes);
    }
  });
}

/** As node_exporter has them for its own collectors, and totals. */
function registerCollectors(registry: Registry, source: MonitorSource): void {
  const labelNames = ['collector'] as const;
  const gauge = (name: string, help: string, value: (of: CollectorMetrics) => number) =>
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        for (const of of source.monitorMetrics().collectors) this.set({ collector: of.name }, value(of));
      },
    });
  const counter = (name: string, help: string, value: (of: CollectorMetrics) => number) =>
    new Counter({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const of of source.monitorMetrics().collectors) this.inc({ collector: of.name }, value(of));
      },
    });
  gauge('corecast_collector_success', '1 when the last run of a collector succeeded', ({ failing }) =>
    failing === '' ? 1 : 0,
  );
  gauge(
    'corecast_collector_duration_seconds',
    'How long the last run of a collector took',
    ({ lastMs }) => lastMs / 1000,
  );
  counter('corecast_collector_seconds_total', 'Time that a collector took', ({ totalMs }) => totalMs / 1000);
  counter('corecast_collector_failures_total', 'Runs of a collector that failed', ({ failures }) => failures);
  counter(
    'corecast_collector_timeouts_total',
    'Runs of a collector that took too long',
    ({ timeouts }) => timeouts,
  );
  counter(
    'corecast_collector_skipped_total',
    'Ticks a slow collector was left out of',
    ({ skipped }) => skipped,
  );
  new Counter({
    name: 'corecast_channels_dropped_datagrams_total',
    help: 'Datagrams that sockets of channels dropped for want of room in their queues',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(source.monitorMetrics().droppedDatagrams);
    },
  });
}
