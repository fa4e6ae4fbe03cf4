import type { HeldInputs } from '../monitor/sample.js';
import type { ChannelClass, ProcessRef } from '../reservation/reservation.js';
import type { ChannelRequest, IngressReport, Progress, ReserveCall, TrainCall } from './control.js';
import type { AttachRequest__Output } from './generated/corecast/v1/AttachRequest.js';
import type { ExplainRequest__Output } from './generated/corecast/v1/ExplainRequest.js';
import type { HeldInputs__Output } from './generated/corecast/v1/HeldInputs.js';
import type { ListModelStepsRequest__Output } from './generated/corecast/v1/ListModelStepsRequest.js';
import type { PredictRequest__Output } from './generated/corecast/v1/PredictRequest.js';
import type { Process__Output } from './generated/corecast/v1/Process.js';
import type { Progress__Output } from './generated/corecast/v1/Progress.js';
import type { ReleaseRequest__Output } from './generated/corecast/v1/ReleaseRequest.js';
import type { ReportIngressRequest__Output } from './generated/corecast/v1/ReportIngressRequest.js';
import type { ReserveRequest__Output } from './generated/corecast/v1/ReserveRequest.js';
import type { SessionRequest__Output } from './generated/corecast/v1/SessionRequest.js';
import type { TrainModelRequest__Output } from './generated/corecast/v1/TrainModelRequest.js';
import { readSignature } from './read-signature.js';
import { Violations } from './violations.js';

/*
 * One function a request: checks every range that proto/corecast/v1 states, all of them before it throws, and hands back
 * the domain's type. What is not a matter of form (who may, whether it exists) is for Control.
 */

const MAX_PRIORITY = 100;
const DEFAULT_PRIORITY = 50;
const MAX_CPUS = 8_192;
const MAX_WAIT_MS = 86_400_000;
const MAX_ID = 64;
export const MAX_NAME = 200;
const MAX_KEY = 128;
const MAX_RUNGS = 16;
const MAX_SOCKETS = 256;
/** Linux' PID_MAX_LIMIT on 64 bits. */
const MAX_PID = 4_194_304;
/** Unix milliseconds of the year 9999: later is a unit mistake. */
export const MAX_TIME_MS = 253_402_300_799_999;
const MAX_SAFE = Number.MAX_SAFE_INTEGER;
const PROMOTION: Readonly<Record<string, TrainCall['promotion']>> = {
  PROMOTION_POLICY_UNSPECIFIED: 'shadow',
  PROMOTION_POLICY_SHADOW: 'shadow',
  PROMOTION_POLICY_NOW: 'now',
};

export function predictRequest(message: PredictRequest__Output): ChannelRequest {
  const violations = new Violations();
  const request = channelRequest(violations, message);
  violations.raise();
  return request;
}

export function reserveRequest(message: ReserveRequest__Output): ReserveCall {
  const violations = new Violations();
  const start = message.startTimeoutMs;
  if (start !== 0) violations.integer('start_timeout_ms', start, 100, 600_000, ', or 0 for the default');
  const call: ReserveCall = {
    ...channelRequest(violations, message),
    name: violations.text('name', message.name, 0, MAX_NAME),
    waitMs: violations.integer('wait_ms', message.waitMs, 0, MAX_WAIT_MS),
    startTimeoutMs: start,
    idempotencyKey: violations.text('idempotency_key', message.idempotencyKey, 1, MAX_KEY),
    ladderRungs: violations.integer('ladder_rungs', message.ladderRungs, 0, MAX_RUNGS),
  };
  violations.raise();
  return call;
}

export function attachRequest(message: AttachRequest__Output) {
  const violations = new Violations();
  violations.present('process', message.process);
  const call = {
    ...lease(violations, message),
    process: processRef(violations, message.process),
    selfHeld: message.selfHeld,
    restarting: message.restarting,
    idempotencyKey: violations.text('idempotency_key', message.idempotencyKey, 1, MAX_KEY),
  };
  violations.raise();
  return call;
}

export function releaseRequest(message: ReleaseRequest__Output) {
  const violations = new Violations();
  const call = {
    ...lease(violations, message),
    reason: violations.text('reason', message.reason, 0, MAX_NAME),
  };
  violations.raise();
  return call;
}

export function sessionRequest(message: SessionRequest__Output) {
  const violations = new Violations();
  const call = {
    ...lease(violations, message),
    rung: violations.integer('rung', message.rung, 0, MAX_RUNGS),
    restarting: message.restarting,
    requeues: message.requeues,
    ...(message.gapMs === 0 ? {} : { gapMs: violations.integer('gap_ms', message.gapMs, 1, MAX_WAIT_MS) }),
    ...(message.failedRung === 0
      ? {}
      : { failedRung: violations.integer('failed_rung', message.failedRung, 1, MAX_RUNGS) }),
    ...(message.process === null ? {} : { process: processRef(violations, message.process) }),
    ...(message.progress === null ? {} : { progress: progress(violations, message.progress) }),
    ...(message.inputs === null ? {} : { inputs: heldInputs(violations, message.inputs) }),
  };
  violations.raise();
  return call;
}

export function explainRequest(
  message: ExplainRequest__Output,
): { decisionId: string } | { reservationId: string } {
  const violations = new Violations();
  if (message.of === undefined) violations.missing('of', 'decision_id or reservation_id');
  if (message.of === 'decisionId') violations.text('decision_id', message.decisionId ?? '', 1, MAX_ID);
  if (message.of === 'reservationId')
    violations.text('reservation_id', message.reservationId ?? '', 1, MAX_ID);
  violations.raise();
  return message.of === 'decisionId'
    ? { decisionId: message.decisionId ?? '' }
    : { reservationId: message.reservationId ?? '' };
}

export function ingressRequest(message: ReportIngressRequest__Output, nowMs: number): IngressReport[] {
  const violations = new Violations();
  const count = message.reports.length;
  violations.check(count >= 1 && count <= 1_000, 'reports', `${count} long`, '1 to 1000 reports');
  const reports = message.reports.slice(0, 1_000).map((report, i): IngressReport => {
    const at = `reports[${i}]`;
    return {
      stream: violations.text(`${at}.stream`, report.stream, 1, MAX_NAME),
      bitrateBps: violations.finite(`${at}.bitrate_bps`, report.bitrateBps, 0, 4e11),
      queueLength: violations.integer(`${at}.queue_length`, report.queueLength, 0, MAX_SAFE),
      atMs: violations.integer(`${at}.at_ms`, report.atMs, 0, MAX_TIME_MS) || nowMs,
      reservationId: violations.text(`${at}.reservation_id`, report.reservationId, 0, MAX_ID),
    };
  });
  violations.raise();
  return reports;
}

export function trainRequest(message: TrainModelRequest__Output): TrainCall {
  const violations = new Violations();
  const seed = violations.integer('seed', message.seed, 0, MAX_SAFE) || 1;
  const maxEpochs = violations.integer('max_epochs', message.maxEpochs, 0, 10_000);
  const promotion = PROMOTION[message.promotion];
  violations.check(
    promotion !== undefined,
    'promotion',
    message.promotion,
    'PROMOTION_POLICY_SHADOW, PROMOTION_POLICY_NOW or nothing',
  );
  violations.raise();
  return { seed, maxEpochs, promotion: promotion ?? 'shadow', fromScratch: message.fromScratch };
}

export function stepsRequest(message: ListModelStepsRequest__Output): { modelId: string; limit: number } {
  const violations = new Violations();
  const modelId = violations.text('model_id', message.modelId, 0, MAX_NAME);
  const limit = violations.integer('limit', message.limit, 0, 2_000) || 100;
  violations.raise();
  return { modelId, limit };
}

export function modelId(id: string): string {
  const violations = new Violations();
  violations.text('model_id', id, 1, MAX_NAME);
  violations.raise();
  return id;
}

function channelRequest(violations: Violations, message: PredictRequest__Output): ChannelRequest {
  return {
    signature: readSignature(violations, message.signature),
    channelClass: channelClass(violations, message.channelClass),
    priority: violations.integer('priority', message.priority ?? DEFAULT_PRIORITY, 0, MAX_PRIORITY),
    exclusive: message.exclusive,
    cpuCount: violations.integer('cpu_count', message.cpuCount, 0, MAX_CPUS),
  };
}

function channelClass(violations: Violations, value: string): ChannelClass {
  const known = value === 'CHANNEL_CLASS_LIVE' || value === 'CHANNEL_CLASS_VOD';
  violations.check(known, 'channel_class', value, 'CHANNEL_CLASS_LIVE or CHANNEL_CLASS_VOD');
  return value === 'CHANNEL_CLASS_VOD' ? 'vod' : 'live';
}

function lease(violations: Violations, message: { reservationId: string; token: number }) {
  return {
    reservationId: violations.text('reservation_id', message.reservationId, 1, MAX_ID),
    token: violations.integer('token', message.token, 1, MAX_SAFE),
  };
}

function processRef(violations: Violations, process: Process__Output | null): ProcessRef {
  if (process === null) return { pid: 0, startTicks: 0 };
  return {
    pid: violations.integer('process.pid', process.pid, 1, MAX_PID),
    startTicks: violations.integer('process.start_ticks', process.startTicks, 0, MAX_SAFE),
  };
}

function heldInputs(violations: Violations, { socketInodes, readBytes }: HeldInputs__Output): HeldInputs {
  const at = 'inputs.socket_inodes';
  violations.check(
    socketInodes.length <= MAX_SOCKETS,
    at,
    `${socketInodes.length} long`,
    `at most ${MAX_SOCKETS}`,
  );
  return {
    socketInodes: socketInodes
      .slice(0, MAX_SOCKETS)
      .map((inode, i) => violations.integer(`${at}[${i}]`, inode, 1, MAX_SAFE)),
    readBytes: violations.integer('inputs.read_bytes', readBytes, 0, MAX_SAFE),
  };
}

function progress(violations: Violations, message: Progress__Output): Progress {
  const count = (name: string, value: number) => violations.integer(`progress.${name}`, value, 0, MAX_SAFE);
  return {
    outTimeUs: count('out_time_us', message.outTimeUs),
    frame: count('frame', message.frame),
    fps: violations.finite('progress.fps', message.fps, 0, 1e6),
    speed: violations.finite('progress.speed', message.speed, 0, 1e6),
    droppedFrames: count('dropped_frames', message.droppedFrames),
    duplicatedFrames: count('duplicated_frames', message.duplicatedFrames),
    bitrateBps: violations.finite('progress.bitrate_bps', message.bitrateBps, 0, 4e11),
    // Ahead of real time is negative: a file read at once, a player that buffers.
    lagSeconds: violations.finite('progress.lag_seconds', message.lagSeconds, -1e9, 1e9),
  };
}
