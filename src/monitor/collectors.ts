import type { Log } from '../lib/log.js';
import type { GpuReader, GpuUse, ProcSample, ProcSampler, TcpReader } from '../lib/native.js';
import { ChannelPressureCollector } from './channel-pressure.js';
import { Collector, type CollectorContext, type CollectorMetrics } from './collector.js';
import { CpuCollector, type CpuUse } from './cpu.js';
import { DiskCollector, type DiskUse } from './disk.js';
import { FrequencyCollector } from './frequency.js';
import { GpuCollector } from './gpu.js';
import { IngressCollector, NO_INGRESS } from './ingress.js';
import { LoadCollector, NO_LOAD } from './load.js';
import { MemoryCollector, NO_MEMORY } from './memory.js';
import { NetworkCollector, NO_NETWORK } from './network.js';
import { NO_PAGING, PagingCollector } from './paging.js';
import { NO_PRESSURE, PressureCollector } from './pressure.js';
import { ProcessCollector, type ProcessFacts } from './processes.js';
import type { HeldInputs, Pressure, ProcessSample, ThreadSample } from './sample.js';

export interface CollectorsOptions {
  readonly sampler: ProcSampler;
  readonly tcp: TcpReader | undefined;
  readonly gpu: GpuReader | undefined;
  readonly procRoot: string;
  readonly sysRoot: string;
  readonly monotonicMs: () => number;
  readonly log: Log;
  /** Threads read in turn each tick; read at each. */
  readonly threadsPerTick: () => number;
}

/** The longest that a collector may take, ms; the sampler and what works on its rows are needed at every tick. */
const LIMIT_MS = 250;

/** All collectors, and the order they run in: some build on what another found in the same tick. */
export class Collectors {
  readonly #ingress: IngressCollector;
  readonly #pressures: ChannelPressureCollector;
  readonly #processes = new ProcessCollector();
  readonly #files: { close(): void }[];
  readonly #all;
  #rows: ProcSample | undefined;
  #rowsError: unknown;

  constructor(options: CollectorsOptions) {
    const { sampler, procRoot, sysRoot, log } = options;
    const load = new LoadCollector(procRoot);
    const memory = new MemoryCollector(procRoot);
    const paging = new PagingCollector(procRoot);
    const disk = new DiskCollector(procRoot, sysRoot);
    const network = new NetworkCollector(procRoot, sysRoot);
    const pressure = new PressureCollector(procRoot, log);
    const frequency = new FrequencyCollector(sysRoot);
    const gpu = options.gpu && new GpuCollector(options.gpu, log);
    const cpu = new CpuCollector();
    this.#ingress = new IngressCollector(procRoot, log, options.monotonicMs, options.tcp);
    this.#pressures = new ChannelPressureCollector(procRoot, sysRoot);
    this.#files = [load, memory, paging, disk, network, pressure, frequency, this.#ingress, this.#pressures];
    if (gpu !== undefined) this.#files.push(gpu);

    const context: CollectorContext = { monotonicMs: options.monotonicMs, log, limitMs: LIMIT_MS };
    const needed: CollectorContext = { ...context, limitMs: Number.POSITIVE_INFINITY };
    const collector = <T>(name: string, initial: T, collect: (elapsedS: number) => T) =>
      new Collector(name, initial, collect, context);
    this.#all = {
      sampler: new Collector(
        'sampler',
        undefined,
        () => this.#sample(sampler, options.threadsPerTick()),
        needed,
      ),
      cpu: new Collector('cpu', NO_CPUS, () => cpu.collect(this.#read().cpus, this.#read().cpuCount), needed),
      load: collector('load', NO_LOAD, () => load.collect()),
      memory: collector('memory', NO_MEMORY, () => memory.collect()),
      paging: collector('paging', NO_PAGING, (elapsedS) => paging.collect(elapsedS)),
      disk: collector('disk', NO_DISKS, (elapsedS) => disk.collect(elapsedS)),
      network: collector('network', NO_NETWORK, (elapsedS) => network.collect(elapsedS)),
      pressure: collector('pressure', NO_PRESSURE, (elapsedS) => pressure.collect(elapsedS)),
      frequency: collector('frequency', NO_FREQUENCIES, () => frequency.collect(this.#cpus.keys())),
      gpu: collector('gpu', NO_GPUS, () => gpu?.collect() ?? NO_GPUS),
      ingress: collector('ingress', NO_INGRESS, (elapsedS) => this.#ingress.collect(this.#rows, elapsedS)),
      channelPressure: collector('channel_pressure', NO_PRESSURES, () => this.#pressures.collect()),
      processes: new Collector(
        'processes',
        NO_PROCESSES,
        (elapsedS) => this.#processes.collect(this.#read(), elapsedS, this.#factsOf),
        needed,
      ),
    };
  }

  #cpus: ReadonlyMap<number, CpuUse> = NO_CPUS;
  #factsOf: (pid: number) => ProcessFacts = () => ({ ingress: undefined, pressure: undefined });

  track(pid: number): void {
    this.#ingress.track(pid);
    this.#pressures.track(pid);
  }

  untrack(pid: number): void {
    this.#ingress.untrack(pid);
    this.#pressures.untrack(pid);
  }

  told(pid: number, inputs: HeldInputs): void {
    this.#ingress.told(pid, inputs);
  }

  threads(pid: number): ThreadSample[] {
    return this.#processes.threads(pid);
  }

  collect(elapsedS: number) {
    const all = this.#all;
    all.sampler.run(elapsedS);
    this.#cpus = all.cpu.run(elapsedS);
    const ingress = all.ingress.run(elapsedS);
    const pressures = all.channelPressure.run(elapsedS);
    this.#factsOf = (pid) => ({ ingress: ingress.byPid.get(pid), pressure: pressures.get(pid) });
    return {
      cpus: this.#cpus,
      load: all.load.run(elapsedS),
      memory: all.memory.run(elapsedS),
      paging: all.paging.run(elapsedS),
      disks: all.disk.run(elapsedS),
      network: all.network.run(elapsedS),
      pressure: all.pressure.run(elapsedS),
      frequencyHz: all.frequency.run(elapsedS),
      gpus: all.gpu.run(elapsedS),
      queueDatagrams: ingress.queueDatagrams,
      processes: all.processes.run(elapsedS),
    };
  }

  metrics(): CollectorMetrics[] {
    return Object.values(this.#all).map((collector) => collector.metrics());
  }

  get droppedDatagrams(): number {
    return this.#ingress.droppedDatagrams;
  }

  close(): void {
    for (const file of this.#files) file.close();
  }

  #sample(sampler: ProcSampler, threads: number): undefined {
    this.#rows = undefined;
    try {
      this.#rows = sampler.sample(threads);
    } catch (error) {
      this.#rowsError = error;
      throw error;
    }
  }

  #read(): ProcSample {
    if (this.#rows === undefined) throw this.#rowsError;
    return this.#rows;
  }
}

const NO_CPUS: ReadonlyMap<number, CpuUse> = new Map();
const NO_DISKS: ReadonlyMap<string, DiskUse> = new Map();
const NO_FREQUENCIES: ReadonlyMap<number, number> = new Map();
const NO_GPUS: readonly GpuUse[] = [];
const NO_PRESSURES: ReadonlyMap<number, Pressure> = new Map();
const NO_PROCESSES: ReadonlyMap<number, ProcessSample> = new Map();
