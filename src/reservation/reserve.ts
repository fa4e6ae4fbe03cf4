import type { Verdict } from '../balancer/decide.js';
import type { Decision } from '../balancer/decision.js';
import { CorecastError } from '../lib/errors.js';
import type { ChannelRequest, Peer, ReserveCall } from '../rpc/control.js';
import { type Admission, type Forecasts, refusal } from './admission.js';
import type { Book, Part } from './book.js';
import type { ReservationDeps } from './deps.js';
import type { FirstAnswers } from './first-answers.js';
import type { Shared } from './ledger-format.js';
import { requireWithinLimit } from './permissions.js';
import type { Reservation } from './reservation.js';
import { type AnswerName, acceptedAnswer, newRecord, type Reserved, sharedOf, titleOf } from './reserved.js';
import type { Asking, Room, RoomMaker } from './room.js';
import type { WaitingRoom } from './waiting-room.js';

/** How often room among others is looked for anew when they changed meanwhile. */
const MOST_ATTEMPTS = 3;

/**
 * Reserve. The forecast is made first, because it is slow; what follows until the CPUs are promised is one turn of the
 * event loop, so that nobody decides in between. Then: write with sync, answer. The history gets the decision meanwhile.
 */
export class Reserving {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #admission: Admission;
  readonly #answers: FirstAnswers;
  readonly #waiting: WaitingRoom;
  readonly #rooms: RoomMaker;

  constructor(
    deps: ReservationDeps,
    book: Book,
    admission: Admission,
    answers: FirstAnswers,
    waiting: WaitingRoom,
    rooms: RoomMaker,
  ) {
    this.#deps = deps;
    this.#book = book;
    this.#admission = admission;
    this.#answers = answers;
    this.#waiting = waiting;
    this.#rooms = rooms;
  }

  async predict(request: ChannelRequest): Promise<Decision> {
    const forecasts = await this.#admission.forecast(request);
    const { verdict } = this.#decide(request, forecasts);
    const outcome = verdict.fits ? 'ACCEPTED' : verdict.waitingHelps ? 'QUEUED' : 'REFUSED';
    const decision = this.#admission.decision(request, forecasts, verdict, outcome, '');
    await this.#admission.keepMeanwhile(decision);
    return decision;
  }

  reserve(call: ReserveCall, peer: Peer, signal: AbortSignal): Promise<Reserved> {
    return this.#answers.once({
      method: 'Reserve',
      peer,
      idempotencyKey: call.idempotencyKey,
      request: call,
      signal,
      run: (name, allGone) => this.#reserve(call, peer, name, allGone),
      replay: async ({ reservation, decision }) => {
        const { decisionId } = reservation;
        const kept = await this.#deps.history.decision({ decisionId }).catch(() => undefined);
        return { reservation, decision: (kept ?? decision) as Decision };
      },
    });
  }

  async #reserve(call: ReserveCall, peer: Peer, name: AnswerName, signal: AbortSignal): Promise<Reserved> {
    const forecasts = await this.#admission.forecast(call);
    if (signal.aborted) throw new CorecastError('CANCELLED', 'the caller went away');
    requireWithinLimit(this.#book, this.#deps.limits(), peer, this.#waiting.arriving(peer.uid));
    const id = this.#deps.newId();
    for (let attempt = 1; ; attempt++) {
      const { verdict, asking, room } = this.#decide(call, forecasts, peer.uid, attempt <= MOST_ATTEMPTS);
      if (!verdict.fits) {
        if (call.waitMs > 0 && verdict.waitingHelps) {
          return this.#waiting.wait(id, call, peer, name, forecasts, verdict, signal);
        }
        const decision = this.#admission.decision(call, forecasts, verdict, 'REFUSED', '');
        await this.#admission.keepMeanwhile(decision);
        throw refusal(decision, 'refused');
      }
      const reserved = await this.#promise(id, call, peer, name, verdict, { asking, room });
      // Undefined: those who were to make room changed while this waited for them.
      if (reserved !== undefined) return reserved;
      requireWithinLimit(this.#book, this.#deps.limits(), peer, this.#waiting.arriving(peer.uid));
    }
  }

  /** As it is, or else with what others would do for it. */
  #decide(
    request: ChannelRequest,
    forecasts: Forecasts,
    uid?: number,
    makeRoom = true,
  ): { verdict: Verdict; asking: Asking; room: Room | undefined } {
    const asking = {
      request,
      forecasts,
      place: { ...this.#waiting.placeOf(request), ...(uid === undefined ? {} : { uid }) },
    };
    const verdict = this.#admission.decide(request, forecasts, asking.place);
    const room = makeRoom ? this.#rooms.find(asking, verdict) : undefined;
    return { verdict: room?.verdict ?? verdict, asking, room };
  }

  async #promise(
    id: string,
    call: ReserveCall,
    peer: Peer,
    name: AnswerName,
    verdict: Verdict,
    { asking, room }: { asking: Asking; room: Room | undefined },
  ): Promise<Reserved | undefined> {
    let decision: Decision | undefined;
    const newcomer = (final: Verdict): Part => {
      const accepted = this.#admission.decision(call, asking.forecasts, final, 'ACCEPTED', id);
      decision = accepted;
      const answer = (after: Reservation) => acceptedAnswer(name, after, accepted);
      const reason = 'reserved; waiting for its start';
      const after = this.#record(id, call, peer, accepted, reason, sharedOf(final));
      return { after, before: undefined, change: { reason, event: 'reserved', answer } };
    };
    const written =
      room === undefined
        ? await this.#book.write(newcomer(verdict))
        : await this.#rooms.take(room, asking, titleOf({ id, request: call }), newcomer);
    if (written === undefined || decision === undefined) return undefined;
    await this.#admission.keepMeanwhile(decision);
    return { reservation: written.reservation, decision };
  }

  #record(
    id: string,
    call: ReserveCall,
    peer: Peer,
    { id: decisionId, cpus }: Decision,
    reason: string,
    shared: Shared | undefined,
  ) {
    const startTimeoutMs = call.startTimeoutMs || this.#deps.leases().start_timeout_ms;
    return newRecord(call, peer, {
      id,
      state: 'PENDING',
      token: this.#book.ledger.nextToken(),
      cpus,
      nowMs: this.#deps.clock.nowMs(),
      endsInMs: startTimeoutMs,
      startTimeoutMs,
      decisionId,
      reason,
      shared,
    });
  }
}
