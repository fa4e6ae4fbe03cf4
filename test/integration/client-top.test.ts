import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { clientAgainstServer } from '../support/client-against-server.js';
import { runCli } from '../support/client-cli.js';
import { RESERVE } from '../support/control-answers.js';

const haveScript = spawnSync('script', ['--version']).status === 0;
const world = clientAgainstServer();

/** `corecast top` on a terminal of its own: script(1) makes one. */
function onTerminal() {
  const command = `${process.execPath} ${world.cli} top --socket ${world.rpc.socket}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...process.env, TERM: 'xterm' } });
  let seen = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  return { child, seen: () => seen };
}

describe('corecast top', { timeout: 60_000 }, () => {
  it.skipIf(!haveScript)('draws host, channels and events, and gives the terminal back at ^C', async () => {
    const client = await world.rpc.client();
    const { child, seen } = onTerminal();
    await world.until(() => seen().includes('encoder-7'), 'the first frame');
    expect(seen()).toContain('\u001b[?1049h');
    await client.reserve(RESERVE);
    await world.until(() => /reserved +.*news/.test(seen()), 'the event');
    child.stdin.write('\u0003');
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(seen().endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
  });

  it('prints once where there is no terminal, and ends with 69 where there is no daemon', async () => {
    await (await world.rpc.client()).reserve(RESERVE);
    const once = await runCli(world.cli, ['top', '--socket', world.rpc.socket]);
    expect(once).toMatchObject({ code: 0, stderr: '' });
    expect(once.stdout.toString()).toMatch(/^corecast {2}encoder-7[\s\S]* news\n$/);
    expect(once.stdout.includes('\u001b')).toBe(false);
    const none = await runCli(world.cli, ['top', '--socket', `${world.dir}/none.sock`]);
    expect(none.code).toBe(69);
  });
});
