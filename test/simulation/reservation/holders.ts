import type { Reservation } from '../../../src/reservation/reservation.js';
import type { Directive, Peer, ReserveCall, SessionHandle } from '../../../src/rpc/control.js';
import type { Serving } from './daemon.js';
import type { SimulatedProcess } from './kernel.js';
import type { Life } from './life.js';

/** One call of a holder; retries and duplicates are the same call, delivered again. */
export interface Call {
  readonly what: 'Reserve' | 'Attach' | 'Release' | 'Session';
  readonly holder: Holder;
  readonly key: string;
  /** The reservation that it names; undefined for Reserve. */
  readonly id: string | undefined;
  /** The token that it carries; 0 for Reserve. */
  readonly token: number;
  readonly run: (serving: Serving) => Promise<Reservation>;
  /** The holder hears the answer. */
  readonly took: (reservation: Reservation) => void;
  /** What the daemon answered first. */
  first?: string;
  deliveries: number;
}

/** One wrapper and what it knows: only what it was told. */
export class Holder {
  readonly peer: Peer;
  readonly request: ReserveCall;
  readonly name: string;
  id: string | undefined;
  /** Every token that it was given, the newest last. */
  readonly tokens: number[] = [];
  process: SimulatedProcess | undefined;
  session: { readonly life: Life; readonly handle: SessionHandle } | undefined;
  /** Its connection, while it waits for the answer to Reserve. */
  readonly line = new Line();
  /** What its sessions hear from the daemon. */
  onDirective: (directive: Directive) => void = () => {};
  /** It does nothing any more, and says nothing. */
  gone = false;
  readonly calls: Call[] = [];
  #attaches = 0;

  constructor(name: string, uid: number, request: ReserveCall) {
    this.name = name;
    this.peer = { uid, gid: uid, pid: 1 };
    this.request = request;
  }

  get token(): number {
    return this.tokens.at(-1) ?? 0;
  }

  reserve(): Call {
    return this.#call('Reserve', this.request.idempotencyKey, 0, async ({ reservations }) => {
      const signal = this.line as unknown as AbortSignal;
      return (await reservations.reserve(this.request, this.peer, signal)).reservation;
    });
  }

  attach({ pid, startTicks }: SimulatedProcess, token: number): Call {
    const call = {
      reservationId: this.id!,
      token,
      process: { pid, startTicks },
      idempotencyKey: `${this.name}-attach-${++this.#attaches}`,
    };
    return this.#call(
      'Attach',
      call.idempotencyKey,
      token,
      async ({ reservations }) => (await reservations.attach(call, this.peer)).reservation,
    );
  }

  release(token: number): Call {
    const call = { reservationId: this.id!, token, reason: '' };
    return this.#call('Release', '', token, ({ reservations }) => reservations.release(call, this.peer));
  }

  /** Opens a session where there is none, and sends a heartbeat. */
  heartbeat(token: number, restarting: boolean): Call {
    const { id, process } = this;
    const sent =
      process === undefined ? {} : { process: { pid: process.pid, startTicks: process.startTicks } };
    return this.#call('Session', '', token, async ({ life, reservations }) => {
      if (this.session?.life !== life) {
        const handle = reservations.openSession(id!, token, this.peer, (directive) =>
          this.onDirective(directive),
        );
        this.session = { life, handle };
      }
      const { reservation } = await this.session.handle.heartbeat({
        rung: 0,
        restarting,
        requeues: true,
        ...sent,
      });
      return reservation;
    });
  }

  closeSession(): void {
    if (this.session?.life.dead === false) this.session.handle.closed();
    this.session = undefined;
  }

  #call(what: Call['what'], key: string, token: number, run: Call['run']): Call {
    const took = ({ id, token: given }: Reservation) => {
      this.id = id;
      // Answers may come in another order than they were given.
      if (given > this.token) this.tokens.push(given);
    };
    const id = what === 'Reserve' ? undefined : this.id;
    const call = { what, holder: this, key, id, token, run, took, deliveries: 0 };
    this.calls.push(call);
    return call;
  }
}

/** The part of an AbortSignal that Reserve listens to, at a tenth of the cost. */
export class Line {
  aborted = false;
  readonly #listeners = new Set<() => void>();

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }

  hangUp(): void {
    this.aborted = true;
    for (const listener of [...this.#listeners]) listener();
  }
}

export function requestOf(
  name: string,
  its: { milli: number; cpuCount: number; exclusive: boolean; waitMs: number; vod: boolean },
): ReserveCall {
  const { milli, cpuCount, exclusive, waitMs, vod } = its;
  return {
    name,
    signature: {
      input: { codec: 'h264', width: 1280, height: 720, fps: milli, bitrateBps: 4e6, bitDepth: 8 },
      outputs: [],
      complexity: {},
    },
    channelClass: vod ? 'vod' : 'live',
    priority: 50,
    exclusive,
    cpuCount,
    waitMs,
    startTimeoutMs: 0,
    idempotencyKey: `${name}-reserve`,
    ladderRungs: 2,
  };
}
