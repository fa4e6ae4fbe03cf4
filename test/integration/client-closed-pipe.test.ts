import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildCli } from '../support/client-cli.js';
import { rpcServer } from '../support/rpc-server.js';

/* `corecast ... | head`, with a head that is gone before the first line. */

let built: { cli: string; remove(): void };
let rpc: Awaited<ReturnType<typeof rpcServer>>;
const dir = mkdtempSync(join(tmpdir(), 'corecast-closed-pipe-'));

beforeAll(async () => {
  built = buildCli();
  rpc = await rpcServer();
}, 60_000);
afterAll(async () => {
  await rpc.stop();
  built.remove();
  rmSync(dir, { recursive: true });
});

async function unread(stream: 'stdout' | 'stderr', args: readonly string[]) {
  const child = spawn(process.execPath, [built.cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let other = '';
  child[stream].destroy();
  child[stream === 'stdout' ? 'stderr' : 'stdout'].setEncoding('utf8').on('data', (text: string) => {
    other += text;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, other };
}

test.each([
  '--help',
  'simulate --help',
  'status',
  'status --json',
  'reservations',
  'top --once',
  'history list --json',
  'history query host.busy --json',
  'models list --json',
])('`corecast %s` without a reader ends as by SIGPIPE and says nothing', async (line) => {
  const asks = !line.includes('--help');
  const ended = await unread('stdout', [...line.split(' '), ...(asks ? ['--socket', rpc.socket] : [])]);
  expect(ended).toEqual({ code: 141, signal: null, other: '' });
});

test('a channel goes on when nobody reads what its wrapper says', async () => {
  const out = join(dir, 'out.mkv');
  const encode = [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=64x64:rate=25:duration=2',
    '-c:v',
    'libx264',
    '-y',
    out,
  ];
  // No daemon there: the wrapper has a warning to say before FFmpeg starts.
  const args = ['run', '--socket', join(dir, 'none.sock'), '--no-probe', '--json', '--'];
  const { code } = await unread('stderr', [...args, 'ffmpeg', '-loglevel', 'quiet', '-nostdin', ...encode]);
  expect(code).toBe(0);
  expect(existsSync(out)).toBe(true);
});
