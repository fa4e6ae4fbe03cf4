import { setMaxListeners } from 'node:events';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { type ConnectionInjector, Server, ServerCredentials } from '@grpc/grpc-js';
import { loopbackAddress } from '../config/address.js';
import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { HostAddon } from '../lib/native.js';
import type { CallScope, FinishedCall } from './call.js';
import type { Control, Peer } from './control.js';
import { Health } from './health.js';
import { historyService } from './history-service.js';
import { hostService } from './host-service.js';
import { modelService } from './model-service.js';
import { ANONYMOUS, identify } from './peer.js';
import { readProgress } from './progress-connection.js';
import { loadServices, SERVICE_NAMES } from './proto.js';
import { addReflection } from './reflection.js';
import { reservationService } from './reservation-service.js';
import { listen, listenOnUnixSocket } from './unix-socket.js';

export interface RpcServerParts {
  readonly control: Control;
  readonly config: Pick<Config, 'daemon' | 'limits'>;
  readonly addon: Pick<HostAddon, 'peerCredentials' | 'translatePid'>;
  readonly log: Log;
  readonly clock: Clock;
  /** Where pid namespaces are read from; "/proc". */
  readonly procRoot: string;
  /** From takeInheritedSocket(). */
  readonly inheritedFd?: number;
  /** Told of every finished call, for metrics. */
  readonly onCall?: (call: FinishedCall) => void;
}

export interface RpcServer {
  /** The socket's path (or "fd:3"), then "HOST:PORT" where TCP is on. */
  readonly addresses: readonly string[];
  /**
   * Accepts nobody new, ends streams and waiting calls with UNAVAILABLE, lets the other calls finish for at most graceMs,
   * and removes the socket file. Sessions that end this way are not reported to Control as closed.
   */
  stop(graceMs: number): Promise<void>;
}

/** A holder keeps one connection; the rest is for the CLI, monitors and calls that overlap. */
const SPARE_CONNECTIONS = 256;
const STREAMS_PER_CONNECTION = 128;
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Connections without a call this long are closed; clients open the next one by themselves. */
const IDLE_MS = 600_000;

export async function startRpcServer(parts: RpcServerParts): Promise<RpcServer> {
  const { config, log } = parts;
  const tcp = loopbackAddress('daemon.tcp_address', config.daemon.tcp_address);
  const stopping = new AbortController();
  // One listener for each call under way.
  setMaxListeners(0, stopping.signal);
  const server = new Server({
    'grpc.max_receive_message_length': config.limits.message_bytes,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.max_connection_idle_ms': IDLE_MS,
    'grpc.enable_channelz': 0,
  });
  const scope: CallScope = { log, stopping: stopping.signal, onCall: parts.onCall ?? (() => {}) };
  const health = addServices(server, parts, scope);

  // Both listeners are our own, so that both are bounded alike and every connection is seen before grpc-js has it.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listeners: NetServer[] = [];
  const addresses: string[] = [];
  const ownProgress = new Set<Socket>();
  const listener = (prepare: (socket: Socket) => Peer): NetServer => {
    const net = createServer({ noDelay: true }, (socket) => {
      const peer = accept(socket, prepare, log);
      const report = peer && parts.control.progressOf(peer);
      if (report !== undefined) {
        ownProgress.add(socket);
        socket.once('close', () => ownProgress.delete(socket));
        readProgress(socket, parts.clock, report);
      } else if (peer !== undefined) injector.injectConnection(socket);
    });
    net.maxConnections = config.limits.channels + SPARE_CONNECTIONS;
    net.on('error', (error) => log.error({ err: error }, 'a listening socket failed'));
    listeners.push(net);
    return net;
  };
  try {
    const unix = listener((socket) => identify(socket, parts.addon));
    const place = { path: config.daemon.socket, group: config.daemon.socket_group };
    const { inheritedFd } = parts;
    addresses.push(
      await listenOnUnixSocket(unix, inheritedFd === undefined ? place : { ...place, inheritedFd }),
    );
    if (tcp !== undefined) {
      const net = listener(() => ANONYMOUS);
      await listen(net, tcp);
      const bound = net.address();
      const port = bound !== null && typeof bound === 'object' ? bound.port : tcp.port;
      addresses.push(tcp.host.includes(':') ? `[${tcp.host}]:${port}` : `${tcp.host}:${port}`);
    }
  } catch (error) {
    for (const net of listeners) net.close();
    server.forceShutdown();
    throw error;
  }
  health.setStatus('SERVING');

  let stopped: Promise<void> | undefined;
  return {
    addresses,
    stop(graceMs) {
      stopped ??= (async () => {
        health.setStatus('NOT_SERVING');
        for (const net of listeners) net.close();
        stopping.abort();
        for (const socket of ownProgress) socket.destroy();
        await shutdown(server, injector, graceMs);
      })();
      return stopped;
    },
  };
}

function addServices(server: Server, parts: RpcServerParts, scope: CallScope): Health {
  const { control, addon, clock, procRoot } = parts;
  const services = loadServices();
  server.addService(services.reservation, reservationService(control, scope, addon, procRoot));
  server.addService(services.host, hostService(control, scope, clock));
  server.addService(services.history, historyService(control, scope, clock));
  server.addService(services.model, modelService(control, scope));
  const health = new Health(SERVICE_NAMES);
  health.addToServer(server);
  addReflection(server);
  return health;
}

/** Who it is; undefined for a connection that was refused. */
function accept(socket: Socket, prepare: (socket: Socket) => Peer, log: Log): Peer | undefined {
  socket.on('error', (error) => log.debug({ err: error }, 'a connection failed'));
  try {
    return prepare(socket);
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'refused a connection whose credentials cannot be read');
    socket.destroy();
    return undefined;
  }
}

function shutdown(server: Server, injector: ConnectionInjector, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    injector.drain(graceMs);
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
