import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import {
  type Client,
  type ClientOptions,
  type ClientUnaryCall,
  type ClientWritableStream,
  credentials,
  makeGenericClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import type * as history from '../rpc/generated/corecast/v1/HistoryService.js';
import type * as host from '../rpc/generated/corecast/v1/HostService.js';
import type { ImportHistoryRequest } from '../rpc/generated/corecast/v1/ImportHistoryRequest.js';
import type { ImportHistoryResponse__Output } from '../rpc/generated/corecast/v1/ImportHistoryResponse.js';
import type { ListRunsRequest } from '../rpc/generated/corecast/v1/ListRunsRequest.js';
import type { ListRunsResponse__Output } from '../rpc/generated/corecast/v1/ListRunsResponse.js';
import type * as model from '../rpc/generated/corecast/v1/ModelService.js';
import type { QueryHistoryRequest } from '../rpc/generated/corecast/v1/QueryHistoryRequest.js';
import type { QueryHistoryResponse__Output } from '../rpc/generated/corecast/v1/QueryHistoryResponse.js';
import type * as reservation from '../rpc/generated/corecast/v1/ReservationService.js';
import type { SessionRequest } from '../rpc/generated/corecast/v1/SessionRequest.js';
import type { SessionResponse__Output } from '../rpc/generated/corecast/v1/SessionResponse.js';
import type { TrainModelRequest } from '../rpc/generated/corecast/v1/TrainModelRequest.js';
import type { TrainModelResponse__Output } from '../rpc/generated/corecast/v1/TrainModelResponse.js';
import type { WatchReservationsResponse__Output } from '../rpc/generated/corecast/v1/WatchReservationsResponse.js';
import { serviceDefinition, warmCodec } from '../rpc/proto.js';
import { fromCallError, unreachable } from './call-error.js';

export interface ConnectOptions {
  /** The daemon's unix socket; see clientSocket(). */
  readonly socket: string;
  /** For connecting, and for each unary call that does not say otherwise. */
  readonly timeoutMs: number;
}

export interface CallOptions {
  /** Overrides the connection's timeout for this call. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

type Method<D, Name extends keyof D> = D[Name] extends {
  requestSerialize(value: infer Request): unknown;
  responseDeserialize(bytes: Buffer): infer Response;
}
  ? (request: Request, options?: CallOptions) => Promise<Response>
  : never;
type Reservations<Name extends keyof reservation.ReservationServiceDefinition> = Method<
  reservation.ReservationServiceDefinition,
  Name
>;
type Histories<Name extends keyof history.HistoryServiceDefinition> = Method<
  history.HistoryServiceDefinition,
  Name
>;
type Models<Name extends keyof model.ModelServiceDefinition> = Method<model.ModelServiceDefinition, Name>;

/** The holder's end of a Session. */
export interface SessionStream {
  /** Sends one message; resolves when more may be sent. After the stream ended it does nothing. */
  send(message: SessionRequest): Promise<void>;
  /** Everything from the daemon. Ends when the session ends politely, throws the daemon's error otherwise. */
  readonly messages: AsyncIterable<SessionResponse__Output>;
  /** Ends it politely. */
  end(): void;
  /** Drops it. */
  cancel(): void;
}

/** Every method of corecast.v1. All throw CorecastError: the daemon's own, or DAEMON_UNREACHABLE. */
export interface CorecastClient {
  readonly predict: Reservations<'Predict'>;
  /** Its timeout begins after the time the request may wait in the queue. */
  readonly reserve: Reservations<'Reserve'>;
  readonly attach: Reservations<'Attach'>;
  readonly release: Reservations<'Release'>;
  readonly listReservations: Reservations<'ListReservations'>;
  readonly explain: Reservations<'Explain'>;
  session(): SessionStream;
  watchReservations(options?: CallOptions): AsyncIterable<WatchReservationsResponse__Output>;
  readonly getHost: Method<host.HostServiceDefinition, 'GetHost'>;
  readonly reportIngress: Method<host.HostServiceDefinition, 'ReportIngress'>;
  queryHistory(
    request: QueryHistoryRequest,
    options?: CallOptions,
  ): AsyncIterable<QueryHistoryResponse__Output>;
  readonly recordRun: Histories<'RecordRun'>;
  readonly getHistoryStats: Histories<'GetHistoryStats'>;
  readonly verifyHistory: Histories<'VerifyHistory'>;
  readonly compactHistory: Histories<'CompactHistory'>;
  readonly backupHistory: Histories<'BackupHistory'>;
  /** Asks for the next message when the daemon has taken the ones before. */
  importHistory(
    requests: AsyncIterable<ImportHistoryRequest>,
    options?: CallOptions,
  ): Promise<ImportHistoryResponse__Output>;
  listRuns(request: ListRunsRequest, options?: CallOptions): AsyncIterable<ListRunsResponse__Output>;
  readonly listModels: Models<'ListModels'>;
  readonly listModelSteps: Models<'ListModelSteps'>;
  readonly getModelReport: Models<'GetModelReport'>;
  trainModel(request: TrainModelRequest, options?: CallOptions): AsyncIterable<TrainModelResponse__Output>;
  readonly promoteModel: Models<'PromoteModel'>;
  readonly rollbackModel: Models<'RollbackModel'>;
  close(): void;
}

/** Listings of thousands of reservations are larger than grpc-js' own 4 MiB. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** As proto/corecast/v1/reservation.proto bounds wait_ms. */
const MAX_WAIT_MS = 86_400_000;

/**
 * Connects, or says at once why not: grpc-js alone would retry a missing socket until the deadline, and the wrapper has an
 * FFmpeg to start.
 */
export async function connect(options: ConnectOptions): Promise<CorecastClient> {
  const { socket, timeoutMs } = options;
  const startedMs = Date.now();
  await probe(socket, timeoutMs);
  const channelOptions: ClientOptions = {
    'grpc.max_receive_message_length': MAX_RESPONSE_BYTES,
    'grpc.enable_channelz': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
  };
  const insecure = credentials.createInsecure();
  const open = <Service>(name: string): Service => {
    const service = `corecast.v1.${name}`;
    const Constructor = makeGenericClientConstructor(serviceDefinition(service), service);
    return new Constructor(`unix:${socket}`, insecure, channelOptions) as unknown as Service;
  };
  const reservations = lazy(() => open<reservation.ReservationServiceClient>('ReservationService'));
  const hosts = lazy(() => open<host.HostServiceClient>('HostService'));
  const histories = lazy(() => open<history.HistoryServiceClient>('HistoryService'));
  const models = lazy(() => open<model.ModelServiceClient>('ModelService'));
  await ready(reservations.get(), options, startedMs);
  const call = caller(socket, timeoutMs);
  const stream = streamer(socket);

  return {
    predict: (request, o) => call(o, (g, done) => reservations.get().predict(request, g, done)),
    reserve: (request, o) => {
      // grpc-js cannot count further than some thousand years; the daemon says that this is too long.
      const waitMs = Math.min(Number(request.waitMs ?? 0), MAX_WAIT_MS);
      const limit = (o?.timeoutMs ?? timeoutMs) + waitMs;
      return call({ ...o, timeoutMs: limit }, (g, done) => reservations.get().reserve(request, g, done));
    },
    attach: (request, o) => call(o, (g, done) => reservations.get().attach(request, g, done)),
    release: (request, o) => call(o, (g, done) => reservations.get().release(request, g, done)),
    listReservations: (request, o) =>
      call(o, (g, done) => reservations.get().listReservations(request, g, done)),
    explain: (request, o) => call(o, (g, done) => reservations.get().explain(request, g, done)),
    session: () => sessionStream(reservations.get().session(), stream),
    watchReservations: (o) => stream(o, () => reservations.get().watchReservations({})),
    getHost: (request, o) => call(o, (g, done) => hosts.get().getHost(request, g, done)),
    reportIngress: (request, o) => call(o, (g, done) => hosts.get().reportIngress(request, g, done)),
    queryHistory: (request, o) => stream(o, () => histories.get().queryHistory(request)),
    recordRun: (request, o) => call(o, (g, done) => histories.get().recordRun(request, g, done)),
    listRuns: (request, o) => stream(o, () => histories.get().listRuns(request)),
    getHistoryStats: (request, o) => call(o, (g, done) => histories.get().getHistoryStats(request, g, done)),
    verifyHistory: (request, o) => call(o, (g, done) => histories.get().verifyHistory(request, g, done)),
    compactHistory: (request, o) => call(o, (g, done) => histories.get().compactHistory(request, g, done)),
    backupHistory: (request, o) => call(o, (g, done) => histories.get().backupHistory(request, g, done)),
    importHistory: (requests, o) =>
      sendAll(requests, (done) =>
        call(o, (g, answered) => {
          const sending = histories.get().importHistory(g, answered);
          done(sending);
          return sending;
        }),
      ),
    listModels: (request, o) => call(o, (g, done) => models.get().listModels(request, g, done)),
    listModelSteps: (request, o) => call(o, (g, done) => models.get().listModelSteps(request, g, done)),
    getModelReport: (request, o) => call(o, (g, done) => models.get().getModelReport(request, g, done)),
    trainModel: (request, o) => stream(o, () => models.get().trainModel(request)),
    promoteModel: (request, o) => call(o, (g, done) => models.get().promoteModel(request, g, done)),
    rollbackModel: (request, o) => call(o, (g, done) => models.get().rollbackModel(request, g, done)),
    close() {
      for (const client of [reservations, hosts, histories, models]) client.made()?.close();
    },
  };
}

/** Resolves when HTTP/2 is up. Reserve's codec is compiled while the daemon answers. */
function ready(client: Client, { socket, timeoutMs }: ConnectOptions, startedMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(startedMs + timeoutMs, (error) => {
      if (error === undefined) return resolve();
      client.close();
      reject(unreachable(socket, `it accepts connections but does not answer within ${timeoutMs} ms`, error));
    });
    warmCodec('corecast.v1.ReservationService', 'Reserve');
  });
}

type Start<Response> = (
  options: { deadline: number },
  done: (error: ServiceError | null, response?: Response) => void,
) => Pick<ClientUnaryCall, 'cancel'>;

function caller(socket: string, timeoutMs: number) {
  return <Response>(options: CallOptions | undefined, start: Start<Response>): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { signal } = options ?? {};
      const deadline = Date.now() + (options?.timeoutMs ?? timeoutMs);
      const running = start({ deadline }, (error, response) => {
        signal?.removeEventListener('abort', cancel);
        if (error === null && response !== undefined) resolve(response);
        else reject(fromCallError(error, socket));
      });
      const cancel = () => running.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      if (signal?.aborted) cancel();
    });
}

/** Sends one message after another, as fast as they are taken, and gives the answer. An answer that comes early ends it. */
async function sendAll<Request, Response>(
  requests: AsyncIterable<Request>,
  start: (begun: (sending: ClientWritableStream<Request>) => void) => Promise<Response>,
): Promise<Response> {
  let stream: ClientWritableStream<Request> | undefined;
  let over = false;
  const answer = start((sending) => {
    stream = sending;
  }).finally(() => {
    over = true;
  });
  answer.catch(() => {});
  try {
    for await (const request of requests) {
      if (over || stream === undefined) break;
      if (!stream.write(request)) await Promise.race([once(stream, 'drain'), answer]);
    }
  } catch (error) {
    stream?.cancel();
    throw error;
  }
  stream?.end();
  return answer;
}

interface Incoming<Message> extends AsyncIterable<Message> {
  cancel(): void;
}

function streamer(socket: string) {
  return async function* <Message>(
    options: CallOptions | undefined,
    start: () => Incoming<Message>,
  ): AsyncGenerator<Message> {
    const running = start();
    const cancel = () => running.cancel();
    options?.signal?.addEventListener('abort', cancel, { once: true });
    if (options?.signal?.aborted) cancel();
    const timer = options?.timeoutMs === undefined ? undefined : setTimeout(cancel, options.timeoutMs);
    try {
      for await (const message of running) yield message;
    } catch (error) {
      throw fromCallError(error, socket);
    } finally {
      clearTimeout(timer);
      options?.signal?.removeEventListener('abort', cancel);
      running.cancel();
    }
  };
}

function sessionStream(
  duplex: ReturnType<reservation.ReservationServiceClient['session']>,
  stream: ReturnType<typeof streamer>,
): SessionStream {
  let over = false;
  let failure: unknown;
  duplex.once('end', () => {
    over = true;
  });
  // Kept for a holder that sends before it reads: grpc-js reports a failure once, to whoever listens then.
  duplex.once('error', (error) => {
    over = true;
    failure = error;
  });
  async function* incoming(): AsyncGenerator<SessionResponse__Output> {
    if (failure === undefined) yield* duplex as AsyncIterable<SessionResponse__Output>;
    if (failure !== undefined) throw failure;
  }
  return {
    send: (message) =>
      new Promise((resolve) => {
        if (over || duplex.writableEnded || duplex.write(message)) return resolve();
        const proceed = () => {
          for (const event of ['drain', 'end', 'error']) duplex.removeListener(event, proceed);
          resolve();
        };
        for (const event of ['drain', 'end', 'error']) duplex.once(event, proceed);
      }),
    messages: stream(undefined, () => Object.assign(incoming(), { cancel: () => duplex.cancel() })),
    end: () => duplex.end(),
    cancel: () => duplex.cancel(),
  };
}

function lazy<T>(make: () => T): { get(): T; made(): T | undefined } {
  let made: T | undefined;
  return {
    get() {
      made ??= make();
      return made;
    },
    made: () => made,
  };
}

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens on it',
  EACCES: "this user may not use it (it takes membership of the socket's group)",
};

function probe(path: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ path });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(unreachable(path, `no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(unreachable(path, ADVICE[error.code ?? ''] ?? error.message, error));
    });
  });
}
