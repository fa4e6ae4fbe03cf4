import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, unlinkSync } from 'node:fs';
import { connect, type ListenOptions, type Server } from 'node:net';
import { dirname } from 'node:path';
import { CorecastError, messageOf } from '../lib/errors.js';

export interface SocketPlace {
  readonly path: string;
  /** Name or number of the group that may use it; empty keeps the daemon's own. */
  readonly group: string;
  /** A listening socket that systemd passed in; its mode and owner are the socket unit's. */
  readonly inheritedFd?: number;
}

/**
 * Listens on the daemon's unix socket, mode 0660. A socket file that nobody answers on is left over from a crash and is
 * replaced; one that somebody answers on is another daemon's and stops us. Returns the address.
 */
export async function listenOnUnixSocket(server: Server, place: SocketPlace): Promise<string> {
  const { path, group, inheritedFd } = place;
  if (inheritedFd !== undefined) {
    await listen(server, { fd: inheritedFd });
    return `fd:${inheritedFd}`;
  }
  const gid = group === '' ? undefined : groupId(group, readFileSync('/etc/group', 'utf8'));
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw badSocket(path, `its directory cannot be made: ${messageOf(cause)}`, cause);
  }
  await removeStale(path);
  // Until group and mode are set, only the daemon's own user may connect.
  const umask = process.umask(0o177);
  const listening = listen(server, { path });
  process.umask(umask);
  try {
    await listening;
    if (gid !== undefined) chownSync(path, -1, gid);
    chmodSync(path, 0o660);
  } catch (cause) {
    server.close();
    throw badSocket(path, messageOf(cause), cause);
  }
  return path;
}

/**
 * The socket that systemd passed, sd_listen_fds(3): exactly one, and meant for this process. Forgets the variables, so
 * that no child takes them for its own.
 */
export function takeInheritedSocket(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const ours = env['LISTEN_PID'] === String(pid);
  const count = Number(env['LISTEN_FDS'] ?? 0);
  delete env['LISTEN_PID'];
  delete env['LISTEN_FDS'];
  delete env['LISTEN_FDNAMES'];
  if (!ours || count === 0) return undefined;
  if (count === 1) return 3;
  throw new CorecastError('CONFIG_INVALID', `systemd passed ${count} sockets; corecastd takes one`);
}

/** From the text of group(5). Groups of a directory service are not in there: name them by number. */
export function groupId(group: string, groupFile: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of groupFile.split('\n')) {
    const [name, , gid] = line.split(':');
    if (name === group && gid !== undefined) return Number(gid);
  }
  const description = `daemon.socket_group is ${JSON.stringify(group)}; expected a group of /etc/group, or a number`;
  throw new CorecastError('CONFIG_INVALID', description, {
    violations: [{ field: 'daemon.socket_group', description }],
  });
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw badSocket(path, 'something that is not a socket is in its place');
  if (await answers(path)) {
    throw new CorecastError(
      'WRONG_STATE',
      `another corecastd answers on ${path}; stop it first, or give this one its own daemon.socket`,
      { metadata: { socket: path } },
    );
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // EAGAIN: a full backlog. Somebody is there.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(badSocket(path, error.message, error));
    });
  });
}

export function listen(server: Server, options: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

function badSocket(path: string, why: string, cause?: unknown): CorecastError {
  const description = `daemon.socket is ${JSON.stringify(path)}; ${why}`;
  return new CorecastError('CONFIG_INVALID', description, {
    violations: [{ field: 'daemon.socket', description }],
    cause,
  });
}
