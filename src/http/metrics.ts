import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Outcome, ReasonCode } from '../balancer/decision.js';
import type { ForecastSource } from '../forecast/forecast.js';
import type { PinningBackend } from '../pinning/pinning.js';
import { RESERVATION_STATES, type ReservationState } from '../reservation/reservation.js';
import { type CalibrationSource, registerCalibration } from './calibration-metrics.js';
import { type MonitorSource, registerMonitor } from './monitor-metrics.js';

/** What is asked of the daemon at each scrape, so that it is never older than that. */
export interface GaugeSource extends CalibrationSource, MonitorSource {
  reservations(): Iterable<{ readonly state: ReservationState }>;
  /** Thousandths of a CPU that are reserved, and that may be. */
  reservedMilli(): { reserved: number; schedulable: number };
  /** Busy share 0-1 of the schedulable CPUs; undefined before the first tick. */
  hostBusy(): number | undefined;
  /** CPU use of all channels, cores; undefined before the first tick. */
  channelCores(): number | undefined;
  /** The model in use; undefined for none. */
  model(): { id: string; origin: string; trainedMs: number } | undefined;
  admissionOpen(): boolean;
  pinning(): PinningBackend;
}

/** What the daemon tells as it happens. */
export interface Metrics {
  /** One admission decision; `reasons` are the checks that stood against it. */
  decided(outcome: Outcome, reasons: readonly ReasonCode[]): void;
  /** From the call's arrival to the durable answer, without the time in the queue. */
  reserved(seconds: number): void;
  forecast(source: ForecastSource): void;
  repairedThreads(count: number): void;
  /** A step in the life of the models: "trained", "promoted", "rolled_back", ... */
  modelStep(kind: string): void;
  missedTicks(count: number): void;
  droppedSamples(count: number): void;
  call(call: { method: string; code: string; seconds: number }): void;
}

/** Registers every metric of the daemon. Names end in their unit, https://prometheus.io/docs/practices/naming/. */
export function createMetrics(registry: Registry, source: GaugeSource, version: string): Metrics {
  registerGauges(registry, source, version);
  registerCalibration(registry, source);
  registerMonitor(registry, source);
  const registers = [registry];
  const decisions = new Counter({
    name: 'corecast_decisions_total',
    help: 'Admission decisions by outcome; `reason` is each check that stood against it, or FITS',
    labelNames: ['outcome', 'reason'],
    registers,
  });
  const reserve = new Histogram({
    name: 'corecast_reserve_duration_seconds',
    help: 'From the arrival of a Reserve call to its durable answer, time in the queue excluded',
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
    registers,
  });
  const forecasts = new Counter({
    name: 'corecast_forecasts_total',
    help: 'Forecasts by the step of the fallback chain that made them',
    labelNames: ['source'],
    registers,
  });
  const modelSteps = new Counter({
    name: 'corecast_model_steps_total',
    help: 'Trainings, trials, promotions and rollbacks of models since the start; `corecast models history` tells why',
    labelNames: ['step'],
    registers,
  });
  const repaired = new Counter({
    name: 'corecast_repaired_threads_total',
    help: 'Threads that had left their reservation and were brought back',
    registers,
  });
  const missed = new Counter({
    name: 'corecast_monitor_missed_ticks_total',
    help: 'Sampling ticks that came too late to be taken',
    registers,
  });
  const dropped = new Counter({
    name: 'corecast_history_dropped_samples_total',
    help: 'Samples that the history could not store',
    registers,
  });
  const calls = new Counter({
    name: 'corecast_rpc_calls_total',
    help: 'Finished gRPC calls by method and status',
    labelNames: ['method', 'code'],
    registers,
  });
  const callSeconds = new Histogram({
    name: 'corecast_rpc_duration_seconds',
    help: 'Duration of gRPC calls, time in the queue included; streams count from open to end',
    labelNames: ['method'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
    registers,
  });
  return {
    decided: (outcome, reasons) => {
      const labels = reasons.length === 0 ? (['FITS'] as const) : reasons;
      for (const reason of labels) decisions.inc({ outcome, reason });
    },
    reserved: (seconds) => reserve.observe(seconds),
    forecast: (from) => forecasts.inc({ source: from }),
    repairedThreads: (count) => repaired.inc(count),
    modelStep: (step) => modelSteps.inc({ step }),
    missedTicks: (count) => missed.inc(count),
    droppedSamples: (count) => dropped.inc(count),
    call: ({ method, code, seconds }) => {
      calls.inc({ method, code });
      callSeconds.observe({ method }, seconds);
    },
  };
}

function registerGauges(registry: Registry, source: GaugeSource, version: string): void {
  const gauge = (name: string, help: string, read: () => number | undefined) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  new Gauge({
    name: 'corecast_reservations',
    help: 'Reservations in the ledger by state',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const counts = new Map<ReservationState, number>(RESERVATION_STATES.map((state) => [state, 0]));
      for (const { state } of source.reservations()) counts.set(state, (counts.get(state) ?? 0) + 1);
      for (const [state, count] of counts) this.set({ state }, count);
    },
  });
  new Gauge({
    name: 'corecast_model_info',
    help: '1 for the model in use',
    labelNames: ['id', 'origin'],
    registers: [registry],
    collect() {
      this.reset();
      const model = source.model();
      if (model !== undefined) this.set({ id: model.id, origin: model.origin }, 1);
    },
  });
  new Gauge({
    name: 'corecast_build_info',
    help: '1, with the version of the daemon',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1);
  new Gauge({
    name: 'corecast_pinning_info',
    help: '1 for how channels are held on their CPUs: by a cpuset of their own where they have one, or by affinity',
    labelNames: ['backend'],
    registers: [registry],
  }).set({ backend: source.pinning().kind }, 1);
  gauge('corecast_channels_own_cpusets', 'Channels that have a cgroup cpuset of their own', () => {
    return source.pinning().ownCpusets;
  });
  gauge('corecast_model_trained_timestamp_seconds', 'When the model in use was trained', () => {
    const trainedMs = source.model()?.trainedMs;
    return trainedMs === undefined ? undefined : trainedMs / 1000;
  });
  gauge('corecast_reserved_cpu_thousandths', 'Thousandths of a CPU that are reserved', () => {
    return source.reservedMilli().reserved;
  });
  gauge('corecast_schedulable_cpu_thousandths', 'Thousandths of a CPU that may be reserved', () => {
    return source.reservedMilli().schedulable;
  });
  gauge('corecast_host_busy_ratio', 'Busy share of the schedulable CPUs', () => source.hostBusy());
  gauge('corecast_channels_cpu_cores', 'CPU use of all channels, in cores', () => source.channelCores());
  gauge('corecast_admission_open', '1 while new channels may be accepted', () =>
    Number(source.admissionOpen()),
  );
  gauge('corecast_process_resident_memory_bytes', "The daemon's resident memory", () =>
    process.memoryUsage.rss(),
  );
  new Counter({
    name: 'corecast_process_cpu_seconds_total',
    help: 'CPU time of the daemon since its start',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
