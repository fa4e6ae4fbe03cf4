import type { Decision } from '../../src/balancer/decision.js';
import type { SeriesChunk } from '../../src/history/history.js';
import type { Run } from '../../src/history/records.js';
import { CorecastError } from '../../src/lib/errors.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import type {
  ChannelRequest,
  Control,
  Directive,
  HostView,
  IngressReport,
  ModelReport,
  Peer,
  Progress,
  ReservationEvent,
  ReserveCall,
  TrainCall,
} from '../../src/rpc/control.js';
import { CARD, decisionFor, EVIDENCE, HALF, SIGNATURE, STEPS } from './control-answers.js';

/**
 * A Control over memory: four CPUs, one CPU a reservation, a queue. It keeps what it was told, so that tests of the RPC
 * layer can see what reaches the daemon and what is left behind.
 */
export class MemoryControl implements Control {
  readonly reservationsById = new Map<string, Reservation>();
  readonly watchers = new Set<(event: ReservationEvent) => void>();
  readonly waiting = new Set<ReserveCall>();
  readonly peers: Peer[] = [];
  readonly heartbeats: unknown[] = [];
  readonly reports: IngressReport[] = [];
  readonly recorded: Run[] = [];
  readonly imported: SeriesChunk[] = [];
  damage: string[] = [];
  readonly attached: { pid: number; peer: Peer }[] = [];
  /** What self-held processes wrote by themselves. */
  readonly progress: Progress[] = [];
  readonly requests: ChannelRequest[] = [];
  readonly trainings: TrainCall[] = [];
  sessionsOpen = 0;
  sessionsClosed = 0;
  pointsMade = 0;
  trainingStopped = false;
  admissionClosedReason = '';
  sendDirective: ((directive: Directive) => void) | undefined;
  /** Replaces predict's answer when a test wants it to fail. */
  failure: (() => unknown) | undefined;
  private token = 0;

  async predict(request: ChannelRequest): Promise<Decision> {
    if (this.failure !== undefined) throw this.failure();
    this.requests.push(request);
    return decisionFor(request.signature, '');
  }

  async reserve(call: ReserveCall, peer: Peer, signal: AbortSignal) {
    this.peers.push(peer);
    while (this.held().length >= 4) {
      if (call.waitMs === 0) {
        throw new CorecastError('NO_CAPACITY', 'all 4 CPUs are reserved', { retryAfterMs: 1_500 });
      }
      await this.room(call, signal);
    }
    const id = `r${++this.token}`;
    const decision = decisionFor(call.signature, id);
    const reservation: Reservation = {
      id,
      state: 'PENDING',
      token: this.token,
      name: call.name,
      channelClass: call.channelClass,
      priority: call.priority,
      exclusive: call.exclusive,
      cpus: [{ cpu: this.held().length, shareMilli: 1000 }],
      createdMs: 1_700_000_000_000,
      changedMs: 1_700_000_000_000,
      deadlineMs: 1_700_000_010_000,
      decisionId: decision.id,
      rung: 0,
      ladderRungs: call.ladderRungs,
      uid: peer.uid,
      reason: 'reserved',
    };
    this.change(reservation, 'reserved');
    return { reservation, decision, ownCpuset: false };
  }

  async attach(call: Parameters<Control['attach']>[0], peer: Peer) {
    const before = this.lease(call.reservationId, call.token);
    this.attached.push({ pid: call.process.pid, peer });
    const reservation: Reservation = {
      ...before,
      ...(call.selfHeld === true ? { selfHeld: true as const } : {}),
      state: 'ACTIVE',
      process: call.process,
    };
    this.change(reservation, 'attached');
    const pin = {
      threads: [{ tid: call.process.pid, name: 'ffmpeg', cpus: [0], verified: true }],
      repaired: 1,
    };
    return { reservation, pin };
  }

  progressOf({ pid }: Peer) {
    const own = [...this.reservationsById.values()].some(
      (one) => one.selfHeld === true && one.process?.pid === pid,
    );
    return own ? (progress: Progress) => void this.progress.push(progress) : undefined;
  }

  openSession(reservationId: string, token: number, peer: Peer, send: (directive: Directive) => void) {
    this.lease(reservationId, token);
    this.peers.push(peer);
    this.sessionsOpen++;
    this.sendDirective = send;
    return {
      heartbeat: async (message: unknown) => {
        this.heartbeats.push(message);
        return { leaseDeadlineMs: 1_700_000_020_000, reservation: this.lease(reservationId, token) };
      },
      closed: () => {
        this.sessionsClosed++;
      },
    };
  }

  async release(call: { reservationId: string; token: number; reason: string }) {
    const reservation: Reservation = {
      ...this.lease(call.reservationId, call.token),
      state: 'RELEASED',
      cpus: [],
    };
    this.change(reservation, 'released', call.reason);
    const usage = {
      cpuSeconds: 12.5,
      wallSeconds: 10,
      mediaSeconds: 10,
      meanCores: 1.25,
      coreUsage: [0.9, 0.35],
      horizons: [{ fromS: 0, toS: 10, meanCores: 1.25, maxCores: 1.5, forecastCores: HALF, coveredQ90: 0.9 }],
    };
    return { reservation, usage };
  }

  reservations(includeEnded: boolean) {
    return [...this.reservationsById.values()]
      .filter((reservation) => includeEnded || reservation.state !== 'RELEASED')
      .map((reservation) => ({ reservation, usage: { usageCores: 0.4, forecastQ90Cores: 0.7, speed: 1 } }));
  }

  watch(listener: (event: ReservationEvent) => void) {
    this.watchers.add(listener);
    return () => this.watchers.delete(listener);
  }

  async explain(by: { decisionId: string } | { reservationId: string }) {
    if ('reservationId' in by && this.reservationsById.has(by.reservationId)) {
      return { decision: decisionFor(SIGNATURE, by.reservationId) };
    }
    throw new CorecastError('NOT_FOUND', `no decision ${JSON.stringify(by)}`);
  }

  async host(): Promise<HostView> {
    return {
      hostname: 'encoder-7',
      daemonVersion: '0.1.0',
      cpuModel: 'Four-CPU test host',
      speedFactor: 1.25,
      calibration: {
        outcomes: 132,
        coverage90: 0.91,
        alarms: [
          {
            ...{ source: 'lstm', modelId: 'm1', family: 'x264', level: 1, sinceMs: 1_700_000_000_000 },
            reason: '7 of the last 9 outcomes at 10-60 s were above',
          },
        ],
      },
      topology: {
        cpus: [0, 1, 2, 3].map((cpu) => ({
          cpu,
          core: cpu,
          l2: cpu,
          l3: 0,
          cluster: cpu,
          die: 0,
          node: 0,
          package: 0,
          kind: 'performance' as const,
          capacity: 1024,
          online: cpu !== 3,
          housekeeping: cpu === 0,
          isolated: cpu === 3,
          nohzFull: false,
        })),
        schedulable: [1, 2],
        housekeeping: [0],
        distance: new Map(),
      },
      reservedMilli: new Map([[1, 400]]),
      pinning: { kind: 'affinity', reason: 'a test host', ownCpusets: 0 },
      sample: undefined,
      forecast: undefined,
      admissionClosedReason: this.admissionClosedReason,
      ingress: this.reports,
    };
  }

  reportIngress(reports: readonly IngressReport[]) {
    this.reports.push(...reports);
  }

  async *query() {
    for (let chunk = 0; chunk < 10_000; chunk++) {
      const points = Array.from({ length: 5_000 }, (_, i) => ({ atMs: chunk * 5_000 + i, value: i / 10 }));
      this.pointsMade += points.length;
      yield { series: 'host.busy', points };
      if (chunk % 8 === 7) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async seriesNames() {
    return ['host.busy', 'channel.r1.cores'];
  }

  async recordRun(run: Run, peer: Peer) {
    if (peer.uid !== 0) throw new CorecastError('PERMISSION_DENIED', 'only root may record runs');
    this.recorded.push(run);
  }

  async historyStats() {
    return {
      format: 2,
      diskBytes: 1_000,
      series: 2,
      oldestMs: 3_600_000,
      newestMs: 7_200_000,
      sections: [{ name: 'samples', entries: 3, bytes: 900 }],
      samplesStored: 1_440,
      samplesDropped: 0,
      writeFailures: 0,
      damagedRecords: 0,
      rolledUpToMs: 7_200_000,
    };
  }

  async verifyHistory(peer: Peer) {
    this.#requireRoot(peer);
    return { records: 10, samples: 1_440, damage: this.damage, damaged: this.damage.length };
  }

  async compactHistory(peer: Peer) {
    this.#requireRoot(peer);
    return { bytesBefore: 2_000, bytesAfter: 1_000 };
  }

  async backupHistory(dir: string, peer: Peer) {
    this.#requireRoot(peer);
    return { dir, records: 10, bytes: 1_000 };
  }

  async importSamples(chunk: SeriesChunk, peer: Peer) {
    this.#requireRoot(peer);
    this.imported.push(chunk);
    return chunk.points.length;
  }

  #requireRoot(peer: Peer): void {
    if (peer.uid !== 0) throw new CorecastError('PERMISSION_DENIED', 'only root may');
  }

  async *runs() {
    yield* this.recorded;
  }

  async models() {
    return [{ card: CARD, inUse: true }];
  }

  async *train(options: TrainCall, _peer: Peer, signal: AbortSignal) {
    this.trainings.push(options);
    const progress = {
      maxEpochs: options.maxEpochs,
      trainingLoss: 0.5,
      validationLoss: 0.6,
      resumedEpochs: 0,
    };
    for (let epoch = 1; epoch < options.maxEpochs; epoch++) {
      if (signal.aborted) {
        this.trainingStopped = true;
        throw new CorecastError('CANCELLED', 'training was stopped');
      }
      yield { ...progress, epoch, remainingSeconds: options.maxEpochs - epoch };
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const result = {
      model: { card: CARD, inUse: false },
      promoted: false,
      reason: 'no better than now',
      next: 'none' as const,
    };
    yield { ...progress, epoch: options.maxEpochs, remainingSeconds: 0, result };
  }

  async promote(modelId: string) {
    if (modelId !== CARD.id) throw new CorecastError('NOT_FOUND', `no model ${modelId}`);
    return { card: CARD, inUse: true };
  }

  async rollback() {
    return { card: CARD, inUse: true };
  }

  modelSteps(modelId: string) {
    return STEPS.filter(({ model }) => modelId === '' || model === modelId);
  }

  async modelReport(modelId: string): Promise<ModelReport> {
    if (modelId !== CARD.id) throw new CorecastError('NOT_FOUND', `no model ${modelId}`);
    return {
      model: { card: CARD, inUse: true, state: 'in_use', why: STEPS[1]!.reason },
      evidence: EVIDENCE,
      outcomes: [
        {
          atMs: 1_700_000_200_000,
          encoder: 'x264',
          horizon: 0,
          demand: 0.55,
          said: { q50: 0.5, q90: 0.7 },
          inUse: true,
        },
      ],
      steps: STEPS,
    };
  }

  /** Tells all watchers of one change of one reservation. */
  change(reservation: Reservation, event: string, reason = '') {
    this.reservationsById.set(reservation.id, reservation);
    for (const watcher of [...this.watchers]) watcher({ reservation, event, reason });
  }

  private held() {
    return [...this.reservationsById.values()].filter((one) => one.cpus.length > 0);
  }

  private lease(id: string, token: number): Reservation {
    const reservation = this.reservationsById.get(id);
    if (reservation === undefined) throw new CorecastError('NOT_FOUND', `no reservation ${id}`);
    if (reservation.token !== token) {
      throw new CorecastError('STALE_TOKEN', `token ${token} was superseded by ${reservation.token}`);
    }
    return reservation;
  }

  private room(call: ReserveCall, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (end: () => void) => {
        this.waiting.delete(call);
        unwatch();
        signal.removeEventListener('abort', onAbort);
        end();
      };
      const unwatch = this.watch(() => leave(resolve));
      const onAbort = () => leave(() => reject(new CorecastError('CANCELLED', 'left the queue')));
      signal.addEventListener('abort', onAbort);
      this.waiting.add(call);
    });
  }
}
