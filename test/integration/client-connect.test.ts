import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connect } from '../../src/client/connect.js';
import { RESERVE } from '../support/control-answers.js';
import { rpcServer } from '../support/rpc-server.js';

describe('connecting', () => {
  it('without a daemon fails at once and says what to do', async () => {
    const rpc = await rpcServer();
    await rpc.server.stop(0);
    const startedMs = performance.now();
    await expect(rpc.client()).rejects.toMatchObject({
      code: 'DAEMON_UNREACHABLE',
      message: expect.stringContaining(`${rpc.socket}: there is no such socket`),
    });
    expect(performance.now() - startedMs).toBeLessThan(1_000);
    await rpc.stop();
  });

  it('to something that is no daemon ends within the timeout', async () => {
    const rpc = await rpcServer();
    const path = join(rpc.dir, 'mute.sock');
    const mute = createServer().listen(path);
    await new Promise((resolve) => mute.once('listening', resolve));
    await expect(connect({ socket: path, timeoutMs: 300 })).rejects.toMatchObject({
      code: 'DAEMON_UNREACHABLE',
      message: expect.stringContaining('does not answer within 300 ms'),
    });
    mute.close();
    await rpc.stop();
  });

  it('is reported as lost when the daemon stops, and works again with the next one', async () => {
    const rpc = await rpcServer();
    const client = await rpc.client();
    await client.reserve(RESERVE);
    const session = client.session();
    const messages = session.messages[Symbol.asyncIterator]();
    await session.send({ reservationId: 'r1', token: 1 });
    await messages.next();
    const watch = client.watchReservations()[Symbol.asyncIterator]();
    await watch.next();
    const ended = Promise.all([
      expect(messages.next()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' }),
      expect(watch.next()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' }),
    ]);
    await rpc.server.stop(2_000);
    await ended;
    expect(rpc.control.sessionsClosed).toBe(0);
    const next = await rpcServer({ daemon: { socket: rpc.socket } });
    await expect(client.listModels({})).resolves.toMatchObject({ models: [{ id: 'baseline-1' }] });
    await next.stop();
    await rpc.stop();
  });
});
