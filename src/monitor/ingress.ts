import type { Log } from '../lib/log.js';
import type { TcpReader } from '../lib/native.js';
import { numberIn, ProcFile, unreadable } from './proc-file.js';
import type { SocketQueues } from './sample.js';
import { DATAGRAM_CHARGE_BYTES, type SocketRow, SocketTable, socketsOf } from './socket-tables.js';
import { TcpRates } from './tcp-rates.js';

/**
 * Ticks between two reads of a process' counter: FFmpeg reads in bursts, and 100 processes each tick would be a tenth of
 * what the whole monitor may cost. Ticks between two looks at its sockets. Processes take turns.
 */
const BYTES_EVERY = 5;
const SOCKETS_EVERY = 60;
/** What a process with a UDP socket reads elsewhere says something of its ingress only above this. */
const LEAST_BPS = 16_000;

export interface ProcessIngress {
  /** Bits per second; NaN where unknown. */
  readonly bps: number;
  readonly sockets: SocketQueues;
}

export interface Ingress {
  readonly byPid: ReadonlyMap<number, ProcessIngress>;
  /** Datagrams that wait at the UDP sockets of all tracked processes. */
  readonly queueDatagrams: number;
}

export const NO_SOCKETS: SocketQueues = { datagrams: 0, dropped: 0, bytes: 0 };
export const NO_INGRESS: Ingress = { byPid: new Map(), queueDatagrams: 0 };

interface Tracked {
  readonly io: ProcFile;
  /** Bytes read; undefined until known. */
  before: number | undefined;
  /** Seconds since that was read. */
  sinceS: number;
  bps: number;
  sockets: ReadonlySet<number>;
  /** Its UDP sockets. */
  udp: readonly number[];
  /** It has TCP connections that cannot be measured. */
  unmeasured: boolean;
  dropped: number;
  /** Ticks since it was tracked. */
  age: number;
  /** Its turn among the processes. */
  readonly turn: number;
}

/**
 * What reaches each channel. Files, pipes and unix sockets are read with read(2), which /proc/PID/io counts (rchar).
 * FFmpeg's network protocols use recv(2), which it does not count (measured: 20 MB through recv(2) raise rchar by
 * 106 bytes): what TCP sockets received is asked of the kernel by sock_diag(7). Of UDP it counts no bytes, so that the rate of
 * a process that reads UDP is not known (NaN) rather than a number near zero; its queues and drops are.
 *
 * /proc/PID/io and /proc/PID/fd of another user's process need CAP_SYS_PTRACE; without it: NaN, said once.
 */
export class IngressCollector {
  readonly #procRoot: string;
  readonly #log: Log;
  readonly #tracked = new Map<number, Tracked>();
  readonly #udp: readonly SocketTable[];
  readonly #tcp: readonly SocketTable[];
  readonly #tcpRates: TcpRates | undefined;
  readonly #drops = new Map<number, number>();
  #saidDenied = false;
  #turns = 0;
  /** Ticks since the socket tables were read; they can be long on a host with many connections. */
  #tablesAge = 0;
  /** Datagrams that the tracked sockets dropped since they were first seen, for want of room in their queues. */
  droppedDatagrams = 0;

  /** `tcp`: undefined where the kernel has no sock_diag. */
  constructor(procRoot: string, log: Log, tcp?: TcpReader) {
    this.#procRoot = procRoot;
    this.#log = log;
    this.#udp = [new SocketTable(procRoot, 'udp'), new SocketTable(procRoot, 'udp6')];
    this.#tcp = [new SocketTable(procRoot, 'tcp'), new SocketTable(procRoot, 'tcp6')];
    this.#tcpRates = tcp && new TcpRates(tcp);
  }

  track(pid: number): void {
    this.untrack(pid);
    this.#tracked.set(pid, {
      io: new ProcFile(`${this.#procRoot}/${pid}/io`),
      before: undefined,
      sinceS: 0,
      bps: Number.NaN,
      sockets: new Set(),
      udp: [],
      unmeasured: false,
      dropped: 0,
      age: 0,
      turn: this.#turns++,
    });
  }

  untrack(pid: number): void {
    this.#tracked.get(pid)?.io.close();
    this.#tracked.delete(pid);
  }

  collect(elapsedS: number): Ingress {
    this.#tcpRates?.advance(elapsedS);
    this.#lookUpSockets();
    this.#tcpRates?.readInTurn();
    const waiting = this.#udpQueues();
    const byPid = new Map<number, ProcessIngress>();
    let queueDatagrams = 0;
    for (const [pid, tracked] of this.#tracked) {
      tracked.sinceS += elapsedS;
      // The mark and the first rate at once, then in turn.
      if (tracked.age < 2 || (tracked.age + tracked.turn) % BYTES_EVERY === 0) this.#readBytes(tracked);
      tracked.age++;
      const ingress = this.#ingressOf(tracked, waiting);
      queueDatagrams += ingress.sockets.datagrams;
      byPid.set(pid, ingress);
    }
    return { byPid, queueDatagrams };
  }

  close(): void {
    for (const pid of [...this.#tracked.keys()]) this.untrack(pid);
    for (const table of [...this.#udp, ...this.#tcp]) table.close();
    this.#tcpRates?.close();
  }

  #ingressOf(tracked: Tracked, waiting: ReadonlyMap<number, SocketRow>): ProcessIngress {
    const tcp = this.#tcpRates?.of(tracked.sockets);
    let udpBytes = 0;
    for (const inode of tracked.udp) {
      const row = waiting.get(inode);
      if (row === undefined) continue;
      udpBytes += row.queueBytes;
      tracked.dropped += this.#newDrops(row);
    }
    // A program that reads its socket with read(2) counts in both.
    const bps = tcp === undefined ? tracked.bps : Math.max(tracked.bps || 0, tcp.bps);
    const unknown = tracked.unmeasured || (tracked.udp.length > 0 && !(bps >= LEAST_BPS));
    return {
      bps: unknown ? Number.NaN : bps,
      sockets: {
        datagrams: Math.ceil(udpBytes / DATAGRAM_CHARGE_BYTES),
        dropped: tracked.dropped,
        bytes: tcp?.waitingBytes ?? 0,
      },
    };
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
    if (!fresh) return;
    this.#tablesAge = 0;
    const withSockets = [...this.#tracked.values()].filter(({ sockets }) => sockets.size > 0);
    if (withSockets.length > 0) this.#tellApart(withSockets);
  }

  #tellApart(withSockets: readonly Tracked[]): void {
    const all = withSockets.flatMap(({ sockets }) => [...sockets]);
    this.#tcpRates?.find(all);
    const inodes = (tables: readonly SocketTable[]) =>
      new Set(tables.flatMap((table) => table.rows().map(({ inode }) => inode)));
    const udp = inodes(this.#udp);
    const tcp = this.#tcpRates === undefined ? inodes(this.#tcp) : new Set<number>();
    for (const tracked of withSockets) {
      tracked.udp = [...tracked.sockets].filter((inode) => udp.has(inode));
      tracked.unmeasured = [...tracked.sockets].some((inode) => tcp.has(inode));
    }
  }

  #udpQueues(): ReadonlyMap<number, SocketRow> {
    const ours = new Set<number>();
    for (const { udp } of this.#tracked.values()) for (const inode of udp) ours.add(inode);
    for (const inode of this.#drops.keys()) if (!ours.has(inode)) this.#drops.delete(inode);
    const found = new Map<number, SocketRow>();
    if (ours.size > 0)
      for (const table of this.#udp)
        for (const row of table.rows()) if (ours.has(row.inode)) found.set(row.inode, row);
    return found;
  }

  #newDrops({ inode, drops }: SocketRow): number {
    const more = Math.max(0, drops - (this.#drops.get(inode) ?? drops));
    this.#drops.set(inode, drops);
    this.droppedDatagrams += more;
    return more;
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
