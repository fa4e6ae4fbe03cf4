import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICE_NAMES } from '../../src/rpc/proto.js';
import { SIGNATURE_MESSAGE } from '../support/control-answers.js';
import { rpcServer } from '../support/rpc-server.js';

const BUF = 'node_modules/.bin/buf';

describe('buf curl, which has no proto file of ours', () => {
  let rpc: Awaited<ReturnType<typeof rpcServer>>;
  beforeAll(async () => {
    rpc = await rpcServer();
  });
  afterAll(async () => {
    await rpc.stop();
  });

  const curl = (path: string, ...more: string[]) => {
    const common = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--unix-socket', rpc.socket];
    return output([...common, ...more, `http://localhost${path}`]);
  };
  const request = JSON.stringify({
    signature: SIGNATURE_MESSAGE,
    name: 'curl',
    channelClass: 'CHANNEL_CLASS_LIVE',
    idempotencyKey: 'k1',
  });

  it('lists the services by reflection', async (ctx) => {
    if (!existsSync(BUF)) ctx.skip('buf is not installed');
    const { code, stdout } = await curl('', '--list-services');
    expect(code).toBe(0);
    const names = stdout.trim().split('\n');
    for (const name of [...SERVICE_NAMES, 'grpc.health.v1.Health']) expect(names).toContain(name);
    const methods = await curl('', '--list-methods');
    expect(methods.stdout).toContain('corecast.v1.ReservationService/Reserve');
  });

  it('calls Predict and Reserve and sees errors with their details', async (ctx) => {
    if (!existsSync(BUF)) ctx.skip('buf is not installed');
    const { name: _, idempotencyKey: __, ...what } = JSON.parse(request);
    const predict = await curl('/corecast.v1.ReservationService/Predict', '-d', JSON.stringify(what));
    expect(JSON.parse(predict.stdout).decision).toMatchObject({ outcome: 'OUTCOME_ACCEPTED' });
    const reserve = await curl('/corecast.v1.ReservationService/Reserve', '-d', request);
    expect(JSON.parse(reserve.stdout).reservation).toMatchObject({ name: 'curl', token: '1' });
    expect(rpc.control.peers).toMatchObject([{ uid: process.getuid?.() }]);
    const bad = await curl('/corecast.v1.ReservationService/Reserve', '-d', '{"priority": 200}');
    expect(bad.code).not.toBe(0);
    const error = JSON.parse(bad.stderr);
    expect(error.code).toBe('invalid_argument');
    const kinds = error.details.map((detail: { type: string }) => detail.type);
    expect(kinds).toEqual(['google.rpc.ErrorInfo', 'google.rpc.BadRequest']);
  });

  it('sees that every service is healthy', async (ctx) => {
    if (!existsSync(BUF)) ctx.skip('buf is not installed');
    const list = await curl('/grpc.health.v1.Health/List', '-d', '{}');
    const serving = ['', ...SERVICE_NAMES].map((name) => [name, { status: 'SERVING' }]);
    expect(JSON.parse(list.stdout)).toEqual({ statuses: Object.fromEntries(serving) });
  });
});

function output(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(BUF, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text: Buffer) => {
      stdout += text.toString();
    });
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
