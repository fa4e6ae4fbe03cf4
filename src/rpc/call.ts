import type { EventEmitter } from 'node:events';
import {
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  status,
} from '@grpc/grpc-js';
import { CorecastError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { Peer } from './control.js';
import { toGrpcStatus } from './error-map.js';
import { parsePeer } from './peer.js';
import { MALFORMED } from './proto.js';

/** What the adapters below need of the server. */
export interface CallScope {
  readonly log: Log;
  /** Aborts when the server stops: streams and waiting calls end, so that clients reconnect to the next daemon. */
  readonly stopping: AbortSignal;
  /** Told of every finished call, for metrics. `code` is a gRPC status name. */
  readonly onCall: (call: FinishedCall) => void;
}

export interface FinishedCall {
  /** For instance "Reserve". */
  readonly method: string;
  readonly code: string;
  readonly seconds: number;
}

export interface CallContext {
  readonly peer: Peer;
  /** Aborts when the caller goes away, its deadline passes, or the server stops. */
  readonly signal: AbortSignal;
}

/** A unary method: the promise's value is the answer, what it throws the status. */
export function unary<Request, Response>(
  scope: CallScope,
  handler: (request: Request, context: CallContext) => Promise<Response> | Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const open = openCall(scope, call);
    void (async () => {
      try {
        const response = await handler(wellFormed(call.request), open.context);
        open.finish(status.OK);
        callback(null, response);
      } catch (error) {
        callback(open.fail(error));
      }
    })();
  };
}

/** A server-streaming method. The next message is asked for only when the caller has taken the ones before. */
export function serverStream<Request, Response>(
  scope: CallScope,
  handler: (request: Request, context: CallContext) => AsyncIterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const open = openCall(scope, call);
    const { signal } = open.context;
    void (async () => {
      try {
        for await (const message of handler(wellFormed(call.request), open.context)) {
          if (!signal.aborted && !call.write(message)) await drained(call, signal);
          if (signal.aborted) throw new CorecastError('CANCELLED', 'the caller went away');
        }
        open.finish(status.OK);
        call.end();
      } catch (error) {
        call.emit('error', open.fail(error));
      }
    })();
  };
}

/** A client-streaming method. The next message is read only when the handler asks for it. */
export function clientStream<Request, Response>(
  scope: CallScope,
  handler: (requests: AsyncIterable<Request>, context: CallContext) => Promise<Response>,
): handleClientStreamingCall<Request, Response> {
  return (call, callback) => {
    const open = openCall(scope, call);
    async function* requests(): AsyncGenerator<Request> {
      for await (const message of call as AsyncIterable<Request>) yield wellFormed(message);
    }
    void (async () => {
      try {
        const response = await handler(requests(), open.context);
        open.finish(status.OK);
        callback(null, response);
      } catch (error) {
        callback(open.fail(error));
      }
    })();
  };
}

/** Resolves when more may be written, or when nobody will read it. */
export function drained(
  stream: Pick<EventEmitter, 'once' | 'removeListener'>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.removeListener('drain', done);
      stream.removeListener('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    stream.once('drain', done);
    stream.once('close', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

/** The life of one call: its context, its end, and what to answer when it fails. */
export function openCall(
  scope: CallScope,
  call: Pick<EventEmitter, 'once' | 'removeListener'> & { getPath(): string; getPeer(): string },
) {
  const startedMs = performance.now();
  const controller = new AbortController();
  const abort = () => controller.abort();
  call.once('cancelled', abort);
  const forget = onStop(scope.stopping, abort);
  const method = call.getPath().split('/').at(-1) ?? '';
  let finished = false;

  const finish = (code: status): void => {
    if (finished) return;
    finished = true;
    // grpc-js reports "cancelled" after every call, finished ones too; what ended well must not be aborted.
    call.removeListener('cancelled', abort);
    forget();
    scope.onCall({
      method,
      code: status[code] ?? 'UNKNOWN',
      seconds: (performance.now() - startedMs) / 1000,
    });
  };
  const fail = (error: unknown) => {
    const cancelled = error instanceof CorecastError && error.code === 'CANCELLED';
    const answer =
      cancelled && scope.stopping.aborted
        ? { code: status.UNAVAILABLE, details: 'corecastd is stopping; connect again' }
        : toGrpcStatus(error, scope.log);
    finish(answer.code);
    return answer;
  };
  const context: CallContext = { peer: peerOf(call), signal: controller.signal };
  return { context, finish, fail };
}

/** One listener for all calls under way: EventTarget looks through all that it has to add or remove one. */
function onStop(stopping: AbortSignal, abort: () => void): () => void {
  let calls = underWay.get(stopping);
  if (calls === undefined) {
    const added = new Set<() => void>();
    stopping.addEventListener('abort', () => {
      for (const call of [...added]) call();
    });
    underWay.set(stopping, added);
    calls = added;
  }
  if (stopping.aborted) abort();
  else calls.add(abort);
  return () => calls.delete(abort);
}

const underWay = new WeakMap<AbortSignal, Set<() => void>>();

/** Throws INVALID_ARGUMENT for what was no such message. */
export function wellFormed<Request>(request: Request): Request {
  if ((request as unknown) !== MALFORMED) return request;
  throw new CorecastError(
    'INVALID_ARGUMENT',
    'the request is not a protobuf message of this method; is the caller built from another version of corecast.v1?',
  );
}

function peerOf(call: { getPeer(): string }): Peer {
  try {
    return parsePeer(call.getPeer());
  } catch {
    return parsePeer(''); // the connection is gone already
  }
}
