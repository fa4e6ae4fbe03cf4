import type { HostState } from '../forecast/forecast.js';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import type { GpuReader, ProcSampler, TcpReader } from '../lib/native.js';
import { Attention } from './attention.js';
import type { CollectorMetrics } from './collector.js';
import { Collectors } from './collectors.js';
import { busiest } from './disk.js';
import { Glance } from './glance.js';
import type { Gauges, HeldInputs, HostSample, Monitor, ProcessSample, ThreadSample } from './sample.js';
import { StepWindow } from './step-window.js';
import { Ticker } from './ticker.js';

/** How often and how closely to look; may change while the monitor runs. */
export interface MonitorPace {
  readonly intervalMs: number;
  /** While a channel starts or deviates, where it is shorter. Default: as ever. */
  readonly fastIntervalMs?: number;
  /** Threads read each tick, process after process in turn; those of starting and deviating channels come on top. */
  readonly threadsPerTick?: number;
}

export const THREADS_PER_TICK = 500;

export interface MonitorOptions extends MonitorPace {
  /** The monitor closes the three readers on stop(). */
  readonly sampler: ProcSampler;
  /** Undefined where the kernel has no sock_diag(7): the ingress of processes that read TCP is then unknown. */
  readonly tcp?: TcpReader | undefined;
  readonly gpu?: GpuReader | undefined;
  readonly procRoot: string;
  readonly sysRoot: string;
  readonly clock: Clock;
  /** CPUs that may be reserved now. */
  readonly schedulable: () => Cpuset;
  readonly gauges: Gauges;
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
  /** From the next tick on. */
  setPace(pace: MonitorPace): void;
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
  readonly #glance: Glance;
  #glances: NodeJS.Timeout | undefined;
  #running = false;
  readonly #window = new StepWindow();
  readonly #attention: Attention;
  readonly #collectors: Collectors;
  readonly #listeners = new Set<(sample: HostSample) => void>();
  #pace: MonitorPace;
  #background: number | undefined;
  #latest: HostSample | undefined;
  #lastMs = 0;
  #lastTickMs = 0;
  #totalTickMs = 0;

  constructor(options: MonitorOptions) {
    const { sampler, tcp, gpu, procRoot, sysRoot, clock, log = silentLog } = options;
    this.#options = options;
    this.#log = log;
    this.#pace = options;
    this.#ticker = new Ticker(options.intervalMs, clock, () => this.#tick());
    this.#glance = new Glance(procRoot, log);
    const monotonicMs = () => clock.monotonicMs();
    this.#attention = new Attention(monotonicMs);
    const threadsPerTick = () => this.#pace.threadsPerTick ?? THREADS_PER_TICK;
    const context = { procRoot, sysRoot, monotonicMs, log, threadsPerTick };
    this.#collectors = new Collectors({ sampler, tcp, gpu, ...context });
  }

  track(pid: number, startTicks: number): void {
    try {
      this.#options.sampler.add(pid, startTicks);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      const why = `process ${pid} that started at tick ${startTicks} is gone`;
      throw new CorecastError('PROCESS_GONE', why, { errno: 'ESRCH', cause: error });
    }
    this.#collectors.track(pid);
    this.#attention.start(pid);
    this.#lookClosely(pid);
  }

  untrack(pid: number): void {
    this.#options.sampler.remove(pid);
    this.#collectors.untrack(pid);
    this.#attention.forget(pid);
  }

  attend(pid: number): void {
    if (this.#attention.begin(pid)) this.#lookClosely(pid);
  }

  #lookClosely(pid: number): void {
    this.#options.sampler.watchClosely(pid, true);
    this.#keepPace();
  }

  told(pid: number, inputs: HeldInputs): void {
    this.#collectors.told(pid, inputs);
  }

  threads(pid: number): readonly ThreadSample[] {
    return this.#collectors.threads(pid);
  }

  setPace(pace: MonitorPace): void {
    this.#pace = pace;
    this.#keepPace();
    if (!this.#running) return;
    clearTimeout(this.#glances);
    this.#takeGlances();
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
    this.#running = true;
    this.#takeGlances();
  }

  async stop(): Promise<void> {
    this.#ticker.stop();
    this.#running = false;
    clearTimeout(this.#glances);
    this.#glance.close();
    this.#collectors.close();
    this.#options.sampler.close();
  }

  metrics(): MonitorMetrics {
    return {
      ticks: this.#ticker.ticks,
      missedTicks: this.#ticker.missed,
      lastTickMs: this.#lastTickMs,
      totalTickMs: this.#totalTickMs,
      droppedDatagrams: this.#collectors.droppedDatagrams,
      collectors: this.#collectors.metrics(),
    };
  }

  #tick(): void {
    const { clock } = this.#options;
    const monotonicMs = clock.monotonicMs();
    const elapsedS = (monotonicMs - this.#lastMs) / 1000;
    if (elapsedS <= this.#leastTickS) return;
    this.#lastMs = monotonicMs;
    const parts = this.#collect(elapsedS);
    const sample: HostSample = { atMs: clock.nowMs(), monotonicMs, elapsedS, ...parts };
    this.#window.add(sample.state, elapsedS, monotonicMs);
    this.#latest = sample;
    this.#lastTickMs = clock.monotonicMs() - monotonicMs;
    this.#totalTickMs += this.#lastTickMs;
    for (const pid of this.#attention.ended()) this.#options.sampler.watchClosely(pid, false);
    this.#tell(sample);
    // Listeners may have found something amiss.
    this.#keepPace();
  }

  /**
   * Right after a change of pace two beats may fall close together. CPU time is told in hundredths of a second: over so short
   * a time every CPU is idle or full.
   */
  get #leastTickS(): number {
    const { intervalMs, fastIntervalMs = intervalMs } = this.#pace;
    return Math.min(intervalMs, fastIntervalMs) / 2_000;
  }

  #takeGlances(): void {
    const { intervalMs, fastIntervalMs = intervalMs } = this.#pace;
    const look = () => {
      const cpus = this.#latest?.busyByCpu.size ?? Number.POSITIVE_INFINITY;
      if (!this.#attention.any && this.#glance.alarming(cpus, this.#latest?.memoryAvailableBytes ?? 0)) {
        this.#attention.host();
        this.#keepPace();
      }
      this.#takeGlances();
    };
    // With a beat of one length ticks themselves see it as soon.
    if (fastIntervalMs < intervalMs) this.#glances = setTimeout(look, fastIntervalMs).unref();
  }

  #keepPace(): void {
    const { intervalMs, fastIntervalMs = intervalMs } = this.#pace;
    this.#ticker.setInterval(this.#attention.any ? Math.min(intervalMs, fastIntervalMs) : intervalMs);
  }

  #tell(sample: HostSample): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(sample);
      } catch (error) {
        this.#log.error({ err: error }, `a listener of the monitor failed: ${messageOf(error)}`);
      }
    }
  }

  #collect(elapsedS: number) {
    const { schedulable, gauges } = this.#options;
    const found = this.#collectors.collect(elapsedS);
    const { cpus, load, memory, paging, disks, network, pressure, frequencyHz, gpus } = found;
    const processes = new Map<number, ProcessSample>();
    for (const [pid, process] of found.processes)
      if (pid !== this.#background) processes.set(pid, withReported(process, gauges));
    const background = this.#background === undefined ? undefined : found.processes.get(this.#background);
    const busyByCpu = without(new Map([...cpus].map(([cpu, { busy }]) => [cpu, busy])), background);
    const reported = gauges.reportedIngress();
    const state: HostState = {
      ...spread(busyByCpu, schedulable()),
      memoryUsed: memory.totalBytes === 0 ? 0 : 1 - memory.availableBytes / memory.totalBytes,
      diskBusy: busiest(disks),
      // What ingest servers announce may not have reached the wire yet, or comes over the loopback.
      ingressBps: Math.max(network.ingressBps, reported.bps),
      queueLength: reported.queueLength + found.queueDatagrams + gauges.queued(),
      cpuPressure: pressure.cpu,
      channels: gauges.channels(),
      reserved: gauges.reserved(),
    };
    const { interfaces } = network;
    return {
      busyByCpu,
      state,
      load1m: load.load1m,
      memoryAvailableBytes: memory.availableBytes,
      memoryTotalBytes: memory.totalBytes,
      processes,
      detail: { cpus, frequencyHz, load, memory, paging, disks, interfaces, pressure, gpus },
    };
  }
}

/** Where the kernel does not tell what reaches a channel (UDP), its ingest server may. */
function withReported(process: ProcessSample, gauges: Gauges): ProcessSample {
  if (!Number.isNaN(process.ingressBps)) return process;
  const ingressBps = gauges.reportedIngressOf?.(process.pid) ?? Number.NaN;
  return Number.isNaN(ingressBps) ? process : { ...process, ingressBps };
}

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
