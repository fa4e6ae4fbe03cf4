import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync } from 'node:fs';
import { resolve } from 'node:path';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SIGNATURE_MESSAGE } from '../support/control-answers.js';
import { rpcServer } from '../support/rpc-server.js';

const NOBODY = 65_534;
const PROTO_ROOT = resolve(import.meta.dirname, '../../proto');

describe('callers', () => {
  let rpc: Awaited<ReturnType<typeof rpcServer>>;
  beforeEach(async () => {
    rpc = await rpcServer({ daemon: { tcp_address: '127.0.0.1:0' } });
  });
  afterEach(async () => {
    await rpc.stop();
  });

  it('of different users at the same time are told apart by what the kernel says', async (ctx) => {
    if (process.getuid?.() !== 0) ctx.skip('needs root to run a client as another user');
    chownSync(rpc.socket, 0, NOBODY);
    const clients = [reserveAs(rpc.socket, 0, 0), reserveAs(rpc.socket, NOBODY, NOBODY)];
    const results = await Promise.all(clients.map((client) => client.done));
    expect(results).toEqual([
      { code: 0, uids: Array(20).fill(0) },
      { code: 0, uids: Array(20).fill(NOBODY) },
    ]);
    const pids = (uid: number) =>
      new Set(rpc.control.peers.filter((peer) => peer.uid === uid).map((peer) => peer.pid));
    expect([...pids(0)]).toEqual([clients[0]?.child.pid]);
    expect([...pids(NOBODY)]).toEqual([clients[1]?.child.pid]);
  });

  it('over TCP are nobody, whatever they claim', async () => {
    const address = rpc.server.addresses[1] ?? '';
    expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
    await reserveOverTcp(address);
    expect(rpc.control.peers).toEqual([{ uid: -1, gid: -1, pid: 0 }]);
  });

  it('name processes in their own pid namespace', async (ctx) => {
    const probe = spawn('unshare', ['--pid', '--fork', '--mount-proc', 'true'], { stdio: 'ignore' });
    const code = await new Promise((resolve) => probe.once('close', resolve).once('error', resolve));
    if (code !== 0) ctx.skip('may not make pid namespaces here');
    const child = spawn(
      'unshare',
      ['--pid', '--fork', '--mount-proc', process.execPath, '-e', ATTACH_SELF, rpc.socket, PROTO_ROOT],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const { pid, output } = await outputOf(child);
    // The client is process 1 in there; here it is unshare's child.
    expect(JSON.parse(output)).toEqual({ own: 1, attached: expect.any(Number) });
    const attached = rpc.control.attached[0]!;
    expect(attached.pid).toBe(attached.peer.pid);
    expect(attached.pid).toBeGreaterThan(1);
    expect(attached.pid).not.toBe(pid);
  });
});

const PRELUDE = `
  const grpc = require('@grpc/grpc-js');
  const { loadSync } = require('@grpc/proto-loader');
  const [socket, protos] = process.argv.slice(1);
  const options = { includeDirs: [protos], longs: Number, enums: String, defaults: true };
  const { corecast } = grpc.loadPackageDefinition(loadSync('corecast/v1/reservation.proto', options));
  const client = new corecast.v1.ReservationService('unix:' + socket, grpc.credentials.createInsecure());
  const call = (method, request) => new Promise((resolve, reject) =>
    client[method](request, (error, answer) => error ? reject(error) : resolve(answer)));
  const request = { name: 'x', channelClass: 'CHANNEL_CLASS_LIVE', idempotencyKey: 'k',
    signature: ${JSON.stringify(SIGNATURE_MESSAGE)} };
`;

/** Twenty calls in a row, each released again; prints the uid of each reservation. */
const RESERVE_MANY = `${PRELUDE}
  (async () => {
    const uids = [];
    for (let i = 0; i < 20; i++) {
      const { reservation } = await call('reserve', request);
      uids.push(reservation.uid);
      await call('release', { reservationId: reservation.id, token: reservation.token });
    }
    client.close();
    console.log(JSON.stringify(uids));
  })();
`;

const ATTACH_SELF = `${PRELUDE}
  (async () => {
    const { reservation } = await call('reserve', request);
    const lease = { reservationId: reservation.id, token: reservation.token };
    const answer = await call('attach', { ...lease, process: { pid: process.pid }, idempotencyKey: 'a' });
    client.close();
    console.log(JSON.stringify({ own: process.pid, attached: answer.reservation.process.pid }));
  })();
`;

function reserveAs(socket: string, uid: number, gid: number) {
  const child = spawn(process.execPath, ['-e', RESERVE_MANY, socket, PROTO_ROOT], {
    uid,
    gid,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return {
    child,
    done: outputOf(child).then(({ code, output }) => ({ code, uids: JSON.parse(output) as number[] })),
  };
}

async function outputOf(child: ChildProcess) {
  let output = '';
  child.stdout?.on('data', (text: Buffer) => {
    output += text.toString();
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  return { code, output, pid: child.pid };
}

function reserveOverTcp(address: string): Promise<unknown> {
  const definition = loadSync('corecast/v1/reservation.proto', { includeDirs: [PROTO_ROOT] });
  // biome-ignore lint/suspicious/noExplicitAny: grpc-js' own type of a package that was loaded at run time
  const { corecast } = loadPackageDefinition(definition) as any;
  const client = new corecast.v1.ReservationService(address, credentials.createInsecure());
  const request = { name: 'x', channelClass: 1, idempotencyKey: 'k', signature: SIGNATURE_MESSAGE };
  return new Promise((resolve, reject) => {
    const claim = new Metadata();
    claim.set('peer', 'uid=0,gid=0,pid=1');
    client.reserve(request, claim, (error: Error | null, answer: unknown) => {
      client.close();
      if (error === null) resolve(answer);
      else reject(error);
    });
  });
}
