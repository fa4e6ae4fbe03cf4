import type { Channels } from './channels.js';
import type { Learning } from './feedback/learning.js';
import type { Recorder } from './feedback/recorder.js';
import type { Forecast } from './forecast/forecast.js';
import type { HostForecaster } from './forecast/forecaster.js';
import type { Signature } from './forecast/signature.js';
import type { History, HistoryUpkeep, SeriesQuery } from './history/history.js';
import type { Run } from './history/records.js';
import { gapPoint } from './history/series.js';
import type { Clock } from './lib/clock.js';
import { CorecastError } from './lib/errors.js';
import type { Inventory } from './monitor/inventory.js';
import type { IngressReports } from './monitor/reported-ingress.js';
import type { Monitor } from './monitor/sample.js';
import type { Pinning } from './pinning/pinning.js';
import type { Reservation } from './reservation/reservation.js';
import type { Reservations } from './reservation/reservations.js';
import type {
  CalibrationView,
  ChannelRequest,
  ChannelUsage,
  Control,
  Directive,
  HostView,
  IngressReport,
  Peer,
  ReserveCall,
  SessionHandle,
} from './rpc/control.js';
import type { Topology } from './topology/topology.js';

export interface ControlParts {
  readonly clock: Clock;
  readonly version: string;
  inventory(): Pick<Inventory, 'hostname' | 'cpuModel'>;
  readonly reservations: Reservations;
  readonly pinning: Pick<Pinning, 'backend'>;
  readonly channels: Channels;
  readonly recorder: Recorder;
  readonly monitor: Monitor;
  readonly history: History & HistoryUpkeep;
  readonly forecaster: HostForecaster;
  readonly ingress: IngressReports;
  /** Resolves at the monitor's first sample: nobody is admitted to a host that was not looked at. */
  readonly measured: Promise<void>;
  topology(): Topology;
  speedFactor(): number;
  closedReason(): string;
  /** A calibration measurement that the history has now. */
  onRun(run: Run): void;
  onReserved(seconds: number): void;
  onRungFailed(id: string, rung: number): void;
  readonly learning: Learning;
}

/** A stream copy costs next to nothing: what its forecast says of the host is the host's own. */
const NOTHING: Signature = {
  input: { codec: 'h264', width: 16, height: 16, fps: 1, bitrateBps: 1_000, bitDepth: 8 },
  outputs: [
    {
      encoder: 'copy',
      preset: '',
      width: 16,
      height: 16,
      fps: 1,
      rate: { bitrateBps: 1_000 },
      bitDepth: 8,
      options: {},
    },
  ],
  complexity: {},
};

/** What the gRPC handlers ask of the daemon, put together from its parts. */
export function createControl(parts: ControlParts): Control {
  const { reservations, recorder, history, channels, learning } = parts;
  return {
    async predict(request: ChannelRequest) {
      await parts.measured;
      return reservations.predict(request);
    },
    async reserve(call: ReserveCall, peer: Peer, signal: AbortSignal) {
      await parts.measured;
      const began = parts.clock.monotonicMs();
      const reserved = await reservations.reserve(call, peer, signal);
      if (call.waitMs === 0) parts.onReserved((parts.clock.monotonicMs() - began) / 1000);
      return { ...reserved, ownCpuset: parts.pinning.backend().kind === 'cgroup' };
    },
    attach: (call, peer) => reservations.attach(call, peer),
    openSession: (id, token, peer, send) => openSession(parts, id, token, peer, send),
    progressOf(peer) {
      const id = channels.idOf(peer.pid);
      if (id === undefined || reservations.get(id)?.selfHeld !== true) return undefined;
      return (progress) => recorder.progress(id, progress);
    },
    async release(call, peer) {
      const reservation = await reservations.release(call, peer);
      const usage = await channels.summary(reservation.id);
      return usage === undefined ? { reservation } : { reservation, usage };
    },
    reservations: (includeEnded) =>
      reservations.list(includeEnded).map((reservation) => {
        const usage = usageOf(parts, reservation);
        return usage === undefined ? { reservation } : { reservation, usage };
      }),
    watch: (listener) => reservations.watch(listener),
    async explain(by) {
      const decision = await history.decision(by);
      if (decision === undefined) {
        const what =
          'decisionId' in by ? `decision ${by.decisionId}` : `decision of reservation ${by.reservationId}`;
        throw new CorecastError('NOT_FOUND', `no ${what} in the history`);
      }
      const usage = await channels.summary(decision.reservationId);
      const running = reservations.get(decision.reservationId)?.process;
      const modelStep = learning.life.stepInForce(decision.forecast.modelId, decision.atMs);
      return {
        decision,
        ...(usage === undefined ? {} : { usage }),
        ...(modelStep === undefined ? {} : { modelStep }),
        ...(running === undefined ? {} : { threads: parts.monitor.threads(running.pid) }),
      };
    },
    host: () => hostView(parts),
    reportIngress: (reports: readonly IngressReport[]) => parts.ingress.report(reports),
    query: (query: SeriesQuery) => history.query(query),
    seriesNames: () => history.seriesNames(),
    async recordRun(run, peer) {
      requireTrusted(peer, 'record calibration runs');
      await history.putRun(run);
      parts.onRun(run);
    },
    runs: (filter) => history.runs(filter),
    historyStats: () => history.stats(),
    async verifyHistory(peer) {
      requireTrusted(peer, 'verify the history');
      return history.verify();
    },
    async compactHistory(peer) {
      requireTrusted(peer, 'compact the history');
      return history.compact();
    },
    async backupHistory(dir, peer) {
      requireTrusted(peer, 'back up the history');
      return history.backup(dir);
    },
    async importSamples({ series, points }, peer) {
      requireTrusted(peer, 'import samples');
      return history.importSamples(series, points);
    },
    models: () => learning.life.models(),
    train(call, peer, signal) {
      requireTrusted(peer, 'train models');
      return learning.train(call, nameOf(peer), signal);
    },
    async promote(id, peer) {
      requireTrusted(peer, 'change the model in use');
      return learning.life.promote(id, nameOf(peer));
    },
    async rollback(peer) {
      requireTrusted(peer, 'change the model in use');
      return learning.life.rollback(nameOf(peer));
    },
    modelSteps: (id) => learning.life.steps(id),
    modelReport: (id) => learning.life.report(id),
  };
}

function usageOf(
  { recorder, monitor }: ControlParts,
  { id, process }: Reservation,
): ChannelUsage | undefined {
  const usage = recorder.usage(id);
  const sample = process && monitor.latest()?.processes.get(process.pid);
  if (usage === undefined || sample === undefined) return usage;
  return { ...usage, ingress: { bps: sample.ingressBps, sockets: sample.sockets } };
}

function openSession(
  parts: ControlParts,
  id: string,
  token: number,
  peer: Peer,
  send: (directive: Directive) => void,
): SessionHandle {
  const { reservations, recorder } = parts;
  const session = reservations.openSession(id, token, peer, send);
  return {
    async heartbeat(message) {
      const answer = await session.heartbeat(message);
      if (message.progress !== undefined) recorder.progress(id, message.progress);
      const { process } = answer.reservation;
      if (message.inputs !== undefined && process !== undefined)
        parts.monitor.told(process.pid, message.inputs);
      if (message.gapMs !== undefined) tellGap(parts, answer.reservation, message.rung, message.gapMs);
      if (message.failedRung !== undefined) {
        parts.onRungFailed(id, message.failedRung);
        const reason = `the encoder does not start at rung ${message.failedRung}`;
        await reservations.setRung(id, message.rung, reason);
      }
      return answer;
    },
    closed: () => session.closed(),
  };
}

function tellGap(parts: ControlParts, reservation: Reservation, rung: number, gapMs: number): void {
  parts.history.append([gapPoint(reservation.id, parts.clock.nowMs(), gapMs)]);
  const reason = `restarted at rung ${rung}: ${gapMs} ms without output`;
  parts.reservations.announce(reservation, 'gap', reason);
}

async function hostView(parts: ControlParts): Promise<HostView> {
  const { monitor, reservations } = parts;
  const inventory = parts.inventory();
  const topology = parts.topology();
  return {
    hostname: inventory.hostname,
    daemonVersion: parts.version,
    cpuModel: inventory.cpuModel,
    speedFactor: parts.speedFactor(),
    topology,
    reservedMilli: reservations.occupancy().milli,
    sample: monitor.latest(),
    forecast: await hostForecast(parts, topology),
    admissionClosedReason: parts.closedReason(),
    ingress: parts.ingress.current(),
    calibration: calibrationView(parts.forecaster),
    pinning: parts.pinning.backend(),
  };
}

function calibrationView(forecaster: HostForecaster): CalibrationView {
  const coverage = forecaster.coverage().filter(({ quantile }) => quantile === 0.9);
  const outcomes = coverage.reduce((sum, { recentObserved }) => sum + recentObserved, 0);
  const covered = coverage.reduce((sum, { recentCovered }) => sum + recentCovered, 0);
  const { alarms } = forecaster.drift();
  return { outcomes, coverage90: outcomes === 0 ? 0 : covered / outcomes, alarms };
}

async function hostForecast(
  { forecaster, monitor }: ControlParts,
  topology: Topology,
): Promise<Forecast | undefined> {
  const host = monitor.window();
  if (host.length === 0) return undefined;
  const schedulableCpus = topology.schedulable.length;
  const [forecast] = await forecaster.forecast({
    signature: NOTHING,
    host,
    candidates: [1],
    schedulableCpus,
  });
  return forecast;
}

/** Models decide every admission: whoever may change them, or what they learn from, may teach the daemon anything. */
function requireTrusted(peer: Peer, what: string): void {
  if (peer.uid === 0 || peer.uid === process.getuid?.()) return;
  const who = peer.uid === -1 ? 'a caller over TCP' : `uid ${peer.uid}`;
  throw new CorecastError(
    'PERMISSION_DENIED',
    `${who} may not ${what}: only root and the daemon's own user may, over the unix socket`,
  );
}

/** As it stands in the record of the models. */
function nameOf({ uid }: Peer): string {
  return `uid ${uid}`;
}
