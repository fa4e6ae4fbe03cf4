import type { Decision } from '../balancer/decision.js';
import type { ModelStep } from '../feedback/model-step.js';
import type { DriftAlarm } from '../forecast/calibration.js';
import type { ModelEvidence } from '../forecast/evidence.js';
import type { Forecast, Quantiles } from '../forecast/forecast.js';
import type { ModelCard, ModelScore } from '../forecast/network.js';
import type { Signature } from '../forecast/signature.js';
import type {
  BackupReport,
  HistoryStats,
  SeriesChunk,
  SeriesQuery,
  VerifyReport,
} from '../history/history.js';
import type { Run } from '../history/records.js';
import type { Progress } from '../lib/ffmpeg-progress.js';
import type { HeldInputs, HostSample, SocketQueues, ThreadSample } from '../monitor/sample.js';
import type { PinningBackend, PinResult } from '../pinning/pinning.js';
import type { ChannelClass, ProcessRef, Reservation } from '../reservation/reservation.js';
import type { Topology } from '../topology/topology.js';

/** Who calls, as the kernel says. TCP peers on loopback have no credentials: `uid` is -1 and they may not attach. */
export interface Peer {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

export interface ChannelRequest {
  readonly signature: Signature;
  readonly channelClass: ChannelClass;
  readonly priority: number;
  readonly exclusive: boolean;
  /** 0 lets the forecast choose. */
  readonly cpuCount: number;
}

export interface ReserveCall extends ChannelRequest {
  readonly name: string;
  readonly waitMs: number;
  readonly startTimeoutMs: number;
  readonly idempotencyKey: string;
  readonly ladderRungs: number;
}

export type { Progress };

export type Directive =
  | { readonly kind: 'set_rung'; readonly rung: number; readonly reason: string }
  | { readonly kind: 'cpus'; readonly cpus: string; readonly reason: string }
  /** End FFmpeg and wait: the reservation is QUEUED. */
  | { readonly kind: 'requeue'; readonly reason: string }
  /** Start FFmpeg anew: the reservation is PENDING with these CPUs. */
  | { readonly kind: 'start'; readonly cpus: string; readonly reason: string }
  | { readonly kind: 'stop'; readonly reason: string };

/** The daemon's end of one Session stream. */
export interface SessionHandle {
  /** One message from the holder. Throws STALE_TOKEN, NOT_FOUND, WRONG_STATE. */
  heartbeat(message: {
    progress?: Progress;
    rung: number;
    process?: ProcessRef;
    /** The holder is about to replace its process: its end does not release the reservation. */
    restarting: boolean;
    /** After a change of rung: how long nothing came out. */
    gapMs?: number;
    /** A rung that the encoder does not start at. */
    failedRung?: number;
    /** The holder can end FFmpeg and start it anew later. */
    requeues?: boolean;
    inputs?: HeldInputs;
  }): Promise<{ leaseDeadlineMs: number; reservation: Reservation }>;
  /** The stream ended, politely or not. */
  closed(): void;
}

export interface HorizonUsage {
  readonly fromS: number;
  readonly toS: number;
  readonly meanCores: number;
  readonly maxCores: number;
  readonly forecastCores: Quantiles;
  readonly coveredQ90: number;
}

export interface UsageSummary {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly mediaSeconds: number;
  readonly meanCores: number;
  readonly coreUsage: readonly number[];
  readonly horizons: readonly HorizonUsage[];
}

/** What a running channel does right now, for listings. */
export interface ChannelUsage {
  readonly usageCores: number;
  readonly forecastQ90Cores: number;
  readonly speed?: number;
  readonly lagSeconds?: number;
  /** Over the last second; absent before there is one. */
  readonly now?: RecentUse;
  readonly ingress?: ChannelIngress;
}

export interface ChannelIngress {
  /** Bits per second; NaN where unknown. */
  readonly bps: number;
  readonly sockets: SocketQueues;
}

export interface RecentUse {
  readonly usageCores: number;
  /** Threads that wanted to run and waited for a CPU, on average. */
  readonly waitCores: number;
  /** UDP packets that its sockets had no room for, since nobody read them in time. */
  readonly lostPackets?: number;
}

export interface ReservationEvent {
  readonly reservation: Reservation;
  /** "reserved", "queued", "attached", "adopted", "repaired", "squeezed", "grown", "shrunk", "moved", "paused", "requeued", "resumed", "degraded", "restored", "gap", "orphaned", "released", "expired". */
  readonly event: string;
  readonly reason: string;
}

export interface IngressReport {
  readonly stream: string;
  readonly bitrateBps: number;
  readonly queueLength: number;
  readonly atMs: number;
  readonly reservationId: string;
}

export interface HostView {
  readonly hostname: string;
  readonly daemonVersion: string;
  readonly cpuModel: string;
  readonly speedFactor: number;
  readonly topology: Topology;
  readonly reservedMilli: ReadonlyMap<number, number>;
  /** Undefined before the first tick. */
  readonly sample: HostSample | undefined;
  readonly forecast: Forecast | undefined;
  readonly admissionClosedReason: string;
  readonly ingress: readonly IngressReport[];
  readonly calibration: CalibrationView;
  readonly pinning: PinningBackend;
}

/** How well forecasts kept their word lately. */
export interface CalibrationView {
  readonly outcomes: number;
  /** Share 0-1 of them at or below the 0.9 quantile; 0 while there are none. */
  readonly coverage90: number;
  readonly alarms: readonly DriftAlarm[];
}

export interface ModelInfo {
  readonly card: ModelCard;
  readonly inUse: boolean;
  /** 'candidate': never in use. 'retired': it was. 'barred': it was, and the alarm took it back. */
  readonly state?: 'in_use' | 'shadow' | 'retired' | 'barred' | 'candidate';
  /** Why it is in that state. */
  readonly why?: string;
  /** On live channels, as answers that were handed out or beside them. */
  readonly live?: { readonly outcomes: number; readonly score: ModelScore };
}

/** All that is known of one model. */
export interface ModelReport {
  readonly model: ModelInfo;
  /** Absent for a model that came without. */
  readonly evidence?: ModelEvidence;
  /** Oldest first. */
  readonly outcomes: readonly LiveOutcome[];
  readonly steps: readonly ModelStep[];
}

/** What a model said of a live channel, and what it turned out to be. Cores. */
export interface LiveOutcome {
  readonly atMs: number;
  readonly encoder: string;
  readonly horizon: number;
  readonly demand: number;
  readonly said: { readonly q50: number; readonly q90: number };
  /** It was handed out. */
  readonly inUse: boolean;
}

export interface TrainCall {
  readonly seed: number;
  /** 0: the default. */
  readonly maxEpochs: number;
  /** What becomes of a candidate that is better offline. */
  readonly promotion: 'shadow' | 'now';
  /** Do not go on from an interrupted training. */
  readonly fromScratch: boolean;
}

export interface TrainingProgress {
  readonly epoch: number;
  readonly maxEpochs: number;
  readonly trainingLoss: number;
  readonly validationLoss: number;
  readonly remainingSeconds: number;
  /** Epochs that an interrupted training had done, from which this one goes on. */
  readonly resumedEpochs: number;
  /** On the last message only. */
  readonly result?: {
    readonly model: ModelInfo;
    readonly promoted: boolean;
    readonly reason: string;
    /** What becomes of the candidate. */
    readonly next: 'promoted' | 'shadow' | 'none';
  };
}

/**
 * Everything the gRPC handlers may ask of the daemon; daemon.ts builds it. Handlers validate and translate, this decides.
 * Every method throws CorecastError.
 */
export interface Control {
  predict(request: ChannelRequest): Promise<Decision>;
  /** `signal` aborts when the caller goes away: a waiting request leaves the queue. */
  reserve(
    call: ReserveCall,
    peer: Peer,
    signal: AbortSignal,
  ): Promise<{ reservation: Reservation; decision: Decision; ownCpuset: boolean }>;
  /** `pid` is already translated to the daemon's namespace. startTicks 0: read by the daemon. */
  attach(
    call: {
      reservationId: string;
      token: number;
      process: ProcessRef;
      selfHeld?: boolean;
      /** On trial: should it end soon, another one follows. */
      restarting?: boolean;
      idempotencyKey: string;
    },
    peer: Peer,
  ): Promise<{ reservation: Reservation; pin: PinResult }>;
  /** Opens the holder's session. `send` is called with directives until closed(). A newer session supersedes an older one. */
  openSession(
    reservationId: string,
    token: number,
    peer: Peer,
    send: (directive: Directive) => void,
  ): SessionHandle;
  /** Where the progress goes that a self-held process writes on its own connection; undefined for all other callers. */
  progressOf(peer: Peer): ((progress: Progress) => void) | undefined;
  release(
    call: { reservationId: string; token: number; reason: string },
    peer: Peer,
  ): Promise<{ reservation: Reservation; usage?: UsageSummary }>;
  reservations(includeEnded: boolean): readonly { reservation: Reservation; usage?: ChannelUsage }[];
  /** Registers a watcher; returns the function that unregisters it. */
  watch(listener: (event: ReservationEvent) => void): () => void;
  explain(by: { decisionId: string } | { reservationId: string }): Promise<{
    decision: Decision;
    usage?: UsageSummary;
    modelStep?: ModelStep;
    /** Of a running channel. */
    threads?: readonly ThreadSample[];
  }>;
  host(): Promise<HostView>;
  reportIngress(reports: readonly IngressReport[]): void;
  query(query: SeriesQuery): AsyncIterable<SeriesChunk>;
  seriesNames(): Promise<readonly string[]>;
  /** Adds a calibration measurement; only for root and the daemon's own user. */
  recordRun(run: Run, peer: Peer): Promise<void>;
  runs(filter: { origin?: Run['origin']; sinceMs?: number }): AsyncIterable<Run>;
  historyStats(): Promise<HistoryStats>;
  /** This and the three below, like recordRun(), only for root and the daemon's own user. */
  verifyHistory(peer: Peer): Promise<VerifyReport>;
  compactHistory(peer: Peer): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }>;
  backupHistory(dir: string, peer: Peer): Promise<BackupReport>;
  /** Returns how many were not there yet. */
  importSamples(chunk: SeriesChunk, peer: Peer): Promise<number>;
  models(): Promise<readonly ModelInfo[]>;
  /** What decides every later admission is changed only by root and the daemon's own user, like recordRun(). */
  train(call: TrainCall, peer: Peer, signal: AbortSignal): AsyncIterable<TrainingProgress>;
  promote(modelId: string, peer: Peer): Promise<ModelInfo>;
  rollback(peer: Peer): Promise<ModelInfo>;
  /** Oldest first; of one model, or with '' of all. */
  modelSteps(modelId: string): readonly ModelStep[];
  modelReport(modelId: string): Promise<ModelReport>;
}
