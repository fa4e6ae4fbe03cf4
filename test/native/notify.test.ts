import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { addonPath, endChildren, has, nextLine, runNode, start } from '../support/children.js';

const dir = mkdtempSync(join(tmpdir(), 'corecast-notify-'));

/** Calls notify in a process whose environment names the socket; what it returned, or the error's code. */
async function notify(socket: string | undefined, state: string): Promise<string> {
  const { NOTIFY_SOCKET: _, ...env } = process.env;
  const { stdout } = await runNode(
    `try { console.log(require(${JSON.stringify(addonPath)}).notify(${JSON.stringify(state)})) }
     catch (error) { console.log(error.code, error.syscall) }`,
    { env: socket === undefined ? env : { ...env, NOTIFY_SOCKET: socket } },
  );
  return stdout.trim();
}

/** A datagram socket as the service manager has it (node has none); prints what arrives as JSON. */
async function listen(address: string) {
  const child = start('python3', [
    '-uc',
    `import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1].replace('@', '\\0', 1))
print('bound')
while True: print(json.dumps(s.recv(65536).decode()))`,
    address,
  ]);
  expect(await nextLine(child)).toBe('bound');
  return async () => JSON.parse(await nextLine(child)) as string;
}

describe('notify', () => {
  afterEach(endChildren);
  afterAll(() => rmSync(dir, { recursive: true }));

  it('answers false where nobody wants to know', async () => {
    expect(await notify(undefined, 'READY=1')).toBe('false');
    expect(await notify('', 'READY=1')).toBe('false');
  });

  it.for([
    ['a socket in the file system', join(dir, 'notify')],
    ['an abstract address', `@corecast-notify-${process.pid}`],
  ])('sends the state as one datagram to %s', async ([, address], ctx) => {
    if (!has('python3', '--version')) ctx.skip('no python3 to listen on a datagram socket');
    const received = await listen(address!);
    const state = 'READY=1\nSTATUS=12 channels on 40 CPUs – läuft';
    expect(await notify(address, state)).toBe('true');
    expect(await received()).toBe(state);
  });

  it('names the errno when it cannot send', async () => {
    expect(await notify(join(dir, 'nobody'), 'READY=1')).toBe('ENOENT sendto');
    expect(await notify('vsock:2:1234', 'READY=1')).toBe('EAFNOSUPPORT sendto');
    expect(await notify(`/${'x'.repeat(200)}`, 'READY=1')).toBe('EINVAL sendto');
    expect(await notify(join(dir, 'nobody'), '')).toBe('EINVAL sendto');
  });
});
