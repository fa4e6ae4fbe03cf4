import type { handleBidiStreamingCall, ServerDuplexStream } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { CorecastError, invalidField } from '../lib/errors.js';
import type { ProcessRef } from '../reservation/reservation.js';
import { type CallContext, type CallScope, drained, openCall, wellFormed } from './call.js';
import type { Control, Directive, Peer, SessionHandle } from './control.js';
import { toDirective, toReservation } from './convert.js';
import type { Reservation } from './generated/corecast/v1/Reservation.js';
import type { SessionRequest__Output } from './generated/corecast/v1/SessionRequest.js';
import type { SessionResponse } from './generated/corecast/v1/SessionResponse.js';
import { sessionRequest } from './validate.js';

/** Directives that wait for a holder that does not read; past these it is as good as gone. */
const MAX_WAITING_DIRECTIVES = 64;

type Call = ServerDuplexStream<SessionRequest__Output, SessionResponse>;

/**
 * One holder's life line. Messages are handled one at a time, in order; the next is read only when the answer to the one
 * before has been taken. The end of the stream, whichever way it comes, tells Control once, with one exception: when
 * the server stops, the holder is not gone, and its reservation must not be orphaned over our own restart.
 */
export function session(
  control: Pick<Control, 'openSession'>,
  scope: CallScope,
  translate: (process: ProcessRef, peer: Peer) => ProcessRef,
): handleBidiStreamingCall<SessionRequest__Output, SessionResponse> {
  return (call) => {
    const open = openCall(scope, call);
    const line = new LifeLine(control, call, open.context, translate, (error) => end(error));
    let ended = false;

    const end = (error?: unknown): void => {
      if (ended) return;
      ended = true;
      if (!scope.stopping.aborted) line.close();
      if (error === undefined) {
        open.finish(status.OK);
        call.end();
      } else {
        call.emit('error', open.fail(error));
      }
    };
    const goneAway = () => end(new CorecastError('CANCELLED', 'the session ended'));
    open.context.signal.addEventListener('abort', goneAway, { once: true });

    call.on('data', (message: SessionRequest__Output) => {
      call.pause();
      line.receive(message).then(
        () => call.resume(),
        (error: unknown) => end(error),
      );
    });
    call.on('end', () => end());
  };
}

class LifeLine {
  private handle: SessionHandle | undefined;
  private reservationId = '';
  private token = 0;
  /** As last told to the holder; directives repeat them. */
  private leaseDeadlineMs = 0;
  private reservation: Reservation | null = null;

  constructor(
    private readonly control: Pick<Control, 'openSession'>,
    private readonly call: Call,
    private readonly context: CallContext,
    private readonly translate: (process: ProcessRef, peer: Peer) => ProcessRef,
    private readonly giveUp: (error: CorecastError) => void,
  ) {}

  async receive(raw: SessionRequest__Output): Promise<void> {
    const { reservationId, token, process, ...message } = sessionRequest(wellFormed(raw));
    this.handle ??= this.openFor(reservationId, token);
    if (reservationId !== this.reservationId) {
      throw invalidField('reservation_id', reservationId, `${this.reservationId}, as the session began with`);
    }
    // A newer token came to the holder by Attach; whether the session itself is still the latest, Control knows.
    if (token < this.token) {
      throw new CorecastError(
        'STALE_TOKEN',
        `token ${token} is older than ${this.token}, which this session began with`,
      );
    }
    const answer = await this.handle.heartbeat({
      ...message,
      ...(process === undefined ? {} : { process: this.translate(process, this.context.peer) }),
    });
    this.leaseDeadlineMs = answer.leaseDeadlineMs;
    this.reservation = toReservation(answer.reservation);
    await this.send(null);
  }

  close(): void {
    this.handle?.closed();
    this.handle = undefined;
  }

  private openFor(reservationId: string, token: number): SessionHandle {
    this.reservationId = reservationId;
    this.token = token;
    return this.control.openSession(reservationId, token, this.context.peer, (directive) =>
      this.direct(directive),
    );
  }

  private direct(directive: Directive): void {
    if (this.call.writableLength >= MAX_WAITING_DIRECTIVES) {
      const why = `the holder left ${MAX_WAITING_DIRECTIVES} directives unread`;
      this.giveUp(new CorecastError('LIMIT_EXCEEDED', why));
      return;
    }
    void this.send(directive);
  }

  private async send(directive: Directive | null): Promise<void> {
    if (this.context.signal.aborted || this.call.writableEnded) return;
    const flowing = this.call.write({
      leaseDeadlineMs: this.leaseDeadlineMs,
      directive: directive === null ? null : toDirective(directive),
      reservation: this.reservation,
    });
    if (!flowing) await drained(this.call, this.context.signal);
  }
}
