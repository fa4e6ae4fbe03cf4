import type { Verdict } from '../balancer/decide.js';
import type { Decision } from '../balancer/decision.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { ChannelRequest, Peer, ReserveCall } from '../rpc/control.js';
import { type Admission, type Forecasts, type Place, refusal } from './admission.js';
import type { Book, Part } from './book.js';
import { Deadlines } from './deadlines.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import type { Paused } from './paused.js';
import { Pump } from './pump.js';
import { type Waiter, WaitingQueue } from './queue.js';
import { isRequeued } from './reservation.js';
import { type AnswerName, acceptedAnswer, newRecord, type Reserved, sharedOf, titleOf } from './reserved.js';
import type { RoomMaker } from './room.js';
import { SearchTurns } from './search-turns.js';

/** Forecasts older than this are made again before a waiting request is decided on. */
const FORECAST_FRESH_MS = 5_000;
/** Waiting requests are looked at this often even if nothing was given back: the host's load changes, too. */
const PUMP_MS = 1_000;
const PUMP = 'the pump';
/** So long a process may take to end that was told to; its wrapper kills it well before. */
const ENDING_MS = 30_000;
const NO_FORECASTS: Forecasts = { atMs: Number.NEGATIVE_INFINITY, candidates: [] };

/** A call that waits for its answer, or a channel that ran before and gave way: nobody called for it. */
interface WaitingCall {
  readonly id: string;
  readonly request: ReserveCall;
  readonly sinceMs: number;
  readonly uid: number;
  /** Absent for a channel that gave way. */
  readonly name?: AnswerName;
  /** Of a channel that gave way: since when, monotonic milliseconds. */
  readonly requeuedMs?: number;
  forecasts: Forecasts;
  /** Absent before the first look at a channel that gave way. */
  decision?: Decision;
  /** Its QUEUED record is on the disk. */
  durable: boolean;
  resolve(reserved: Reserved): void;
  reject(error: unknown): void;
}

/** Reserve calls that wait for room: QUEUED in the ledger, in order here, looked at whenever room may have come. */
export class WaitingRoom {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #admission: Admission;
  readonly #lifetimes: Lifetimes;
  readonly #rooms: RoomMaker;
  readonly #paused: Paused;
  readonly #queue = new WaitingQueue<WaitingCall>();
  readonly #deadlines: Deadlines;
  readonly #pump = new Pump(() => this.#reconsiderAll());
  readonly #searches = new SearchTurns();
  readonly #hasHolder: (id: string) => boolean;
  #stopped = false;

  constructor(
    deps: ReservationDeps,
    book: Book,
    admission: Admission,
    lifetimes: Lifetimes,
    rooms: RoomMaker,
    paused: Paused,
    hasHolder: (id: string) => boolean,
  ) {
    this.#hasHolder = hasHolder;
    this.#deps = deps;
    this.#book = book;
    this.#admission = admission;
    this.#lifetimes = lifetimes;
    this.#rooms = rooms;
    this.#paused = paused;
    this.#deadlines = new Deadlines(deps.clock, deps.scheduler);
    for (const record of book.ledger.live()) if (isRequeued(record.reservation)) this.#comeBack(record);
    book.onChange((after, before) => this.#changed(after, before));
  }

  get size(): number {
    return this.#queue.size;
  }

  /** The place a request would have that came now. */
  placeOf(request: ChannelRequest): Place {
    const sinceMs = this.#deps.clock.monotonicMs();
    return { ahead: this.#ahead({ id: '', request, sinceMs }), queued: this.#queue.size };
  }

  /** Requests of a uid that are on their way into the ledger. */
  arriving(uid: number): number {
    return [...this.#queue].filter((waiting) => waiting.uid === uid && !waiting.durable).length;
  }

  async wait(
    id: string,
    call: ReserveCall,
    peer: Peer,
    name: AnswerName,
    forecasts: Forecasts,
    verdict: Verdict,
    signal: AbortSignal,
  ): Promise<Reserved> {
    const { queue: limit } = this.#deps.limits();
    const full = this.#stopped || this.#queue.size >= limit;
    const decision = this.#admission.decision(
      call,
      forecasts,
      verdict,
      full ? 'REFUSED' : 'QUEUED',
      full ? '' : id,
    );
    if (full) {
      await this.#admission.keepMeanwhile(decision);
      throw new CorecastError('QUEUE_FULL', `${this.#queue.size} requests wait; limits.queue is ${limit}`, {
        retryAfterMs: Math.max(decision.retryAfterMs, PUMP_MS),
        metadata: { decision_id: decision.id },
      });
    }
    const sinceMs = this.#deps.clock.monotonicMs();
    return new Promise<Reserved>((resolve, reject) => {
      const waiting = { id, request: call, sinceMs, uid: peer.uid, name, forecasts, decision };
      // In the queue before the write, so that the limit counts it; not decided on before it is durable.
      this.#enter({ ...waiting, durable: false, resolve, reject }, peer, signal).catch(reject);
    });
  }

  /** Room may have come. */
  pump(): void {
    if (!this.#stopped && this.#queue.size + this.#paused.size > 0) this.#pump.run();
  }

  /** Those who wait are told; who is being admitted right now is. What cannot be written now expires at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#deadlines.clearAll();
    const change = { reason: 'the daemon stops', event: 'expired' };
    const end = async (waiting: WaitingCall) => {
      if (!this.#leave(waiting, new CorecastError('CANCELLED', 'the daemon stops; ask again'))) return;
      await this.#book.step(waiting.id, { step: 'expire' }, change);
    };
    // Who gave way keeps its place over a restart.
    const callers = [...this.#queue].filter(({ requeuedMs }) => requeuedMs === undefined);
    const all = callers.map((waiting) => this.#book.lock(waiting.id, () => end(waiting)));
    await Promise.allSettled(all);
  }

  async #enter(
    waiting: WaitingCall & { decision: Decision },
    peer: Peer,
    signal: AbortSignal,
  ): Promise<void> {
    const { id, request, decision } = waiting;
    this.#queue.add(waiting);
    const reason = `waits for room: ${decision.reasons.find(({ passed }) => !passed)?.text ?? 'it does not fit'}`;
    const record = newRecord(request, peer, {
      id,
      state: 'QUEUED',
      token: this.#book.ledger.nextToken(),
      cpus: [],
      nowMs: this.#deps.clock.nowMs(),
      endsInMs: request.waitMs,
      startTimeoutMs: request.startTimeoutMs || this.#deps.leases().start_timeout_ms,
      decisionId: decision.id,
      reason,
    });
    try {
      await this.#book.lock(id, () => this.#book.create(record, { reason, event: 'queued' }));
    } catch (error) {
      this.#leave(waiting, error);
      return;
    }
    waiting.durable = true;
    await this.#admission.keepMeanwhile(decision);
    const gone = () =>
      this.#giveUp(waiting, 'release', new CorecastError('CANCELLED', 'its caller went away'));
    if (signal.aborted) gone();
    else signal.addEventListener('abort', gone, { once: true });
    const left = request.waitMs - (this.#deps.clock.monotonicMs() - waiting.sinceMs);
    if (this.#queue.has(waiting)) this.#deadlines.set(id, left, () => this.#tooLate(waiting));
    this.pump();
  }

  /** Paused VOD has its turn between live and VOD that has not begun. */
  async #reconsiderAll(): Promise<void> {
    let lookedAtPaused = false;
    this.#searches.newRound();
    for (const waiting of this.#queue) {
      if (this.#stopped) return;
      if (waiting.request.channelClass === 'vod' && !lookedAtPaused) {
        lookedAtPaused = true;
        await this.#paused.look(this.#liveHoldsPlace());
      }
      try {
        await this.#reconsider(waiting);
      } catch (error) {
        this.#deps.log.error({ id: waiting.id, error: messageOf(error) }, 'a waiting request keeps waiting');
      }
    }
    if (!lookedAtPaused && !this.#stopped) await this.#paused.look(this.#liveHoldsPlace());
    if (this.#stopped || this.#queue.size + this.#paused.size === 0) return;
    this.#deadlines.set(PUMP, PUMP_MS, () => this.pump());
  }

  #liveHoldsPlace(): boolean {
    const request = { channelClass: 'vod' as const, priority: 100 };
    // Came before all who wait: only another class goes before it.
    return this.#queue.ahead({ id: '', request, sinceMs: -1e15 }, this.#deps.clock.monotonicMs()) > 0;
  }

  #ahead(waiter: Waiter): number {
    const paused = waiter.request.channelClass === 'vod' ? this.#paused.ahead() : 0;
    return this.#queue.ahead(waiter, this.#deps.clock.monotonicMs()) + paused;
  }

  async #reconsider(waiting: WaitingCall): Promise<void> {
    const { clock } = this.#deps;
    if (!this.#mayCome(waiting)) return;
    if (clock.monotonicMs() - waiting.forecasts.atMs > FORECAST_FRESH_MS) {
      waiting.forecasts = await this.#admission.forecast(waiting.request);
    }
    await this.#book.lock(waiting.id, async () => {
      if (!waiting.durable || !this.#queue.has(waiting) || !this.#mayCome(waiting)) return;
      const { request, forecasts } = waiting;
      const place = { ahead: this.#ahead(waiting), queued: this.#queue.size - 1, uid: waiting.uid };
      const verdict = this.#admission.decide(request, forecasts, place);
      if (verdict.fits) return this.#admit(waiting, (admitted) => this.#book.write(admitted(verdict)));
      // Kept when the wait is over, if this is what it ends with.
      waiting.decision = this.#admission.decision(request, forecasts, verdict, 'QUEUED', waiting.id);
      const asking = { request, forecasts, place };
      const state = `${this.#book.version} ${forecasts.atMs}`;
      const room = this.#searches.mayLook(waiting, state) ? this.#rooms.find(asking, verdict) : undefined;
      if (room === undefined) return;
      await this.#admit(waiting, (admitted) => this.#rooms.take(room, asking, titleOf(waiting), admitted));
    });
  }

  /** `write` makes it durable; undefined when the room is there no more. */
  async #admit(
    waiting: WaitingCall,
    write: (admitted: (verdict: Verdict) => Part) => Promise<LedgerRecord | undefined>,
  ): Promise<void> {
    const { id, request, forecasts, name } = waiting;
    const { startTimeoutMs } = this.#book.require(id);
    let decision: Decision | undefined;
    const written = await write((verdict) => {
      const accepted = this.#admission.decision(request, forecasts, verdict, 'ACCEPTED', id);
      decision = accepted;
      const deadlineMs = this.#deps.clock.nowMs() + startTimeoutMs;
      const shared = sharedOf(verdict);
      return this.#book.part(
        id,
        { step: 'admit', cpus: verdict.cpus, deadlineMs, decisionId: accepted.id },
        {
          reason: 'reserved after waiting; waiting for its start',
          event: 'reserved',
          ...(shared === undefined ? {} : { set: { shared } }),
          ...(name === undefined ? {} : { answer: (after) => acceptedAnswer(name, after, accepted) }),
        },
      );
    });
    if (written === undefined || decision === undefined) return;
    this.#queue.remove(waiting);
    this.#deadlines.clear(id);
    await this.#admission.keepMeanwhile(decision);
    waiting.resolve({ reservation: written.reservation, decision });
  }

  /** Under the lock: a request that is being admitted right now is admitted. */
  #giveUp(waiting: WaitingCall, step: 'expire' | 'release', why: CorecastError): void {
    const { id } = waiting;
    const change = { reason: why.message, event: step === 'expire' ? 'expired' : 'released' };
    void this.#book.lock(id, async () => {
      if (!this.#queue.has(waiting)) return;
      try {
        await this.#book.step(id, { step }, change);
      } catch (error) {
        this.#deps.log.error({ id, error: messageOf(error) }, 'the end of a wait could not be written yet');
        this.#lifetimes.retry(id, () => this.#book.step(id, { step }, change));
      }
      this.#leave(waiting, why);
    });
  }

  #tooLate(waiting: WaitingCall): void {
    const decision: Decision = { ...waiting.decision!, outcome: 'REFUSED' };
    void this.#admission.keep(decision);
    this.#giveUp(waiting, 'expire', refusal(decision, `no room within ${waiting.request.waitMs} ms`));
  }

  #leave(waiting: WaitingCall, error: unknown): boolean {
    if (!this.#queue.remove(waiting)) return false;
    this.#deadlines.clear(waiting.id);
    waiting.reject(error);
    // It may have held the place that others wait for.
    this.pump();
    return true;
  }

  /** It gave way: in the queue by its age, as if it had waited since it was first reserved. */
  #comeBack({ reservation, request, startTimeoutMs }: LedgerRecord): void {
    if (request === undefined) return;
    const { id, name, uid, createdMs, ladderRungs } = reservation;
    const { clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#queue.add({
      ...{ id, uid, forecasts: NO_FORECASTS, durable: true, requeuedMs: nowMs },
      request: { ...request, name, ladderRungs, startTimeoutMs, waitMs: 0, idempotencyKey: '' },
      sinceMs: nowMs - Math.max(0, clock.nowMs() - createdMs),
      resolve: () => {},
      reject: () => {},
    });
  }

  /** Who gave way comes again when its old process has ended, and while somebody is there to start another. */
  #mayCome({ id, requeuedMs }: WaitingCall): boolean {
    if (requeuedMs === undefined) return true;
    if (this.#book.require(id).reservation.process === undefined) return this.#hasHolder(id);
    if (this.#deps.clock.monotonicMs() - requeuedMs > ENDING_MS) this.#lifetimes.overdue(id);
    return false;
  }

  #changed(after: LedgerRecord, before: LedgerRecord | undefined): void {
    const { id, state, process } = after.reservation;
    if (before?.reservation.state === 'QUEUED' && state !== 'QUEUED') {
      const waiting = [...this.#queue].find((one) => one.id === id);
      // Callers who are admitted or expire are told by whoever does it.
      const leaves = state === 'RELEASED' || (waiting?.requeuedMs !== undefined && state !== 'PENDING');
      if (waiting !== undefined && leaves)
        this.#leave(waiting, new CorecastError('CANCELLED', after.reservation.reason));
    } else if (isRequeued(after.reservation)) {
      if (before !== undefined && !isRequeued(before.reservation)) this.#comeBack(after);
      if (process === undefined) this.pump();
    }
    // As much elsewhere, too, may be just what an exclusive request waits for.
    if (before !== undefined && after.reservation.cpus !== before.reservation.cpus) this.pump();
  }
}
