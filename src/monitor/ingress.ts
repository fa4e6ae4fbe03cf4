import type { Log } from '../lib/log.js';
import { PROCESS_COLUMNS, type ProcSample, type TcpReader } from '../lib/native.js';
import { socketsOf } from '../lib/process-files.js';
import type { HeldInputs, SocketQueues } from './sample.js';
import { DATAGRAM_CHARGE_BYTES, type SocketRow, SocketTable } from './socket-tables.js';
import { TcpRates } from './tcp-rates.js';

const WIDTH = PROCESS_COLUMNS.length;
const column = (name: (typeof PROCESS_COLUMNS)[number]) => PROCESS_COLUMNS.indexOf(name);
const PID = column('pid');
const READ_BYTES = column('readBytes');
const IO_READ = column('ioRead');
/** Values of ioRead. */
const READ_NOW = 1;
const REFUSED = 2;

/**
 * Ticks between two looks at the sockets of a process, and of one that had none so far: the kernel takes 7 us a descriptor.
 * Processes take turns.
 */
const SOCKETS_EVERY = 60;
const NO_SOCKETS_EVERY = 300;
/** By this tick a wrapper has told what its process has open. */
const TOLD_BY = 5;
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
  /** Bytes read, and when, milliseconds; NaN until known. */
  bytes: number;
  bytesAtMs: number;
  bps: number;
  /** What its holder said last, and whether that is news. */
  told: HeldInputs | undefined;
  toldAnew: boolean;
  /** The kernel does not show us its sockets: its holder is believed. */
  refused: boolean;
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
 * /proc/PID/io and /proc/PID/fd of another user's process need CAP_SYS_PTRACE. Without it the wrapper, which runs as that
 * user, says what its FFmpeg has read and which sockets it has (SessionRequest.inputs); what they receive is asked of the
 * kernel all the same. In light mode there is no wrapper: NaN, said once.
 */
export class IngressCollector {
  readonly #procRoot: string;
  readonly #log: Log;
  readonly #monotonicMs: () => number;
  readonly #tracked = new Map<number, Tracked>();
  readonly #udp: readonly SocketTable[];
  readonly #tcp: readonly SocketTable[];
  readonly #tcpRates: TcpRates | undefined;
  readonly #drops = new Map<number, number>();
  readonly #byPid = new Map<number, ProcessIngress>();
  #saidRefused = false;
  #turns = 0;
  /** Ticks since the socket tables were read; they can be long on a host with many connections. */
  #tablesAge = 0;
  /** Datagrams that the tracked sockets dropped since they were first seen, for want of room in their queues. */
  droppedDatagrams = 0;

  /** `tcp`: undefined where the kernel has no sock_diag. */
  constructor(procRoot: string, log: Log, monotonicMs: () => number, tcp?: TcpReader) {
    this.#procRoot = procRoot;
    this.#log = log;
    this.#monotonicMs = monotonicMs;
    this.#udp = [new SocketTable(procRoot, 'udp'), new SocketTable(procRoot, 'udp6')];
    this.#tcp = [new SocketTable(procRoot, 'tcp'), new SocketTable(procRoot, 'tcp6')];
    this.#tcpRates = tcp && new TcpRates(tcp);
  }

  track(pid: number): void {
    this.#tracked.set(pid, {
      bytes: Number.NaN,
      bytesAtMs: Number.NEGATIVE_INFINITY,
      bps: Number.NaN,
      told: undefined,
      toldAnew: false,
      refused: false,
      sockets: new Set(),
      udp: [],
      unmeasured: false,
      dropped: 0,
      age: 0,
      turn: this.#turns++,
    });
  }

  untrack(pid: number): void {
    this.#tracked.delete(pid);
    this.#byPid.delete(pid);
  }

  /** What the holder of a process says that it has open. Counts where the kernel does not show it to us. */
  told(pid: number, inputs: HeldInputs): void {
    const tracked = this.#tracked.get(pid);
    if (tracked === undefined) return;
    const before = tracked.told?.socketInodes;
    const same =
      before?.length === inputs.socketInodes.length &&
      inputs.socketInodes.every((one, i) => one === before[i]);
    tracked.toldAnew ||= !same;
    tracked.told = inputs;
    if (tracked.refused) this.#setBytes(tracked, inputs.readBytes);
  }

  /** `sample`: undefined where the processes could not be read this time. */
  collect(sample: ProcSample | undefined, elapsedS: number): Ingress {
    this.#tcpRates?.advance(elapsedS);
    if (sample !== undefined) this.#takeBytes(sample);
    this.#lookUpSockets();
    this.#tcpRates?.readInTurn();
    const waiting = this.#udpQueues();
    let queueDatagrams = 0;
    for (const [pid, tracked] of this.#tracked) {
      tracked.age++;
      const ingress = this.#ingressOf(tracked, waiting);
      queueDatagrams += ingress.sockets.datagrams;
      this.#byPid.set(pid, ingress);
    }
    return { byPid: this.#byPid, queueDatagrams };
  }

  close(): void {
    for (const pid of [...this.#tracked.keys()]) this.untrack(pid);
    for (const table of [...this.#udp, ...this.#tcp]) table.close();
    this.#tcpRates?.close();
  }

  #ingressOf(tracked: Tracked, waiting: ReadonlyMap<number, SocketRow>): ProcessIngress {
    if (tracked.sockets.size === 0) return { bps: tracked.bps, sockets: NO_SOCKETS };
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

  #takeBytes({ processes, processCount }: ProcSample): void {
    for (let at = 0; at < processCount * WIDTH; at += WIDTH) {
      const read = processes[at + IO_READ]!;
      // In turn: most of them were not read.
      if (read !== READ_NOW && read !== REFUSED) continue;
      const tracked = this.#tracked.get(processes[at + PID]!);
      if (tracked === undefined) continue;
      if (read === READ_NOW) this.#setBytes(tracked, processes[at + READ_BYTES]!);
      else this.#refuse(tracked);
    }
  }

  #setBytes(tracked: Tracked, bytes: number): void {
    const nowMs = this.#monotonicMs();
    const tookMs = nowMs - tracked.bytesAtMs;
    if (tookMs <= 0) return;
    // NaN where there is no mark yet.
    tracked.bps = (Math.max(0, bytes - tracked.bytes) * 8000) / tookMs;
    tracked.bytes = bytes;
    tracked.bytesAtMs = nowMs;
  }

  #lookUpSockets(): void {
    let fresh = ++this.#tablesAge >= SOCKETS_EVERY;
    for (const [pid, tracked] of this.#tracked) {
      // A process opens its inputs in its first seconds.
      const every =
        tracked.sockets.size === 0 && tracked.age > SOCKETS_EVERY ? NO_SOCKETS_EVERY : SOCKETS_EVERY;
      const due = tracked.age === 0 || tracked.age === 5 || (tracked.age + tracked.turn) % every === 0;
      if (due) this.#lookUp(pid, tracked);
      if (due && tracked.age <= 5) fresh = true;
      if (!tracked.refused || !tracked.toldAnew) continue;
      tracked.sockets = new Set(tracked.told?.socketInodes);
      tracked.toldAnew = false;
      fresh = true;
    }
    if (!fresh) return;
    this.#tablesAge = 0;
    const withSockets = [...this.#tracked.values()].filter(({ sockets }) => sockets.size > 0);
    if (withSockets.length > 0) this.#tellApart(withSockets);
  }

  #lookUp(pid: number, tracked: Tracked): void {
    try {
      tracked.sockets = socketsOf(`${this.#procRoot}/${pid}/fd`);
      tracked.refused = false;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ESRCH') return;
      if (code !== 'EACCES' && code !== 'EPERM') throw error;
      this.#refuse(tracked);
    }
  }

  #refuse(tracked: Tracked): void {
    tracked.refused = true;
    if (this.#saidRefused || tracked.told !== undefined || tracked.age < TOLD_BY) return;
    this.#log.warn(
      {},
      'what reaches other users’ channels without a wrapper is not known (needs CAP_SYS_PTRACE, docs/production.md)',
    );
    this.#saidRefused = true;
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
}
