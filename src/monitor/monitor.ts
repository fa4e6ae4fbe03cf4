import type { HostState } from '../forecast/forecast.js';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import type { ProcSample, ProcSampler } from '../lib/native.js';
import { Collector, type CollectorMetrics } from './collector.js';
import { CpuCollector } from './cpu.js';
import { DiskCollector } from './disk.js';
import { type Ingress, IngressCollector } from './ingress.js';
import { LoadCollector } from './load.js';
import { MemoryCollector } from './memory.js';
import { NetworkCollector } from './network.js';
import { PressureCollector } from './pressure.js';
import { ProcessCollector } from './processes.js';
import type { Gauges, HostSample, Monitor, ProcessSample } from './sample.js';
import { StepWindow } from './step-window.js';
import { Ticker } from './ticker.js';

export interface MonitorOptions {
  /** The monitor closes it on stop(). */
  readonly sampler: ProcSampler;
  readonly procRoot: string;
  readonly sysRoot: string;
  readonly clock: Clock;
  /** CPUs that may be reserved now. */
  readonly schedulable: () => Cpuset;
  readonly gauges: Gauges;
  readonly intervalMs: number;
  readonly log?: Log;
}

export interface MonitorMetrics {
  readonly ticks: number;
  /** Ticks that did not happen because the one before, or the process, took too long. */
  readonly missedTicks: number;
  readonly lastTickMs: number;
  readonly totalTickMs: number;
  readonly droppedDatagrams: number;
  readonly collectors: readonly CollectorMetrics[];
}

export interface RunningMonitor extends Monitor {
  metrics(): MonitorMetrics;
  /**
   * A process whose work is not load, because it yields to everything else: training, at idle priority. Undefined: none.
   */
  background(process: ProcessName | undefined): void;
}

export interface ProcessName {
  readonly pid: number;
  readonly startTicks: number;
}

/**
 * The real-time monitoring agent: at each tick every collector reads its part of /proc and /sys, and the parts become one
 * HostSample. A collector that fails hurts nobody else: its last value stands.
 */
export function createMonitor(options: MonitorOptions): RunningMonitor {
  return new ProcMonitor(options);
}

class ProcMonitor implements RunningMonitor {
  readonly #options: MonitorOptions;
  readonly #log: Log;
  readonly #ticker: Ticker;
  readonly #window = new StepWindow();
  readonly #listeners = new Set<(sample: HostSample) => void>();
  readonly #ingressFiles: IngressCollector;
  readonly #files: { close(): void }[];
  readonly #collectors;
  #rows: ProcSample | undefined;
  #background: number | undefined;
  #latest: HostSample | undefined;
  #lastMs = 0;
  #lastTickMs = 0;
  #totalTickMs = 0;

  constructor(options: MonitorOptions) {
    const { procRoot, sysRoot, clock, log = silentLog } = options;
    this.#options = options;
    this.#log = log;
    this.#ticker = new Ticker(options.intervalMs, clock, () => this.#tick());
    const load = new LoadCollector(procRoot);
    const memory = new MemoryCollector(procRoot);
    const disk = new DiskCollector(procRoot, sysRoot);
    const network = new NetworkCollector(procRoot, sysRoot);
    const pressure = new PressureCollector(procRoot, log);
    const ingress = new IngressCollector(procRoot, log);
    this.#ingressFiles = ingress;
    this.#files = [load, memory, disk, network, pressure, ingress];
    const cpu = new CpuCollector();
    const processes = new ProcessCollector();
    const context = { monotonicMs: () => clock.monotonicMs(), log };
    const none: Ingress = { bps: new Map(), queueDatagrams: 0 };
    let reached = none;
    this.#collectors = {
      cpu: new Collector('cpu', EMPTY, () => cpu.collect(this.#read().cpus, this.#read().cpuCount), context),
      load: new Collector('load', 0, () => load.collect(), context),
      memory: new Collector('memory', { totalBytes: 0, availableBytes: 0 }, () => memory.collect(), context),
      disk: new Collector('disk', 0, (elapsedS) => disk.collect(elapsedS), context),
      network: new Collector('network', 0, (elapsedS) => network.collect(elapsedS), context),
      pressure: new Collector('pressure', 0, () => pressure.collect(), context),
      ingress: new Collector(
        'ingress',
        none,
        (elapsedS) => {
          reached = none;
          reached = ingress.collect(elapsedS);
          return reached;
        },
        context,
      ),
      processes: new Collector(
        'processes',
        NO_PROCESSES,
        (elapsedS) => processes.collect(this.#read(), elapsedS, (pid) => reached.bps.get(pid) ?? Number.NaN),
        context,
      ),
    };
  }

  track(pid: number, startTicks: number): void {
    try {
      this.#options.sampler.add(pid, startTicks);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      const why = `process ${pid} that started at tick ${startTicks} is gone`;
      throw new CorecastError('PROCESS_GONE', why, { errno: 'ESRCH', cause: error });
    }
    this.#ingressFiles.track(pid);
  }

  untrack(pid: number): void {
    this.#options.sampler.remove(pid);
    this.#ingressFiles.untrack(pid);
  }

  background(process: ProcessName | undefined): void {
    if (this.#background !== undefined) this.#options.sampler.remove(this.#background);
    this.#background = undefined;
    if (process === undefined) return;
    try {
      this.#options.sampler.add(process.pid, process.startTicks);
      this.#background = process.pid;
    } catch (error) {
      this.#log.debug(
        { ...process, error: messageOf(error) },
        'a background process ended before it was sampled',
      );
    }
  }

  latest(): HostSample | undefined {
    return this.#latest;
  }

  window(): readonly HostState[] {
    return this.#window.steps();
  }

  onTick(listener: (sample: HostSample) => void): () => void {
    // Registered twice is called twice.
    const own = (sample: HostSample) => listener(sample);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** The first sample comes one interval later: rates need a beginning. */
  start(): void {
    this.#collect(0);
    this.#lastMs = this.#options.clock.monotonicMs();
    this.#ticker.start();
  }

  async stop(): Promise<void> {
    this.#ticker.stop();
    for (const file of this.#files) file.close();
    this.#options.sampler.close();
  }

  metrics(): MonitorMetrics {
    return {
      ticks: this.#ticker.ticks,
      missedTicks: this.#ticker.missed,
      lastTickMs: this.#lastTickMs,
      totalTickMs: this.#totalTickMs,
      droppedDatagrams: this.#ingressFiles.droppedDatagrams,
      collectors: Object.values(this.#collectors).map((collector) => collector.metrics()),
    };
  }

  #tick(): void {
    const { clock } = this.#options;
    const monotonicMs = clock.monotonicMs();
    const elapsedS = (monotonicMs - this.#lastMs) / 1000;
    if (elapsedS <= 0) return;
    this.#lastMs = monotonicMs;
    const parts = this.#collect(elapsedS);
    const sample: HostSample = { atMs: clock.nowMs(), monotonicMs, elapsedS, ...parts };
    this.#window.add(sample.state, elapsedS, monotonicMs);
    this.#latest = sample;
    this.#lastTickMs = clock.monotonicMs() - monotonicMs;
    this.#totalTickMs += this.#lastTickMs;
    for (const listener of [...this.#listeners]) {
      try {
        listener(sample);
      } catch (error) {
        this.#log.error({ err: error }, `a listener of the monitor failed: ${messageOf(error)}`);
      }
    }
  }

  #collect(elapsedS: number) {
    const { sampler, schedulable, gauges } = this.#options;
    let failure: unknown;
    this.#rows = undefined;
    try {
      this.#rows = sampler.sample();
    } catch (error) {
      failure = error;
    }
    this.#readFailure = failure;
    const { cpu, load, memory, disk, network, pressure, ingress, processes } = this.#collectors;
    const allBusy = cpu.run(elapsedS);
    const { totalBytes, availableBytes } = memory.run(elapsedS);
    const reached = ingress.run(elapsedS);
    const reported = gauges.reportedIngress();
    const tracked = new Map(processes.run(elapsedS));
    const background = this.#background === undefined ? undefined : tracked.get(this.#background);
    if (background !== undefined) tracked.delete(background.pid);
    const busyByCpu = without(allBusy, background);
    const state: HostState = {
      ...spread(busyByCpu, schedulable()),
      memoryUsed: totalBytes === 0 ? 0 : 1 - availableBytes / totalBytes,
      diskBusy: disk.run(elapsedS),
      // What ingest servers announce may not have reached the wire yet, or comes over the loopback.
      ingressBps: Math.max(network.run(elapsedS), reported.bps),
      queueLength: reported.queueLength + reached.queueDatagrams + gauges.queued(),
      cpuPressure: pressure.run(elapsedS),
      channels: gauges.channels(),
      reserved: gauges.reserved(),
    };
    return {
      busyByCpu,
      state,
      load1m: load.run(elapsedS),
      memoryAvailableBytes: availableBytes,
      memoryTotalBytes: totalBytes,
      processes: tracked,
    };
  }

  #readFailure: unknown;

  #read(): ProcSample {
    if (this.#rows === undefined) throw this.#readFailure;
    return this.#rows;
  }
}

const EMPTY: ReadonlyMap<number, number> = new Map();
const NO_PROCESSES: HostSample['processes'] = new Map();

/** The busy shares without what one process did. */
function without(
  busyByCpu: ReadonlyMap<number, number>,
  process: ProcessSample | undefined,
): ReadonlyMap<number, number> {
  if (process === undefined) return busyByCpu;
  const own = process.coresByCpu;
  return new Map([...busyByCpu].map(([cpu, busy]) => [cpu, Math.max(0, busy - (own.get(cpu) ?? 0))]));
}

/** Mean, standard deviation and maximum over the schedulable CPUs that have a share. */
export function spread(busyByCpu: ReadonlyMap<number, number>, schedulable: Cpuset) {
  const shares = schedulable.map((cpu) => busyByCpu.get(cpu)).filter((share) => share !== undefined);
  if (shares.length === 0) return { busy: 0, coreSpread: 0, busiestCore: 0 };
  const busy = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const variance = shares.reduce((sum, share) => sum + (share - busy) ** 2, 0) / shares.length;
  // A loop: Math.max(...shares) with thousands of CPUs would be as many arguments.
  return { busy, coreSpread: Math.sqrt(variance), busiestCore: shares.reduce((a, b) => Math.max(a, b), 0) };
}
