import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Inodes of the sockets that a process holds, by its folder of descriptors (/proc/PID/fd). */
export function socketsOf(fdDir: string): Set<number> {
  const inodes = new Set<number>();
  for (const fd of readdirSync(fdDir)) {
    try {
      const link = readlinkSync(`${fdDir}/${fd}`);
      if (link.startsWith('socket:[')) inodes.add(Number.parseInt(link.slice('socket:['.length), 10));
    } catch {
      // Closed since the listing.
    }
  }
  return inodes;
}

/** Bytes that a process passed to read(2) and its kin: rchar of /proc/PID/io. */
export function readBytesOf(ioFile: string): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(ioFile, 'latin1'))?.[1] ?? 0);
}
