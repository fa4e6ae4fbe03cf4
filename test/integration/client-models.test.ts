import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCli, startCli } from '../support/client-cli.js';
import { rpcServer } from '../support/rpc-server.js';

let built: ReturnType<typeof buildCli>;
let rpc: Awaited<ReturnType<typeof rpcServer>>;
let dir: string;

beforeAll(async () => {
  built = buildCli();
  rpc = await rpcServer();
  dir = mkdtempSync(join(tmpdir(), 'corecast-client-models-'));
}, 120_000);
afterAll(async () => {
  await rpc.stop();
  built.remove();
  rmSync(dir, { recursive: true, force: true });
});

async function corecast(...args: string[]) {
  const { ended } = startCli(built.cli, [...args, '--socket', rpc.socket]);
  const { code, stdout, stderr } = await ended;
  return { code, text: stdout.toString('utf8'), stderr };
}

describe('corecast models', () => {
  it('list is one table: model, state, origin, age, runs, errors on unseen data', async () => {
    const { code, text, stderr } = await corecast('models', 'list');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const [head, row] = text.split('\n');
    expect(head!.split(/ {2,}/)).toEqual([
      'MODEL',
      'STATE',
      'ORIGIN',
      'AGE',
      'RUNS',
      'MAPE %',
      'PINBALL 0.9',
      'COVERED %',
    ]);
    expect(row).toMatch(/^baseline-1 +in use +baseline +\d+ d +120 +9\.5 +0\.0500 +90$/);
    const json = await corecast('models', 'list', '--json');
    expect(JSON.parse(json.text.trim().split('\n').at(-1)!).models[0]).toMatchObject({ id: 'baseline-1' });
  });

  it('history tells each step with its data, seed and who took it', async () => {
    const { text } = await corecast('models', 'history');
    expect(text.replace(/\s+/g, ' ')).toMatch(
      /2023-11-14 22:13:20 trained baseline-1 uid 0 better: pinball loss 0\.0500 \[120 runs of 9 sources, 2023-11-03 to 2023-11-14, seed 7, data ab12\]/,
    );
    expect(text).toMatch(/promoted +baseline-1 +shadow +promoted: on 200 outcomes/);
    expect((await corecast('models', 'history', 'nobody')).text).toBe('nothing happened yet\n');
    const limited = await corecast('models', 'history', '--limit', '1', '--json');
    expect(JSON.parse(limited.text).steps).toMatchObject([{ kind: 'promoted', by: 'shadow' }]);
  });

  it('report writes one page', async () => {
    const file = join(dir, 'report.html');
    const { code, text } = await corecast('models', 'report', 'baseline-1', '--html', file);
    expect(code).toBe(0);
    expect(text).toBe(`written: ${file}\n`);
    const page = readFileSync(file, 'utf8');
    expect(page).toContain('<h1>baseline-1');
    expect(page.match(/class="plot"/g)).toHaveLength(4);
    const unknown = await corecast('models', 'report', 'nobody', '--html', file);
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toContain('no model nobody');
    expect((await corecast('models', 'report', 'baseline-1')).stderr).toContain(
      "required option '--html <file>'",
    );
  });
});

describe('corecast train', () => {
  it('says what comes next of the candidate', async () => {
    const { code, text } = await corecast('train', '--epochs', '2');
    expect(code).toBe(0);
    expect(text).toContain('no better than now');
    expect(text).toMatch(/next: none; it is kept/);
    expect(rpc.control.trainings.at(-1)).toEqual({
      seed: 1,
      maxEpochs: 2,
      promotion: 'shadow',
      fromScratch: false,
    });
  });

  it('passes on seed, policy and whether to begin anew', async () => {
    const args = ['--epochs', '2', '--seed', '9', '--promote', 'now', '--from-scratch', '--json'];
    const { text } = await corecast('train', ...args);
    expect(JSON.parse(text)).toMatchObject({ promoted: false, next: 'none', model: { id: 'baseline-1' } });
    expect(rpc.control.trainings.at(-1)).toEqual({
      seed: 9,
      maxEpochs: 2,
      promotion: 'now',
      fromScratch: true,
    });
    const wrong = await corecast('train', '--promote', 'later');
    expect(wrong.code).toBe(64);
    expect(wrong.stderr).toContain('shadow, now');
  });

  it.skipIf(!existsSync('/usr/bin/script'))('shows loss and remaining time on a terminal', async () => {
    const command = `${process.execPath} ${built.cli} train --epochs 40 --socket ${rpc.socket}`;
    const shown = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    shown.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    const [code] = await once(shown, 'close');
    expect(code).toBe(0);
    expect(text).toMatch(/training .*\/40 loss 0\.5000, on unseen data 0\.6000, at most \d+ s left/);
  });
});
