import { type ChildProcess, execFileSync, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { addonPath, end, endChildren, has, nextLine, runNode, start } from '../support/children.js';

const host = hostAddon();
const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd;

describe('process info', () => {
  afterEach(endChildren);

  it('reads the start time that /proc has, whatever the name of the process', () => {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const field22 = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    expect(host.startTicks(process.pid)).toBe(field22);
    expect(host.clockTicksPerSecond()).toBe(Number(execFileSync('getconf', ['CLK_TCK'])));
  });

  it('is not misled by spaces and parentheses in a name', async () => {
    const { stdout } = await runNode(`
      process.title = 'a) R 1 (b';
      const host = require(${JSON.stringify(addonPath)});
      console.log(JSON.stringify([host.startTicks(process.pid), host.getProcessAffinity(process.pid)[0].name,
        require('node:fs').readFileSync('/proc/self/stat', 'utf8')]));`);
    const [ticks, name, stat] = JSON.parse(stdout);
    expect(name).toBe('a) R 1 (b');
    expect(ticks).toBe(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]));
  });

  it('knows the real uid of a process', () => {
    expect(host.processUid(process.pid)).toBe(process.getuid!());
    expect(() => host.processUid(2 ** 31 - 1)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });
});

// unshare complains about a signal mask when its child is killed.
const quiet: SpawnOptions = { stdio: ['ignore', 'pipe', 'ignore'] };

/** A shell in a pid namespace of its own; prints the pid that its sleep has in there. */
async function startNamespace(): Promise<{ outer: ChildProcess; viewer: number; inner: number }> {
  const outer = start('unshare', ['--pid', '--fork', 'sh', '-c', 'sleep 60 & echo $!; wait'], quiet);
  const inner = Number(await nextLine(outer));
  const viewer = Number(readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8'));
  return { outer, viewer, inner };
}

describe('pids of other namespaces', () => {
  afterEach(endChildren);

  it('means the same pid to a viewer of this namespace', async () => {
    const child = start('sleep', ['60']);
    expect(host.translatePid(process.pid, child.pid!)).toBe(child.pid);
    await end(child);
    const gone = expect.objectContaining({ code: 'ESRCH' });
    expect(() => host.translatePid(process.pid, child.pid!)).toThrow(gone);
    expect(() => host.translatePid(child.pid!, process.pid)).toThrow(gone);
  });

  it('finds the process that a viewer in another namespace means, among siblings with equal numbers', async (ctx) => {
    if (!has('unshare', '--pid', '--fork', 'true')) ctx.skip('may not make pid namespaces');
    const spaces = await Promise.all([startNamespace(), startNamespace(), startNamespace()]);
    expect(new Set(spaces.map(({ inner }) => inner)).size).toBe(1);
    for (const { viewer, inner } of spaces) {
      const pid = host.translatePid(viewer, inner);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(/^Name:\s*(.*)$/m.exec(status)![1]).toBe('sleep');
      expect(Number(/^PPid:\s*(\d+)$/m.exec(status)![1])).toBe(viewer);
      expect(() => host.translatePid(viewer, inner + 1000)).toThrow(
        expect.objectContaining({ code: 'ESRCH' }),
      );
    }
    for (const { viewer } of spaces) process.kill(viewer, 'SIGKILL');
  });

  it('sees through namespaces within a namespace', async (ctx) => {
    if (!has('unshare', '--pid', '--fork', 'true')) ctx.skip('may not make pid namespaces');
    const script = 'unshare --pid --fork sleep 60 & sleep 0.2; echo $!; wait';
    const outer = start('unshare', ['--pid', '--fork', 'sh', '-c', script], quiet);
    const innerUnshare = Number(await nextLine(outer));
    const children = (pid: number) => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    const viewer = children(outer.pid!);
    const unshare = host.translatePid(viewer, innerUnshare);
    const sleep = children(unshare);
    const names = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${sleep}/status`, 'utf8'))![1]!.split('\t');
    expect(names).toHaveLength(3);
    expect(host.translatePid(viewer, Number(names[1]))).toBe(sleep);
    expect(host.translatePid(sleep, 1)).toBe(sleep);
    process.kill(viewer, 'SIGKILL');
  });
});

describe('peer credentials', () => {
  afterEach(endChildren);

  it('says who is at the other end of a unix socket', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'corecast-peer-'));
    const server = createServer().listen(join(dir, 'socket'));
    await once(server, 'listening');
    const connected = once(server, 'connection') as Promise<[Socket]>;
    const child = start(process.execPath, [
      '-e',
      `require('node:net').connect(${JSON.stringify(join(dir, 'socket'))}); setInterval(() => {}, 1e6)`,
    ]);
    const [socket] = await connected;
    expect(host.peerCredentials(fdOf(socket))).toEqual({
      pid: child.pid,
      uid: process.getuid!(),
      gid: process.getgid!(),
    });
    socket.on('error', () => {}).destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });

  it('refuses what has no peer to vouch for', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as { port: number }).port, '127.0.0.1');
    await once(client, 'connect');
    expect(() => host.peerCredentials(fdOf(client))).toThrow(
      expect.objectContaining({ code: 'ENOTCONN', syscall: 'getsockopt' }),
    );
    client.destroy();
    server.close();
    expect(() => host.peerCredentials(1_000_000)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    expect(() => host.peerCredentials(-1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
