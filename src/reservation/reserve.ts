import type { Decision } from '../balancer/decision.js';
import { CorecastError } from '../lib/errors.js';
import type { ChannelRequest, Peer, ReserveCall } from '../rpc/control.js';
import { type Admission, refusal } from './admission.js';
import type { Book } from './book.js';
import type { ReservationDeps } from './deps.js';
import type { FirstAnswers } from './first-answers.js';
import { requireWithinLimit } from './permissions.js';
import { type AnswerName, acceptedAnswer, newRecord, type Reserved } from './reserved.js';
import type { WaitingRoom } from './waiting-room.js';

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

  constructor(
    deps: ReservationDeps,
    book: Book,
    admission: Admission,
    answers: FirstAnswers,
    waiting: WaitingRoom,
  ) {
    this.#deps = deps;
    this.#book = book;
    this.#admission = admission;
    this.#answers = answers;
    this.#waiting = waiting;
  }

  async predict(request: ChannelRequest): Promise<Decision> {
    const forecasts = await this.#admission.forecast(request);
    const verdict = this.#admission.decide(request, forecasts, this.#waiting.placeOf(request));
    const outcome = verdict.fits ? 'ACCEPTED' : verdict.waitingHelps ? 'QUEUED' : 'REFUSED';
    const decision = this.#admission.decision(request, forecasts, verdict, outcome, '');
    await this.#admission.keep(decision);
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
    const verdict = this.#admission.decide(call, forecasts, this.#waiting.placeOf(call));
    if (!verdict.fits && call.waitMs > 0 && verdict.waitingHelps) {
      return this.#waiting.wait(id, call, peer, name, forecasts, verdict, signal);
    }
    const outcome = verdict.fits ? 'ACCEPTED' : 'REFUSED';
    const decision = this.#admission.decision(call, forecasts, verdict, outcome, verdict.fits ? id : '');
    if (!verdict.fits) {
      await this.#admission.keepMeanwhile(decision);
      throw refusal(decision, 'refused');
    }
    const reason = 'reserved; waiting for its start';
    const startTimeoutMs = call.startTimeoutMs || this.#deps.leases().start_timeout_ms;
    const record = newRecord(call, peer, {
      id,
      state: 'PENDING',
      token: this.#book.ledger.nextToken(),
      cpus: verdict.cpus,
      nowMs: this.#deps.clock.nowMs(),
      endsInMs: startTimeoutMs,
      startTimeoutMs,
      decisionId: decision.id,
      reason,
    });
    const { reservation } = await this.#book.create(record, {
      reason,
      event: 'reserved',
      answer: (after) => acceptedAnswer(name, after, decision),
    });
    await this.#admission.keepMeanwhile(decision);
    return { reservation, decision };
  }
}
