import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon, TCP_COLUMNS, type TcpReader } from '../../src/lib/native.js';
import { until } from '../support/children.js';

const host = hostAddon();

function hasSockDiag(): boolean {
  try {
    const reader = host.openTcpReader();
    reader.find([1]);
    reader.close();
    return true;
  } catch {
    return false;
  }
}

interface Row {
  readonly inode: number;
  readonly received: number;
  readonly waiting: number;
}

function rows(reader: TcpReader): Row[] {
  const values = reader.read();
  return Array.from({ length: values.length / TCP_COLUMNS.length }, (_, row) => {
    const named = TCP_COLUMNS.map((name, column) => [name, values[row * TCP_COLUMNS.length + column]]);
    return Object.fromEntries(named) as Row;
  });
}

/** The inode of a socket of this process. */
function inodeOf(socket: Socket): number {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  return Number(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))![1]);
}

describe.skipIf(!hasSockDiag())('what TCP sockets received (needs sock_diag in the kernel)', () => {
  const open: (Server | Socket)[] = [];
  afterEach(() => {
    for (const one of open.splice(0)) 'destroy' in one ? one.destroy() : one.close();
  });

  async function pair(address: string): Promise<{ near: Socket; far: Socket }> {
    const server = createServer();
    open.push(server);
    server.listen(0, address);
    await once(server, 'listening');
    const near = connect((server.address() as { port: number }).port, address);
    const [far] = (await once(server, 'connection')) as [Socket];
    open.push(near, far);
    return { near, far };
  }

  for (const address of ['127.0.0.1', '::1'])
    it(`is counted to the byte, and what waits is told apart (${address})`, async (ctx) => {
      const connected = await pair(address).catch(() => undefined);
      if (connected === undefined) return ctx.skip(`this host has no ${address}`);
      const { near, far } = connected;
      far.pause();
      const reader = host.openTcpReader();
      const inode = inodeOf(far);
      reader.find([inode, 1]);
      expect(rows(reader)).toEqual([{ inode, received: 0, waiting: 0 }]);
      near.write(Buffer.alloc(10_000));
      await until(() => rows(reader)[0]!.received === 10_000, '10,000 bytes received');
      // Node may have read a first piece before it paused.
      expect(rows(reader)[0]!.waiting).toBeLessThanOrEqual(10_000);
      far.resume();
      await until(() => rows(reader)[0]!.waiting === 0, 'everything read');
      expect(rows(reader)[0]!.received).toBe(10_000);
      reader.close();
    });

  it('only of the sockets that were looked for last, and none of one that closed', async () => {
    const [one, two] = [await pair('127.0.0.1'), await pair('127.0.0.1')];
    const reader = host.openTcpReader();
    expect(rows(reader)).toEqual([]);
    const inodes = [inodeOf(one.far), inodeOf(two.far)];
    reader.find(inodes);
    expect(
      rows(reader)
        .map(({ inode }) => inode)
        .sort(),
    ).toEqual([...inodes].sort());
    one.far.destroy();
    one.near.destroy();
    await until(() => rows(reader).length === 1, 'one socket gone');
    expect(rows(reader)[0]!.inode).toBe(inodes[1]);
    reader.find([]);
    expect(rows(reader)).toEqual([]);
    reader.close();
  });

  it('finds its own among many', async () => {
    const pairs = await Promise.all(Array.from({ length: 150 }, () => pair('127.0.0.1')));
    const reader = host.openTcpReader();
    const inodes = pairs.map(({ far }) => inodeOf(far));
    reader.find(inodes);
    expect(new Set(rows(reader).map(({ inode }) => inode))).toEqual(new Set(inodes));
    reader.close();
    expect(() => reader.read()).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(() => reader.find([1])).toThrow(expect.objectContaining({ code: 'EBADF' }));
    reader.close();
  });
});
