import { configSchema } from '../../../src/config/schema.js';
import type { Forecast } from '../../../src/forecast/forecast.js';
import { isCorecastError } from '../../../src/lib/errors.js';
import { silentLog } from '../../../src/lib/log.js';
import type { HostAddon } from '../../../src/lib/native.js';
import { createPinning } from '../../../src/pinning/affinity.js';
import type { Pinning } from '../../../src/pinning/pinning.js';
import { createSignals } from '../../../src/pinning/signals.js';
import type { Ledger } from '../../../src/reservation/ledger.js';
import { openLedger } from '../../../src/reservation/ledger-open.js';
import type { LedgerStore } from '../../../src/reservation/ledger-store.js';
import { createReservations, type Reservations } from '../../../src/reservation/reservations.js';
import type { SimulatedDisk } from './disk.js';
import type { KernelCalls, SimulatedKernel } from './kernel.js';
import { Killed, type Life } from './life.js';
import type { Machine } from './machine.js';
import type { Timeline } from './timeline.js';

/** Without headroom a channel takes what it needs. Short leases: a run is a minute long. */
export const CONFIG = configSchema.parse({
  limits: { headroom: 0, host_load: 1, queue: 4 },
  preemption: { pause_ms: 1_000 },
  leases: { start_timeout_ms: 6_000, lease_ms: 5_000, keep_ended_ms: 60_000 },
});
const TICK_MS = 1_000;

/** What a test may put between the daemon and the world, to see that the simulator notices. */
export interface Boundaries {
  store?(store: LedgerStore, timeline: Timeline): LedgerStore;
  kernel?(calls: KernelCalls): KernelCalls;
  /** The same after each reboot. */
  readonly bootId?: string;
}

export interface Host {
  /** How long an ORPHANED process keeps its CPUs; 0: until it ends. */
  readonly graceMs: number;
  /** How VOD gives way. */
  readonly vod: 'pause' | 'requeue';
  /** An empty directory that nothing is written to: the ledger looks there for what LevelDB leaves beside its tables. */
  readonly directory: string;
  readonly timeline: Timeline;
  readonly disk: SimulatedDisk;
  readonly kernel: SimulatedKernel;
  readonly machine: Machine;
  readonly boundaries: Boundaries;
}

export interface Serving {
  readonly life: Life;
  readonly ledger: Ledger;
  readonly reservations: Reservations;
  /** What the ledger's opening and the comparison with the kernel found. */
  readonly report: readonly string[];
}

/** One start of the real reservation system in the simulated world, up to the moment at which it serves. */
export async function start(host: Host, life: Life, onOpen: (ledger: Ledger) => void): Promise<Serving> {
  const { timeline, disk, kernel, machine, boundaries } = host;
  const { ledger, report } = await openLedger({
    directory: host.directory,
    clock: timeline,
    keepEndedMs: () => CONFIG.leases.keep_ended_ms,
    createStore: () => boundaries.store?.(disk.store(life), timeline) ?? disk.store(life),
  });
  onOpen(ledger);
  const own = kernel.calls(life);
  const calls = boundaries.kernel?.(own) ?? own;
  // Cgroups have no part in this world, and this host's are not to have one.
  const roots = { procRoot: host.directory, sysRoot: host.directory, runRoot: host.directory };
  const pinning = createPinning({ ...roots, addon: calls as unknown as HostAddon });
  const leases = { ...CONFIG.leases, orphan_grace_ms: host.graceMs };
  let ids = 0;
  const scheduler = {
    setTimer: (delayMs: number, run: () => void) =>
      timeline.after(delayMs, () => {
        if (life.crosses()) run();
      }),
  };
  const reservations = createReservations({
    ledger,
    clock: timeline,
    scheduler,
    log: silentLog,
    pinning,
    signals: createSignals(calls, (pid, signal) => calls.kill(pid, signal)),
    exits: { watch: ({ pid, startTicks }, onExit) => calls.watchExit(pid, startTicks, onExit) },
    processUid: (pid) => calls.processUid(pid),
    processStartTicks: (pid) => calls.startTicks(pid),
    bootId: boundaries.bootId ?? kernel.bootId,
    forecaster: {
      forecast: async ({ signature, candidates }) =>
        candidates.map((cpuCount) => forecastOf(signature.input.fps, cpuCount)),
    },
    topology: () => machine.topology,
    host: () => ({ window: [], now: undefined, memory: undefined }),
    limits: () => CONFIG.limits,
    leases: () => leases,
    preemption: () => ({ ...CONFIG.preemption, vod: host.vod }),
    smtCoreMilli: () => CONFIG.cpus.smt_core_milli,
    closedReason: () => '',
    history: { putDecision: async () => {}, decision: async () => undefined },
    newId: () => `${life.number}-${++ids}`,
  });
  const lines = await reservations.reconcile();
  const tick = () => {
    look(reservations, pinning);
    scheduler.setTimer(TICK_MS, tick);
  };
  scheduler.setTimer(TICK_MS, tick);
  return { life, ledger, reservations, report: [...report, ...lines] };
}

/** What the daemon does each second: whoever left the reserved CPUs is brought back. */
function look(reservations: Reservations, pinning: Pinning): void {
  for (const { id, process } of reservations.list(false)) {
    const cpus = reservations.confinedTo(id);
    if (process === undefined || cpus.length === 0) continue;
    try {
      pinning.repair(process, cpus);
    } catch (error) {
      // Its end is on its way, or the kernel refuses: the next tick tries again. Anything else is a defect.
      if (!isCorecastError(error) && !(error instanceof Killed)) throw error;
    }
  }
}

const forecasts = new Map<number, Forecast>();

/** Stands for the model: what a channel needs is its input's fps, read as thousandths of a core. */
function forecastOf(milli: number, cpuCount: number): Forecast {
  const key = milli * 1_000 + cpuCount;
  let forecast = forecasts.get(key);
  if (forecast === undefined) {
    const all = (value: number) => ({ q50: value, q90: value, q99: value });
    const cores = milli / 1_000;
    const coreUsage = Array.from({ length: cpuCount }, () => all(cores / cpuCount));
    const horizon = { fromS: 0, toS: 300, demand: all(cores), coreUsage, hostLoad: all(0.1) };
    forecast = { source: 'cost_table', modelId: '', cpuCount, horizons: [horizon], notes: [] };
    forecasts.set(key, forecast);
  }
  return forecast;
}
