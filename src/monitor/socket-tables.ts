import { ProcFile, unreadable } from './proc-file.js';

/**
 * What the kernel charges a socket for one waiting 1316-byte MPEG-TS datagram (rx_queue counts whole buffers, not payload):
 * 1316 + headers in a 2048-byte buffer, and the sk_buff.
 */
export const DATAGRAM_CHARGE_BYTES = 2304;

export interface SocketRow {
  readonly inode: number;
  readonly queueBytes: number;
  /** 0 for TCP, which has none. */
  readonly drops: number;
}

/** One kind of socket of the host: /proc/net/{udp,udp6,tcp,tcp6}. */
export class SocketTable {
  readonly #file: ProcFile;

  constructor(procRoot: string, name: 'udp' | 'udp6' | 'tcp' | 'tcp6') {
    this.#file = new ProcFile(`${procRoot}/net/${name}`);
  }

  /** Empty on a kernel without IPv6. */
  rows(): SocketRow[] {
    try {
      return parseSockets(this.#file.read(), this.#file.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  close(): void {
    this.#file.close();
  }
}

/** Documentation/networking/proc_net_tcp.rst; a UDP line has its drops at the end. */
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
      inode: Number(inode),
      queueBytes: Number.parseInt(queue[1]!, 16),
      drops: Number.isFinite(drops) ? drops : 0,
    });
  }
  return rows;
}
