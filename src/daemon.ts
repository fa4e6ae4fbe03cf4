import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, hostname, uptime } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { createAdjuster, sharingRule } from './adjusting.js';
import { Channels } from './channels.js';
import { reloaded } from './config/reload.js';
import type { Config } from './config/schema.js';
import { createControl } from './control.js';
import { decisionAgain } from './decision-again.js';
import { CommonError } from './feedback/common-error.js';
import { Learning } from './feedback/learning.js';
import { createRecorder } from './feedback/recorder.js';
import { createForecaster } from './forecast/forecaster.js';
import { openRegistry } from './forecast/registry.js';
import type { Run } from './history/records.js';
import { openHistory } from './history/store.js';
import { channelCores, followHost } from './host-now.js';
import { HostTopology } from './host-topology.js';
import { createMetrics } from './http/metrics.js';
import { startHttpServer } from './http/server.js';
import { carryTotals } from './http/totals.js';
import { systemClock } from './lib/clock.js';
import { messageOf } from './lib/errors.js';
import { shortIds } from './lib/ids.js';
import type { HostAddon, TcpReader } from './lib/native.js';
import { sum } from './lib/sum.js';
import { type Inventory, readInventory } from './monitor/inventory.js';
import { createMonitor, type MonitorPace } from './monitor/monitor.js';
import { cpuSecondsOf } from './monitor/process-cpu.js';
import { IngressReports } from './monitor/reported-ingress.js';
import { createHostPinning } from './pinning/backend.js';
import { LivePriority } from './pinning/live-priority.js';
import { isSame } from './pinning/same-process.js';
import { createSignals } from './pinning/signals.js';
import { openLedger } from './reservation/ledger-open.js';
import { createReservations } from './reservation/reservations.js';
import { systemScheduler } from './reservation/scheduler.js';
import { ProgressFiles } from './rpc/progress-files.js';
import { startRpcServer } from './rpc/server.js';
import { groupId, takeInheritedSocket } from './rpc/unix-socket.js';
import { tellSystemd } from './systemd.js';
import { describeTopology } from './topology/describe.js';

export interface DaemonOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly version: string;
  readonly addon: HostAddon;
}

export interface Daemon {
  /** Applies what a new configuration changes in sections that need no restart (config/reload.ts). */
  reload(config: Config): void;
  /** Running channels go on; what became of them meanwhile is found out by the next start. */
  stop(): Promise<void>;
}

const PROC = '/proc';
const SYS = '/sys';
const BASELINE = fileURLToPath(new URL('../models/baseline', import.meta.url));
const STOP_GRACE_MS = 2_000;
const COUNT_EVERY_MS = 5_000;
const INVENTORY_AFTER_MS = 2_000;

/**
 * The composition root: every part is built here by its constructor, started in the order of the control loop and
 * stopped in reverse. What a part needs of another is handed in; nobody looks anything up.
 */
export async function startDaemon({ config: initial, log, version, addon }: DaemonOptions): Promise<Daemon> {
  let config = initial;
  const clock = systemClock;
  const stateDir = config.daemon.state_dir;
  const closers: (() => Promise<void> | void)[] = [];
  const say = (part: string) => (line: string) => log.warn({ part }, line);

  const host = new HostTopology({
    sysRoot: SYS,
    procRoot: PROC,
    allowed: () => addon.getThreadAffinity(0),
    config: () => config,
    log,
  });
  const topology = () => host.topology;

  try {
    // Stores
    const { ledger, report } = await openLedger({
      directory: join(stateDir, 'ledger'),
      clock,
      keepEndedMs: () => config.leases.keep_ended_ms,
      // Calls that arrived together are written together.
      gather: () => setImmediate(),
    });
    closers.push(() => ledger.close());
    report.forEach(say('ledger'));
    const opened = await openHistory({ dir: join(stateDir, 'history'), clock, config: config.history, log });
    const { history } = opened;
    closers.push(() => history.close());
    opened.report.forEach(say('history'));

    // Forecast
    const registry = await openRegistry({ directory: join(stateDir, 'models'), baseline: BASELINE, clock });
    closers.push(() => registry.close());
    registry.problems().forEach(say('models'));
    const inUse = registry.inUse()?.card;
    if (inUse === undefined)
      log.warn({ part: 'models' }, 'no model is in use; forecasts come from the fallbacks');
    else log.info({ part: 'models', model: inUse.id, origin: inUse.origin }, 'the model in use');
    const forecaster = await createForecaster({
      registry,
      history,
      clock,
      timeoutMs: config.forecast.timeout_ms,
      log,
    });
    closers.push(() => forecaster.close());

    // Monitor
    const ingress = new IngressReports(() => clock.nowMs());
    const monitor = createMonitor({
      sampler: addon.openSampler(PROC),
      tcp: tcpReader(addon, log),
      gpu: config.monitor.nvml_library === '' ? undefined : addon.openGpuReader(config.monitor.nvml_library),
      procRoot: PROC,
      sysRoot: SYS,
      clock,
      schedulable: () => topology().schedulable,
      gauges: {
        channels: () => active().length,
        queued: () => reservations.queued(),
        reserved: () => reservedMilli() / Math.max(1, topology().schedulable.length * 1000),
        reportedIngress: () => ingress.totals(),
        reportedIngressOf: (pid) => ingress.bpsOf(channels.idOf(pid)),
      },
      ...paceOf(config),
      log,
    });

    const measured = new Promise<void>((resolve) => {
      const forget = monitor.onTick(() => {
        forget();
        resolve();
      });
    });

    const hostNow = followHost(monitor, () => topology().schedulable.length);

    // Reservations
    let overload = '';
    const pinning = createHostPinning({
      addon,
      backend: config.pinning.backend,
      procRoot: PROC,
      sysRoot: SYS,
      onWithout: ({ pid }, why) =>
        log.warn({ part: 'pinning', pid }, `a channel has no cpuset of its own: ${why}`),
    });
    log.info({ part: 'pinning', backend: pinning.backend().kind }, pinning.backend().reason);
    const commonError = new CommonError();
    const reservations = createReservations({
      ledger,
      clock,
      scheduler: systemScheduler,
      log,
      pinning,
      signals: createSignals(addon),
      exits: { watch: ({ pid, startTicks }, onExit) => addon.watchExit(pid, startTicks, onExit) },
      processUid: (pid) => addon.processUid(pid),
      processStartTicks: (pid) => addon.startTicks(pid),
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      forecaster,
      topology,
      host: hostNow,
      limits: () => config.limits,
      leases: () => config.leases,
      preemption: () => config.preemption,
      smtCoreMilli: () => config.cpus.smt_core_milli,
      sharing: () => sharingRule(config.sharing, commonError.deviation),
      seen: (id) => adjuster.seen(id),
      closedReason: () => overload,
      history: {
        decision: (by) => history.decision(by),
        putDecision: (decision) => {
          metrics.decided(
            decision.outcome,
            decision.reasons.filter(({ passed }) => !passed).map(({ code }) => code),
          );
          metrics.forecast(decision.forecast.source);
          learning.admitted(decision, monitor.window());
          return history.putDecision(decision);
        },
      },
      newId: shortIds(() => clock.nowMs(), randomBytes),
    });
    const active = () =>
      reservations.list(false).filter(({ process, cpus }) => process !== undefined && cpus.length > 0);
    const reservedMilli = () => sum(reservations.occupancy().milli.values());

    const livePriority = new LivePriority({
      nice: () => config.pinning.live_nice,
      sameProcess: (process) => isSame(addon, process),
      onRefused: (why) => log.warn({ part: 'pinning' }, `live channels keep the priority they have: ${why}`),
    });
    reservations.watch(({ event, reservation: { channelClass, process } }) => {
      if (event === 'attached' && channelClass === 'live' && process !== undefined)
        livePriority.attached(process);
    });
    monitor.onTick(() => livePriority.tick());

    // Channels
    const recorder = createRecorder({
      history,
      clock,
      schedulableCpus: () => topology().schedulable.length,
      processAgeS: ({ startTicks }) => uptime() - startTicks / addon.clockTicksPerSecond(),
      processCpuSeconds: ({ pid }) => cpuSecondsOf(PROC, pid, addon.clockTicksPerSecond()),
      onHorizonObserved: (observed) => {
        const { signature, forecast, horizon, demandCores, source } = observed;
        forecaster.observe(signature, forecast, horizon, demandCores, source);
        learning.observed(observed);
        commonError.add(observed);
      },
    });
    const adjuster = createAdjuster({
      clock,
      log,
      config: () => config,
      topology,
      active,
      reservations,
      recorder,
      forecaster,
      monitor,
      overloaded: (reason) => {
        overload = reason;
      },
    });
    const learning = new Learning({
      directory: join(stateDir, 'models'),
      registry,
      history,
      forecaster,
      clock,
      log,
      config: () => config.training,
      host: () => ({
        admissionClosed: overload,
        busy: monitor.latest()?.state.busy,
        queued: reservations.queued(),
        starting: reservations.list(false).filter(({ state }) => state === 'PENDING').length,
      }),
      housekeeping: () => topology().housekeeping,
      schedulableCpus: () => topology().schedulable.length,
      onStep: (kind) => metrics.modelStep(kind),
      onTrainer: (pid) => monitor.background(pid === undefined ? undefined : named(addon, pid)),
    });
    const learn = (run: Run) => {
      learning.onRun(run);
      forecaster
        .learn(run)
        .catch((error) => log.warn({ run: run.id, error: messageOf(error) }, 'a run was not learnt'));
    };
    const progressFiles = new ProgressFiles(config.daemon.socket, clock, log);
    const channels = new Channels({
      progressFiles,
      reservations,
      monitor,
      recorder,
      pinning,
      adjuster,
      history,
      log,
      decisionAgain: (reservation) =>
        decisionAgain(
          {
            ...{ forecaster, measured },
            window: () => monitor.window(),
            schedulableCpus: () => topology().schedulable.length,
            requestOf: (id) => reservations.requestOf(id),
            forecastCpus: (id) => reservations.forecastCpus(id),
          },
          reservation,
        ),
      onRun: learn,
      onDrift: (reservation, { cause, text }, repaired) => {
        metrics.repairedThreads(repaired);
        const done = repaired > 0 ? `${repaired} brought back` : 'not repaired';
        log.warn({ id: reservation.id, cause, repaired }, `threads had left their CPUs: ${text}; ${done}`);
        reservations.announce(reservation, repaired > 0 ? 'repaired' : 'squeezed', text);
      },
    });

    // What people see
    let inventory: Pick<Inventory, 'hostname' | 'cpuModel'> = {
      hostname: hostname(),
      cpuModel: cpus()[0]?.model ?? 'unknown',
    };
    const registered = new Registry();
    const metrics = createMetrics(
      registered,
      {
        reservations: () => reservations.list(true),
        reservedMilli: () => ({
          reserved: reservedMilli(),
          schedulable: topology().schedulable.length * 1000,
        }),
        hostBusy: () => monitor.latest()?.state.busy,
        channelCores: () => {
          const sample = monitor.latest();
          return sample && channelCores(sample);
        },
        model: () => registry.inUse()?.card,
        admissionOpen: () => overload === '',
        pinning: () => pinning.backend(),
        coverage: () => forecaster.coverage(),
        drift: () => forecaster.drift(),
        sample: () => monitor.latest(),
        monitorMetrics: () => monitor.metrics(),
      },
      version,
    );
    const control = createControl({
      clock,
      version,
      inventory: () => inventory,
      reservations,
      pinning,
      channels,
      recorder,
      monitor,
      history,
      forecaster,
      learning,
      ingress,
      measured,
      topology,
      speedFactor: () => forecaster.speedFactor().costTable,
      closedReason: () => overload,
      onRun: learn,
      onReserved: (seconds) => metrics.reserved(seconds),
      onRungFailed: (id, rung) => adjuster.rungFailed(id, rung),
    });

    // Start, in the order of the loop; serve last
    monitor.start();
    closers.push(() => monitor.stop());
    for (const line of await reservations.reconcile()) log.info({ part: 'reservations' }, line);
    closers.push(() => reservations.stop());
    channels.resume();
    monitor.onTick(() => learning.onTick());
    monitor.onTick(() => {
      if (host.follow()) reservations.capacityChanged();
    });
    closers.push(() => channels.stop());
    const keepCounts = setInterval(
      carryTotals(metrics, {
        missedTicks: () => monitor.metrics().missedTicks,
        droppedSamples: () => history.metrics().samplesDropped,
      }),
      COUNT_EVERY_MS,
    ).unref();
    closers.push(() => clearInterval(keepCounts));
    await learning.life.readSteps();
    const inheritedFd = takeInheritedSocket(process.env, process.pid);
    progressFiles.prepare(socketGroup(config));
    const rpc = await startRpcServer({
      control,
      config,
      addon,
      log,
      clock,
      procRoot: PROC,
      ...(inheritedFd === undefined ? {} : { inheritedFd }),
      onCall: (call) => metrics.call(call),
    });
    closers.push(() => rpc.stop(STOP_GRACE_MS));
    const http = await startHttpServer({
      address: config.daemon.http_address,
      registry: registered,
      control,
      ailments: () => (monitor.latest() === undefined ? ['the monitor has no sample yet'] : []),
      clock,
      log,
    });
    closers.push(() => http?.stop());
    closers.push(tellSystemd(addon, log));
    log.info({ addresses: rpc.addresses, http: http?.address, version }, 'serving');
    closers.push(() => learning.stop());
    learning.start().catch((error) => log.error({ err: error }, 'the learning did not start'));
    // Asks programs that may take seconds: nobody waits for them, and the first callers come before them.
    const askLater = setTimeout(() => {
      readInventory().then(
        (found) => {
          inventory = found;
        },
        (error) => log.warn({ error: messageOf(error) }, 'the inventory could not be read'),
      );
    }, INVENTORY_AFTER_MS).unref();
    closers.push(() => clearTimeout(askLater));

    return {
      reload(next) {
        // First, because it throws: a configuration is applied whole or not at all.
        host.read(next);
        const { config: after, waiting } = reloaded(config, next);
        config = after;
        monitor.setPace(paceOf(config));
        reservations.capacityChanged();
        log.info({ part: 'config' }, `configuration applied; ${describeTopology(topology())}`);
        if (waiting.length > 0)
          log.warn({ part: 'config', sections: waiting }, 'changes in these sections wait for a restart');
      },
      stop: () => closeAll(closers, log),
    };
  } catch (error) {
    await closeAll(closers, log);
    throw error;
  }
}

/** In reverse; one that fails does not keep the others open. */
async function closeAll(closers: (() => Promise<void> | void)[], log: Logger): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    try {
      await close();
    } catch (error) {
      log.error({ err: error }, 'a part did not stop cleanly');
    }
  }
}

function paceOf({ monitor }: Config): MonitorPace {
  const { interval_ms, fast_interval_ms, threads_per_tick } = monitor;
  return { intervalMs: interval_ms, fastIntervalMs: fast_interval_ms, threadsPerTick: threads_per_tick };
}

/** Who may use the socket, besides the daemon's own user. */
function socketGroup({ daemon }: Config): number {
  if (daemon.socket_group !== '') return groupId(daemon.socket_group, readFileSync('/etc/group', 'utf8'));
  return process.getgid?.() ?? 0;
}

/** Undefined on a kernel without sock_diag(7). */
function tcpReader(addon: HostAddon, log: Logger): TcpReader | undefined {
  try {
    return addon.openTcpReader();
  } catch (error) {
    const reason = messageOf(error);
    log.info({ part: 'monitor', reason }, 'what channels receive by TCP cannot be measured');
    return undefined;
  }
}

/** Undefined when it is gone already. */
function named(addon: HostAddon, pid: number) {
  try {
    return { pid, startTicks: addon.startTicks(pid) };
  } catch {
    return undefined;
  }
}
