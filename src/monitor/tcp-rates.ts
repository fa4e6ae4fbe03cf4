import { TCP_COLUMNS, type TcpReader } from '../lib/native.js';

const WIDTH = TCP_COLUMNS.length;
const INODE = TCP_COLUMNS.indexOf('inode');
const RECEIVED = TCP_COLUMNS.indexOf('received');
const WAITING = TCP_COLUMNS.indexOf('waiting');

/** Ticks between two reads: a question to the kernel for each socket. */
const READ_EVERY = 5;

interface Connection {
  received: number;
  /** When that was. */
  readAtS: number;
  /** NaN until it was read twice. */
  bps: number;
  waitingBytes: number;
}

/** What TCP sockets receive. */
export class TcpRates {
  readonly #reader: TcpReader;
  #byInode = new Map<number, Connection>();
  /** Seconds of all ticks. */
  #nowS = 0;
  /** Ticks until the next read. */
  #wait = 0;

  constructor(reader: TcpReader) {
    this.#reader = reader;
  }

  /** First thing in a tick. */
  advance(elapsedS: number): void {
    this.#nowS += elapsedS;
  }

  /** Watches the established ones of these from now on. */
  find(inodes: readonly number[]): void {
    this.#reader.find(inodes);
    this.#read();
    // The first rate of new ones at the next tick.
    this.#wait = 1;
  }

  readInTurn(): void {
    if (this.#byInode.size === 0 || this.#wait-- > 0) return;
    this.#read();
    this.#wait = READ_EVERY - 1;
  }

  /** Of a process that holds these sockets; undefined when none is a connection. `bps` is NaN before its first rate. */
  of(sockets: ReadonlySet<number>): { bps: number; waitingBytes: number } | undefined {
    let found = false;
    let [bps, waitingBytes] = [0, 0];
    for (const inode of sockets) {
      const connection = this.#byInode.get(inode);
      if (connection === undefined) continue;
      found = true;
      bps += connection.bps;
      waitingBytes += connection.waitingBytes;
    }
    return found ? { bps, waitingBytes } : undefined;
  }

  close(): void {
    this.#reader.close();
  }

  #read(): void {
    const rows = this.#reader.read();
    const found = new Map<number, Connection>();
    for (let row = 0; row < rows.length; row += WIDTH) {
      const inode = rows[row + INODE]!;
      const received = rows[row + RECEIVED]!;
      const before = this.#byInode.get(inode);
      const elapsedS = before === undefined ? 0 : this.#nowS - before.readAtS;
      const bps = elapsedS > 0 ? (Math.max(0, received - before!.received) * 8) / elapsedS : Number.NaN;
      const now = { received, readAtS: this.#nowS, bps, waitingBytes: rows[row + WAITING]! };
      // Read twice in a tick: the earlier mark stands.
      found.set(inode, before !== undefined && elapsedS === 0 ? before : now);
    }
    this.#byInode = found;
  }
}
