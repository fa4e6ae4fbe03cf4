import { readdirSync, readlinkSync } from 'node:fs';
import type { Log } from '../lib/log.js';
import { numberIn, ProcFile, unreadable } from './proc-file.js';

/**
 * Ticks between two reads of a process' counter: FFmpeg reads in bursts, and 100 processes of 20 threads each tick would be a
 * third of what the whole monitor may cost. Ticks between two looks at its sockets. Processes take turns.
 */
const BYTES_EVERY = 5;
const SOCKETS_EVERY = 30;
/**
 * What the kernel charges a socket for one waiting 1316-byte MPEG-TS datagram (rx_queue counts whole buffers, not payload):
 * 1316 + headers in a 2048-byte buffer, and the sk_buff.
 */
export const DATAGRAM_CHARGE_BYTES = 2304;

export interface Ingress {
  /** Bits per second read by each process; NaN where unknown. */
  readonly bps: ReadonlyMap<number, number>;
  /** Datagrams that wait at the UDP sockets of all tracked processes. */
  readonly queueDatagrams: number;
}

interface Tracked {
  readonly io: ProcFile;
  /** Bytes read; undefined until known. */
  before: number | undefined;
  /** Seconds since that was read. */
  sinceS: number;
  bps: number;
  sockets: ReadonlySet<string>;
  overNetwork: boolean;
  /** Ticks since it was tracked. */
  age: number;
  /** Its turn among the processes. */
  readonly turn: number;
}

/**
 * What reaches each channel. Files, pipes and unix sockets are read with read(2), which /proc/PID/io counts (rchar).
 * FFmpeg's network protocols use recv(2), which it does not count (measured: 20 MB through recv(2) raise rchar by
 * 106 bytes), and the kernel has no per-process count of them; a process with an internet socket is therefore
 * not measured here (NaN) rather than given a number that is near zero. Its UDP sockets' queues and drops are.
 *
 * /proc/PID/io and /proc/PID/fd of another user's process need CAP_SYS_PTRACE; without it: NaN, said once.
 */
export class IngressCollector {
  readonly #procRoot: string;
  readonly #log: Log;
  readonly #tracked = new Map<number, Tracked>();
  readonly #udp: readonly ProcFile[];
  readonly #tcp: readonly ProcFile[];
  readonly #drops = new Map<string, number>();
  #saidDenied = false;
  #turns = 0;
  /** Ticks since the socket tables were read; they can be long on a host with many connections. */
  #tablesAge = 0;
  /** Datagrams that the tracked sockets dropped since they were first seen, for want of room in their queues. */
  droppedDatagrams = 0;

  constructor(procRoot: string, log: Log) {
    this.#procRoot = procRoot;
    this.#log = log;
    this.#udp = ['udp', 'udp6'].map((name) => new ProcFile(`${procRoot}/net/${name}`));
    this.#tcp = ['tcp', 'tcp6'].map((name) => new ProcFile(`${procRoot}/net/${name}`));
  }

  track(pid: number): void {
    const io = new ProcFile(`${this.#procRoot}/${pid}/io`);
    this.#tracked.set(pid, {
      io,
      before: undefined,
      sinceS: 0,
      bps: Number.NaN,
      sockets: new Set(),
      overNetwork: false,
      age: 0,
      turn: this.#turns++,
    });
  }

  untrack(pid: number): void {
    this.#tracked.get(pid)?.io.close();
    this.#tracked.delete(pid);
  }

  collect(elapsedS: number): Ingress {
    this.#lookUpSockets();
    const bps = new Map<number, number>();
    for (const [pid, tracked] of this.#tracked) {
      tracked.sinceS += elapsedS;
      // The mark and the first rate at once, then in turn.
      if (tracked.age < 2 || (tracked.age + tracked.turn) % BYTES_EVERY === 0) this.#readBytes(tracked);
      tracked.age++;
      bps.set(pid, tracked.overNetwork ? Number.NaN : tracked.bps);
    }
    return { bps, queueDatagrams: this.#queued() };
  }

  close(): void {
    for (const pid of [...this.#tracked.keys()]) this.untrack(pid);
    for (const file of [...this.#udp, ...this.#tcp]) file.close();
  }

  #readBytes(tracked: Tracked): void {
    const { before, sinceS } = tracked;
    tracked.before = undefined;
    tracked.bps = Number.NaN;
    try {
      tracked.before = parseIo(tracked.io.read(), tracked.io.path);
      tracked.sinceS = 0;
    } catch (error) {
      this.#unlessGone(error);
      return;
    }
    if (before !== undefined && sinceS > 0) tracked.bps = (Math.max(0, tracked.before - before) * 8) / sinceS;
  }

  #lookUpSockets(): void {
    let fresh = ++this.#tablesAge >= SOCKETS_EVERY;
    for (const [pid, tracked] of this.#tracked) {
      // A process opens its inputs in its first seconds.
      const due =
        tracked.age === 0 || tracked.age === 5 || (tracked.age + tracked.turn) % SOCKETS_EVERY === 0;
      if (!due) continue;
      try {
        tracked.sockets = socketsOf(`${this.#procRoot}/${pid}/fd`);
      } catch (error) {
        this.#unlessGone(error);
      }
      if (tracked.age <= 5) fresh = true;
    }
    const withSockets = [...this.#tracked.values()].filter(({ sockets }) => sockets.size > 0);
    if (!fresh || withSockets.length === 0) return;
    this.#tablesAge = 0;
    const internet = new Set<string>();
    for (const file of [...this.#udp, ...this.#tcp])
      for (const { inode } of parseSockets(readIfThere(file), file.path)) internet.add(inode);
    for (const tracked of withSockets)
      tracked.overNetwork = [...tracked.sockets].some((inode) => internet.has(inode));
  }

  #queued(): number {
    const ours = new Set<string>();
    for (const { sockets, overNetwork } of this.#tracked.values())
      if (overNetwork) for (const inode of sockets) ours.add(inode);
    let bytes = 0;
    for (const file of ours.size === 0 ? [] : this.#udp)
      for (const { inode, queueBytes, drops } of parseSockets(readIfThere(file), file.path)) {
        if (!ours.has(inode)) continue;
        bytes += queueBytes;
        this.droppedDatagrams += Math.max(0, drops - (this.#drops.get(inode) ?? drops));
        this.#drops.set(inode, drops);
      }
    for (const inode of this.#drops.keys()) if (!ours.has(inode)) this.#drops.delete(inode);
    return Math.ceil(bytes / DATAGRAM_CHARGE_BYTES);
  }

  #unlessGone(error: unknown): void {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
    if (!this.#saidDenied)
      this.#log.warn(
        { err: error },
        'may not read the ingress of other users’ channels (needs CAP_SYS_PTRACE)',
      );
    this.#saidDenied = true;
  }
}

/** Bytes that the process passed to read(2) and its kin. */
export function parseIo(text: string, file = 'io'): number {
  // rchar is the first line since Linux 2.6.20; without a regular expression, as this runs for each process and tick.
  const end = text.indexOf('\n');
  if (!text.startsWith('rchar: ') || end < 8) throw unreadable(file, 1, 'rchar', text);
  return numberIn(file, 1, 'rchar', text.slice(7, end));
}

export interface SocketRow {
  readonly inode: string;
  readonly queueBytes: number;
  /** 0 for TCP, which has none. */
  readonly drops: number;
}

/** /proc/net/{udp,udp6,tcp,tcp6}, Documentation/networking/proc_net_tcp.rst; a UDP line has its drops at the end. */
export function parseSockets(text: string, file = 'net/udp'): SocketRow[] {
  const rows: SocketRow[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (i === 0 || line === '') continue;
    const fields = line.trim().split(/\s+/);
    const queue = /^[0-9A-F]+:([0-9A-F]+)$/.exec(fields[4] ?? '');
    const inode = fields[9];
    if (queue === null || inode === undefined || !/^\d+$/.test(inode))
      throw unreadable(file, i + 1, 'rx_queue and inode', line);
    const drops = fields.length === 13 ? Number(fields[12]) : 0;
    rows.push({
      inode,
      queueBytes: Number.parseInt(queue[1]!, 16),
      drops: Number.isFinite(drops) ? drops : 0,
    });
  }
  return rows;
}

/** Inodes of the sockets that a process holds. */
function socketsOf(fdDir: string): Set<string> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(fdDir)) {
    try {
      const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${fdDir}/${fd}`));
      if (match !== null) inodes.add(match[1]!);
    } catch {
      // Closed since the listing.
    }
  }
  return inodes;
}

/** A kernel without IPv6 has no udp6. */
function readIfThere(file: ProcFile): string {
  try {
    return file.read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
