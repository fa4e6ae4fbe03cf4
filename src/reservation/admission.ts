import { candidateCpuCounts, decide, type Verdict } from '../balancer/decide.js';
import type { Decision, Outcome } from '../balancer/decision.js';
import type { Forecast } from '../forecast/forecast.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { ChannelRequest } from '../rpc/control.js';
import type { Book } from './book.js';
import type { ReservationDeps } from './deps.js';
import { withinPeerLimit } from './peer-limit.js';
import { holdsCpus } from './reservation.js';
import type { SharedCpus } from './shared-cpus.js';

/** Forecasts of one request, and when they were made. */
export interface Forecasts {
  readonly candidates: readonly Forecast[];
  readonly atMs: number;
}

/** The place of a request among those that wait. */
export interface Place {
  /** Waiting requests that this one must let go first. */
  readonly ahead: number;
  readonly queued: number;
  /** Who asks; absent when nobody's limit counts. */
  readonly uid?: number;
}

/** Decisions on their way into the history that no answer waits for. */
const MOST_BEING_KEPT = 256;

/** Brings what the balancer decides on together, and makes its verdict a decision that is kept. */
export class Admission {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #shared: SharedCpus;
  readonly #soonestEndMs: () => number | undefined;
  #beingKept = 0;

  constructor(deps: ReservationDeps, book: Book, shared: SharedCpus, soonestEndMs: () => number | undefined) {
    this.#shared = shared;
    this.#deps = deps;
    this.#book = book;
    this.#soonestEndMs = soonestEndMs;
  }

  /** Slow (a model run): made before the turn in which the decision falls. */
  async forecast(request: ChannelRequest): Promise<Forecasts> {
    const schedulable = this.#deps.topology().schedulable.length;
    const candidates = await this.#deps.forecaster.forecast({
      signature: request.signature,
      host: this.#deps.host().window,
      candidates: candidateCpuCounts(request, schedulable),
      schedulableCpus: schedulable,
    });
    return { candidates, atMs: this.#deps.clock.monotonicMs() };
  }

  /**
   * Synchronous: whoever takes the CPUs of the verdict in the same turn has them alone. `awayMilli`: thousandths that are
   * in use now and would not be.
   */
  decide(request: ChannelRequest, forecasts: Forecasts, place: Place, awayMilli = 0): Verdict {
    const { now, use, memory } = this.#deps.host();
    const expectedReleaseMs = this.#soonestEndMs();
    const topology = this.#deps.topology();
    const smtCoreMilli = this.#deps.smtCoreMilli();
    const limits = this.#deps.limits();
    const occupancy = this.#book.occupancy(topology, smtCoreMilli);
    const sharing = this.#shared.now(occupancy);
    const away = awayMilli / (topology.schedulable.length * 1000);
    const without = (busy: number) => Math.max(0, busy - away);
    const verdict = decide({
      request,
      forecasts: forecasts.candidates,
      topology,
      occupancy,
      host: now && { ...now, busy: without(now.busy) },
      limits,
      smtCoreMilli,
      memory,
      ingressReservedBps: limits.ingress_bps > 0 ? this.#ingressReservedBps() : 0,
      channels: this.#book.channels,
      queuedAhead: place.ahead,
      queued: place.queued,
      closedReason: this.#deps.closedReason(),
      ...(expectedReleaseMs === undefined ? {} : { expectedReleaseMs }),
      ...(sharing === undefined ? {} : { sharing }),
      ...(use === undefined ? {} : { use: { ...use, busy: without(use.busy) } }),
    });
    const held = place.uid === undefined || limits.cores_per_peer === 0 ? 0 : this.#book.milliOf(place.uid);
    return withinPeerLimit(verdict, limits.cores_per_peer, place.uid, held);
  }

  decision(
    request: ChannelRequest,
    forecasts: Forecasts,
    verdict: Verdict,
    outcome: Outcome,
    reservationId: string,
  ): Decision {
    return {
      id: this.#deps.newId(),
      atMs: this.#deps.clock.nowMs(),
      outcome,
      reasons: verdict.reasons,
      signature: request.signature,
      forecast: verdict.forecast,
      candidates: forecasts.candidates,
      cpus: outcome === 'ACCEPTED' ? verdict.cpus : [],
      retryAfterMs: verdict.retryAfterMs,
      reservationId,
    };
  }

  /** keep() without waiting, as long as the history keeps up: nobody's answer hangs on an explanation. */
  async keepMeanwhile(decision: Decision): Promise<void> {
    this.#beingKept++;
    const kept = this.keep(decision).finally(() => this.#beingKept--);
    if (this.#beingKept > MOST_BEING_KEPT) await kept;
  }

  /** The decision is explained later; that the history cannot take it stops no channel. */
  async keep(decision: Decision): Promise<void> {
    try {
      await this.#deps.history.putDecision(decision);
    } catch (error) {
      this.#deps.log.warn({ decision: decision.id, error: messageOf(error) }, 'a decision was not kept');
    }
  }

  #ingressReservedBps(): number {
    let sum = 0;
    for (const { reservation, request } of this.#book.ledger.live()) {
      if (holdsCpus(reservation.state)) sum += request?.signature.input.bitrateBps ?? 0;
    }
    return sum;
  }
}

/** What the caller is told when the answer is no. */
export function refusal(decision: Decision, because: string): CorecastError {
  const failed = decision.reasons.find((reason) => !reason.passed);
  const text = failed?.text ?? 'it does not fit';
  return new CorecastError('NO_CAPACITY', `${because}: ${text}`, {
    ...(decision.retryAfterMs > 0 ? { retryAfterMs: decision.retryAfterMs } : {}),
    metadata: { decision_id: decision.id, reason: failed?.code ?? '', reason_text: text },
  });
}
