import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { CorecastError } from '../lib/errors.js';
import type { HostAddon } from '../lib/native.js';
import type { Peer } from './control.js';

/** Nobody the kernel vouches for: TCP, or a connection that was gone before it was asked. */
export const ANONYMOUS: Peer = { uid: -1, gid: -1, pid: 0 };

/**
 * Reads SO_PEERCRED of a fresh connection and writes it where grpc-js looks for the caller's address. Call.getPeer()
 * returns the socket's remoteAddress, which a unix socket does not have, so every handler gets the credentials from an
 * API that grpc-js documents; nothing a client sends can end up there.
 */
export function identify(socket: Socket, addon: Pick<HostAddon, 'peerCredentials'>): Peer {
  const handle = (socket as Socket & { _handle?: { fd?: number } })._handle;
  if (handle?.fd === undefined || handle.fd < 0) return ANONYMOUS;
  const { uid, gid, pid } = addon.peerCredentials(handle.fd);
  const peer: Peer = { uid, gid, pid };
  Object.defineProperty(socket, 'remoteAddress', { value: formatPeer(peer) });
  return peer;
}

/** The caller, from grpc-js' Call.getPeer(). TCP addresses read as ANONYMOUS. */
export function parsePeer(text: string): Peer {
  const match = /^uid=(\d+),gid=(\d+),pid=(\d+)$/.exec(text);
  if (match === null) return ANONYMOUS;
  return { uid: Number(match[1]), gid: Number(match[2]), pid: Number(match[3]) };
}

function formatPeer(peer: Peer): string {
  return `uid=${peer.uid},gid=${peer.gid},pid=${peer.pid}`;
}

/**
 * The daemon's number for a process that the caller knows as `pid`. A caller in a container counts from its own pid
 * namespace. NSpid in /proc/PID/status tells (proc_pid_status(5)) and, unlike /proc/PID/ns/pid, may be read by anyone.
 */
export function daemonPid(
  peer: Peer,
  pid: number,
  addon: Pick<HostAddon, 'translatePid'>,
  procRoot: string,
): number {
  if (peer.uid === -1) return pid;
  if (peer.pid === 0) {
    throw new CorecastError(
      'PERMISSION_DENIED',
      `pid ${pid} cannot be resolved: the caller is outside the daemon's pid namespace; run corecastd in the host's`,
    );
  }
  const nested = namespaceDepth(procRoot, String(peer.pid)) > namespaceDepth(procRoot, 'self');
  if (!nested) return pid;
  try {
    return addon.translatePid(peer.pid, pid);
  } catch (cause) {
    throw new CorecastError('PROCESS_GONE', `no process ${pid} in the caller's pid namespace`, { cause });
  }
}

/** How many pid namespaces deep a process is, seen from procRoot; 0 when it is gone. */
function namespaceDepth(procRoot: string, pid: string): number {
  try {
    return parseNamespaceDepth(readFileSync(`${procRoot}/${pid}/status`, 'latin1'));
  } catch {
    return 0;
  }
}

export function parseNamespaceDepth(status: string): number {
  const line = /^NSpid:\s*(.*)$/m.exec(status)?.[1] ?? '';
  return line.split(/\s+/).filter((word) => word !== '').length;
}
