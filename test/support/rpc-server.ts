import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CorecastClient, connect } from '../../src/client/connect.js';
import { configSchema } from '../../src/config/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { silentLog } from '../../src/lib/log.js';
import { hostAddon } from '../../src/lib/native.js';
import type { FinishedCall } from '../../src/rpc/call.js';
import { type RpcServerParts, startRpcServer } from '../../src/rpc/server.js';
import { MemoryControl } from './memory-control.js';

/** A real server on a socket of its own, with a Control over memory. */
export async function rpcServer(
  options: Partial<RpcServerParts> & { daemon?: object; limits?: object } = {},
) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-rpc-'));
  chmodSync(dir, 0o755);
  const socket = join(dir, 'corecast.sock');
  const { daemon, limits, ...parts } = options;
  const control = new MemoryControl();
  const calls: FinishedCall[] = [];
  const clients: CorecastClient[] = [];
  const config = configSchema.parse({ daemon: { socket, ...daemon }, limits: limits ?? {} });
  const server = await startRpcServer({
    control,
    config,
    addon: hostAddon(),
    log: silentLog,
    clock: systemClock,
    procRoot: '/proc',
    onCall: (call) => calls.push(call),
    ...parts,
  }).catch((error) => {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  });
  return {
    dir,
    socket,
    control,
    calls,
    config,
    server,
    async client(timeoutMs = 5_000): Promise<CorecastClient> {
      const client = await connect({ socket, timeoutMs });
      clients.push(client);
      return client;
    },
    async stop(graceMs = 200) {
      for (const client of clients) client.close();
      await server.stop(graceMs);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resolves once `holds`, or throws after 5 s. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never happened: ${what}`);
}
