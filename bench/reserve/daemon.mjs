/** A corecastd of its own for a benchmark: spawned, with a state directory that goes with it. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { connect } = await import(`${dist}/client/connect.js`);
const { decode } = await import(`${dist}/reservation/ledger-format.js`);
const { levelStore } = await import(`${dist}/reservation/ledger-store.js`);

const CONNECT_MS = 20_000;

/** The limits are off, so that hundreds of small channels fit; everything else is as it ships. */
export async function startDaemon(dir) {
  const socket = join(dir, 'corecast.sock');
  const config = join(dir, 'corecast.toml');
  writeFileSync(
    config,
    [
      '[daemon]',
      `socket = ${JSON.stringify(socket)}`,
      `state_dir = ${JSON.stringify(join(dir, 'state'))}`,
      'http_address = ""',
      'log_level = "error"',
      '[limits]',
      'headroom = 0.0',
      'host_load = 1.0',
      'memory_reserve_mb = 0',
    ].join('\n'),
  );
  return spawnServer([`${dist}/main.js`, '--config', config], socket);
}

/** Any node program that serves corecast.v1 on a unix socket; resolves when it answers. */
export async function spawnServer(args, socket) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const end = async (signal) => {
    child.kill(signal);
    await gone;
  };
  const until = performance.now() + CONNECT_MS;
  for (;;) {
    try {
      const client = await connect({ socket, timeoutMs: 5_000 });
      client.close();
      return { socket, pid: child.pid, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
    } catch (error) {
      if (child.exitCode !== null || performance.now() > until) {
        await end('SIGKILL');
        throw new Error(`${args[0]} does not answer on ${socket}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** What lies in the ledger of a daemon that has ended: reservations by id, and the bytes that one Reserve wrote. */
export async function readLedger(dir) {
  const store = levelStore(join(dir, 'state', 'ledger'));
  await store.open();
  try {
    const reservations = new Map();
    const bytes = { r: [], a: [], m: [] };
    for await (const [key, value] of store.iterator()) {
      bytes[key[0]]?.push(key.length + Buffer.byteLength(value));
      if (!key.startsWith('r/')) continue;
      const decoded = decode(key, value);
      if (decoded.ok) reservations.set(decoded.body.reservation.id, decoded.body.reservation);
    }
    return { reservations, bytesOfReserve: mean(bytes.r) + mean(bytes.a) + mean(bytes.m) };
  } finally {
    await store.close();
  }
}

function mean(values) {
  return Math.round(values.reduce((a, b) => a + b, 0) / Math.max(1, values.length));
}
