import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { loopbackAddress } from '../config/address.js';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { PAGE, PAGE_POLICY } from './page.js';
import { type StatusSource, statusView } from './status.js';

export interface HttpServerParts {
  /** config.daemon.http_address; "" for none. */
  readonly address: string;
  readonly registry: Pick<Registry, 'metrics' | 'contentType'>;
  readonly control: StatusSource;
  /** What keeps the daemon from doing its work; empty when it is well. */
  readonly ailments: () => readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

export interface HttpServer {
  /** "HOST:PORT" as bound. */
  readonly address: string;
  stop(): Promise<void>;
}

const MAX_CONNECTIONS = 64;

/** /metrics, /healthz, /api/status and the page that shows it, on loopback; undefined when it is configured away. */
export async function startHttpServer(parts: HttpServerParts): Promise<HttpServer | undefined> {
  const place = loopbackAddress('daemon.http_address', parts.address);
  if (place === undefined) return undefined;
  const limits = {
    requestTimeout: 10_000,
    headersTimeout: 5_000,
    keepAliveTimeout: 5_000,
    maxHeaderSize: 8_192,
  };
  const server = createServer(limits, (request, response) => void answer(parts, request, response));
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(notBound(parts.address, cause)));
    server.listen(place, resolve);
  });
  server.on('error', (error) => parts.log.error({ err: error }, 'the HTTP server failed'));
  const bound = server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : place.port;
  return {
    address: place.host.includes(':') ? `[${place.host}]:${port}` : `${place.host}:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function answer(
  parts: HttpServerParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let result: Answer;
  try {
    result = await route(parts, request);
  } catch (error) {
    parts.log.error({ err: error, url: request.url }, 'an HTTP request failed');
    result = text(500, 'internal error; see the log of corecastd\n');
  }
  response.writeHead(result.status, {
    'Content-Type': result.type,
    'Content-Length': Buffer.byteLength(result.body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    ...result.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : result.body);
}

async function route(parts: HttpServerParts, request: IncomingMessage): Promise<Answer> {
  if (!isLoopbackName(request.headers.host)) {
    return text(421, 'corecastd answers to localhost only; use an SSH tunnel from elsewhere\n');
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { ...text(405, 'only GET and HEAD\n'), headers: { Allow: 'GET, HEAD' } };
  }
  switch ((request.url ?? '').split('?', 1)[0]) {
    case '/':
      return {
        status: 200,
        type: 'text/html; charset=utf-8',
        body: PAGE,
        headers: { 'Content-Security-Policy': PAGE_POLICY },
      };
    case '/metrics':
      return { status: 200, type: parts.registry.contentType, body: await parts.registry.metrics() };
    case '/healthz':
      return health(parts.ailments());
    case '/api/status':
      return json(200, await statusView(parts.control, parts.clock, parts.log));
    default:
      return text(404, 'not found; there are /, /metrics, /healthz and /api/status\n');
  }
}

function health(ailments: readonly string[]): Answer {
  if (ailments.length === 0) return json(200, { status: 'ok' });
  return json(503, { status: 'unavailable', reasons: ailments });
}

/**
 * A web page elsewhere can have its name resolve to 127.0.0.1 (DNS rebinding) and would then read this server as its own.
 * The Host header gives such a page away.
 */
function isLoopbackName(host: string | undefined): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(host ?? '');
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}

function notBound(address: string, cause: NodeJS.ErrnoException): CorecastError {
  const why = cause.code === 'EADDRINUSE' ? 'another program listens there' : messageOf(cause);
  const description = `daemon.http_address is ${JSON.stringify(address)}; ${why}`;
  return new CorecastError('CONFIG_INVALID', description, {
    violations: [{ field: 'daemon.http_address', description }],
    cause,
  });
}
