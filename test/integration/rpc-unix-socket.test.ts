import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connect } from '../../src/client/connect.js';
import { RESERVE } from '../support/control-answers.js';
import { eventually, rpcServer } from '../support/rpc-server.js';

describe('the unix socket', () => {
  it('has mode 0660 and is gone after stop', async () => {
    const rpc = await rpcServer();
    expect(statSync(rpc.socket).mode & 0o777).toBe(0o660);
    await rpc.server.stop(100);
    expect(existsSync(rpc.socket)).toBe(false);
    await rpc.stop();
  });

  it('belongs to the configured group, and an unknown group is an error that names it', async (ctx) => {
    if (process.getuid?.() !== 0) ctx.skip('needs root to give the socket to another group');
    const rpc = await rpcServer({ daemon: { socket_group: 'daemon' } });
    expect(statSync(rpc.socket).gid).not.toBe(0);
    await rpc.stop();
    await expect(rpcServer({ daemon: { socket_group: 'no-such-group' } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { violations: [{ field: 'daemon.socket_group' }] },
    });
  });

  it('of a second daemon is refused while the first one answers', async () => {
    const rpc = await rpcServer();
    const second = rpcServer({ daemon: { socket: rpc.socket } });
    await expect(second).rejects.toMatchObject({ code: 'WRONG_STATE' });
    const client = await rpc.client();
    await expect(client.listModels({})).resolves.toBeDefined();
    await rpc.stop();
  });

  it('of a crashed daemon is replaced; a plain file in its place is not', async () => {
    const rpc = await rpcServer();
    const stale = join(rpc.dir, 'stale.sock');
    const crash = `require('net').createServer().listen('${stale}', () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', crash]);
    expect(statSync(stale).isSocket()).toBe(true);
    const next = await rpcServer({ daemon: { socket: stale } });
    await next.stop();

    const file = join(rpc.dir, 'file');
    writeFileSync(file, 'precious');
    await expect(rpcServer({ daemon: { socket: file } })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(existsSync(file)).toBe(true);
    await rpc.stop();
  });

  it('may be inherited from systemd, and then stays', async (ctx) => {
    const activate = 'systemd-socket-activate';
    if (spawnSync(activate, ['--version']).error !== undefined) ctx.skip(`${activate} is not installed`);
    const rpc = await rpcServer();
    const path = join(rpc.dir, 'inherited.sock');
    const script = `import { runnerImport } from 'vite';
      const { module } = await runnerImport('./test/support/serve-inherited.ts', { logLevel: 'silent' });
      await module.serveInherited();`;
    const child = spawn(activate, ['-l', path, process.execPath, '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.on('data', (text: Buffer) => {
      output += text.toString();
    });
    await eventually(() => existsSync(path), 'systemd made the socket');
    const client = await connect({ socket: path, timeoutMs: 25_000 });
    await expect(client.reserve(RESERVE)).resolves.toMatchObject({ reservation: { id: 'r1' } });
    client.close();
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
    expect(JSON.parse(output)).toEqual({ addresses: ['fd:3'], uids: [process.getuid?.()], left: [] });
    expect(existsSync(path)).toBe(true);
    await rpc.stop();
  });
});
