import { type ChildProcess, spawn } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { expect, onTestFinished } from 'vitest';
import type { Decision } from '../../src/balancer/decision.js';
import { configSchema } from '../../src/config/schema.js';
import type { Forecast, Forecaster, HostState } from '../../src/forecast/forecast.js';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { silentLog } from '../../src/lib/log.js';
import { hostAddon } from '../../src/lib/native.js';
import { createPinning } from '../../src/pinning/affinity.js';
import { createSignals } from '../../src/pinning/signals.js';
import type { ReservationDeps } from '../../src/reservation/deps.js';
import type { Ledger } from '../../src/reservation/ledger.js';
import { type LedgerOptions, openLedger } from '../../src/reservation/ledger-open.js';
import { occupancyOf } from '../../src/reservation/occupancy.js';
import { RESERVATION_STATES } from '../../src/reservation/reservation.js';
import { createReservations, type Reservations } from '../../src/reservation/reservations.js';
import { type Scheduler, systemScheduler } from '../../src/reservation/scheduler.js';
import type { Peer, ReservationEvent, ReserveCall } from '../../src/rpc/control.js';
import type { Topology } from '../../src/topology/topology.js';
import { temporaryDirectory } from './ledger-records.js';
import { topologyOf } from './topology-of.js';

export const ME: Peer = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, pid: process.pid };
export const STRANGER: Peer = { uid: 65_534, gid: 65_534, pid: 1 };

const IDLE: HostState = {
  busy: 0,
  coreSpread: 0,
  busiestCore: 0.1,
  memoryUsed: 0.1,
  diskBusy: 0,
  ingressBps: 0,
  queueLength: 0,
  cpuPressure: 0,
  channels: 0,
  reserved: 0,
};

export interface World {
  readonly directory: string;
  readonly ledger: Ledger;
  readonly report: string[];
  readonly reservations: Reservations;
  readonly events: ReservationEvent[];
  readonly decisions: Map<string, Decision>;
  readonly deps: ReservationDeps;
  /** What tests may turn while the world runs. */
  readonly knobs: {
    topology: Topology;
    limits: ReservationDeps['limits'];
    closedReason: string;
    decisionsFail: boolean;
  };
  /** Every invariant that must hold between any two calls. */
  check(): void;
  /** As kill -9 leaves it: no stop, no close; give the next life a copy of the directory. */
  stop(): Promise<void>;
}

/** CPUs that no other process of this machine is on: never really pinned to, only reserved. */
export function hostOf(cpus: number): Topology {
  return topologyOf(Array.from({ length: cpus }, (_, cpu) => ({ cpus: [cpu], l3: cpu >> 2 })));
}

/** The CPUs that this process may really use, for tests that pin. */
export function realHost(): Topology {
  return topologyOf(
    hostAddon()
      .getThreadAffinity(0)
      .map((cpu) => ({ cpus: [cpu] })),
  );
}

/** A reservation system on a real ledger. What a channel needs is its input's fps, read as thousandths of a core. */
export async function world(
  options: {
    directory?: string;
    cpus?: number;
    time?: Clock & Scheduler;
    config?: object;
    createStore?: LedgerOptions['createStore'];
    deps?: Partial<ReservationDeps>;
    ids?: string;
  } = {},
): Promise<World> {
  const directory = options.directory ?? temporaryDirectory();
  const time = options.time;
  const clock: Clock = time ?? systemClock;
  const scheduler: Scheduler = time ?? systemScheduler;
  // Without headroom a channel takes what it needs, and the tests can count.
  const config = configSchema.parse({ limits: { headroom: 0, host_load: 1 }, ...options.config });
  const { ledger, report } = await openLedger({
    directory,
    clock,
    keepEndedMs: () => config.leases.keep_ended_ms,
    ...(options.createStore === undefined ? {} : { createStore: options.createStore }),
  });
  const decisions = new Map<string, Decision>();
  const addon = hostAddon();
  let ids = 0;
  const knobs: World['knobs'] = {
    topology: hostOf(options.cpus ?? 4),
    limits: () => config.limits,
    closedReason: '',
    decisionsFail: false,
  };
  const deps: ReservationDeps = {
    ledger,
    clock,
    scheduler,
    log: silentLog,
    pinning: createPinning({ addon }),
    signals: createSignals(addon),
    exits: { watch: ({ pid, startTicks }, onExit) => addon.watchExit(pid, startTicks, onExit) },
    processUid: (pid) => addon.processUid(pid),
    processStartTicks: (pid) => addon.startTicks(pid),
    bootId: 'a boot',
    forecaster: demandOfFps,
    topology: () => knobs.topology,
    host: () => ({ window: [IDLE], now: IDLE, memory: { availableBytes: 8e9, totalBytes: 16e9 } }),
    limits: () => knobs.limits(),
    leases: () => config.leases,
    preemption: () => config.preemption,
    smtCoreMilli: () => config.cpus.smt_core_milli,
    closedReason: () => knobs.closedReason,
    history: {
      async putDecision(decision) {
        if (knobs.decisionsFail) throw new Error('the history is full');
        decisions.set(decision.id, decision);
      },
      async decision(by) {
        return 'decisionId' in by ? decisions.get(by.decisionId) : undefined;
      },
    },
    newId: () => `${options.ids ?? 'r'}${String(++ids).padStart(5, '0')}`,
    ...options.deps,
  };
  const reservations = createReservations(deps);
  const events: ReservationEvent[] = [];
  reservations.watch((event) => events.push(event));
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await reservations.stop();
    await ledger.close();
  };
  onTestFinished(stop);
  return {
    directory,
    ledger,
    report,
    reservations,
    events,
    decisions,
    deps,
    knobs,
    check: () => checkInvariants(reservations, knobs.topology),
    stop,
  };
}

export function checkInvariants(reservations: Reservations, topology: Topology): void {
  for (const [cpu, milli] of reservations.occupancy().milli) {
    expect(milli, `CPU ${cpu} promised`).toBeLessThanOrEqual(1000);
    expect(topology.schedulable).toContain(cpu);
  }
  const list = reservations.list(true);
  expect(new Set(list.map(({ id }) => id)).size).toBe(list.length);
  for (const reservation of list) {
    const { state, cpus, process } = reservation;
    expect(RESERVATION_STATES).toContain(state);
    expect(cpus.length > 0).toBe(['PENDING', 'ACTIVE', 'ORPHANED'].includes(state));
    if (state !== 'QUEUED')
      expect(process !== undefined).toBe(['ACTIVE', 'ORPHANED', 'PAUSED'].includes(state));
  }
  const durable = occupancyOf(list, topology);
  for (const [cpu, milli] of durable.milli) {
    expect(reservations.occupancy().milli.get(cpu) ?? 0).toBeGreaterThanOrEqual(milli);
  }
}

let keys = 0;

export function call(milli: number, fields: Partial<ReserveCall> = {}): ReserveCall {
  return {
    name: `needs ${milli}`,
    signature: {
      input: { codec: 'h264', width: 1280, height: 720, fps: milli, bitrateBps: 4e6, bitDepth: 8 },
      outputs: [
        {
          encoder: 'libx264',
          preset: 'veryfast',
          width: 1280,
          height: 720,
          fps: 25,
          rate: { bitrateBps: 2e6 },
          bitDepth: 8,
          options: {},
        },
      ],
      complexity: {},
    },
    channelClass: 'live',
    priority: 50,
    exclusive: false,
    cpuCount: 0,
    waitMs: 0,
    startTimeoutMs: 0,
    idempotencyKey: `key-${++keys}`,
    ladderRungs: 2,
    ...fields,
  };
}

export const FOREVER = new AbortController().signal;
// A hundred calls listen to it at once, on purpose.
setMaxListeners(0, FOREVER);

/** A real process of this test's user that does nothing until it is ended. */
export function sleeper(): {
  ref: { pid: number; startTicks: number };
  child: ChildProcess;
  end(): Promise<void>;
} {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(end);
  const pid = child.pid!;
  return { ref: { pid, startTicks: hostAddon().startTicks(pid) }, child, end };
}

/** Stands for the model: tests are about reservations, so they say what a channel needs. */
const demandOfFps: Forecaster = {
  async forecast({ signature, candidates }) {
    const cores = signature.input.fps / 1000;
    return candidates.map(
      (cpuCount): Forecast => ({
        source: 'cost_table',
        modelId: '',
        cpuCount,
        horizons: [
          [0, 10],
          [10, 60],
          [60, 300],
        ].map(([fromS, toS]) => ({
          fromS: fromS!,
          toS: toS!,
          demand: { q50: cores, q90: cores, q99: cores },
          coreUsage: Array.from({ length: cpuCount }, () => ({
            q50: cores / cpuCount,
            q90: cores / cpuCount,
            q99: cores / cpuCount,
          })),
          hostLoad: { q50: 0.1, q90: 0.1, q99: 0.1 },
        })),
        notes: [],
      }),
    );
  },
};
