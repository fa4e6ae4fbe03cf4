import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildLedgerWriter } from '../support/build-ledger-writer.js';
import { open, temporaryDirectory } from '../support/ledger-records.js';
import { eventually } from '../support/manual-time.js';

const KILLS = 10;

let writer: { script: string; remove(): void };
beforeAll(() => {
  writer = buildLedgerWriter();
});
afterAll(() => writer.remove());

interface Acknowledged {
  readonly states: Map<string, { state: string; token: number }>;
  readonly failed: Set<string>;
  lines: number;
  opened: string;
}

/** Collects whole lines only: half a line was not said. */
function listen(child: ChildProcess, heard: Acknowledged): void {
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const [word, id = '', token = ''] = line.split(' ');
      heard.lines++;
      if (word === 'reserved') heard.states.set(id, { state: 'PENDING', token: Number(token) });
      else if (word === 'released') heard.states.set(id, { state: 'RELEASED', token: Number(token) });
      else if (word === 'failed') heard.failed.add(id);
      else if (word === 'open') heard.opened = line;
    }
  });
}

describe('the ledger of a process that is killed', () => {
  it(`has every acknowledged change, ${KILLS} times out of ${KILLS}`, async () => {
    const directory = temporaryDirectory();
    const all: Acknowledged = { states: new Map(), failed: new Set(), lines: 0, opened: '' };
    let highestToken = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(process.execPath, [writer.script, directory, `life${kill}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const before = all.lines;
      listen(child, all);
      const closed = once(child, 'close');
      await eventually('the child writes', () => all.lines > before + 3, 15_000);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 120));
      child.kill('SIGKILL');
      await closed;
      expect(all.opened).toBe('open 0 problems ');

      const { ledger, report } = await open(directory);
      expect(report).toEqual([]);
      for (const [id, { state, token }] of all.states) {
        const found = ledger.get(id)?.reservation;
        expect(found?.token, id).toBe(token);
        // A release whose acknowledgement was cut off may be there, a lost reservation or release may not.
        if (state === 'RELEASED') expect(found?.state, id).toBe('RELEASED');
        highestToken = Math.max(highestToken, token);
      }
      expect(ledger.nextToken()).toBeGreaterThan(highestToken);
      await ledger.close();
    }
    expect(all.failed.size).toBe(0);
    expect(all.states.size).toBeGreaterThan(KILLS * 3);
  }, 120_000);

  it('survives a disk that is full for a while: refused changes are nowhere, acknowledged ones are there', async (ctx) => {
    const hasPrlimit = (() => {
      try {
        execFileSync('prlimit', ['--version'], { stdio: 'ignore' });
        return true;
      } catch {
        return false;
      }
    })();
    if (!hasPrlimit) ctx.skip('prlimit (util-linux) is not installed');
    const directory = temporaryDirectory();
    // The kernel refuses to make any file larger than this: EFBIG from real writes, as ENOSPC would be.
    const child = spawn(
      'prlimit',
      ['--fsize=65536:unlimited', process.execPath, writer.script, directory, 'full'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const heard: Acknowledged = { states: new Map(), failed: new Set(), lines: 0, opened: '' };
    listen(child, heard);
    const closed = once(child, 'close');
    try {
      await eventually('writes fail', () => heard.failed.size >= 4, 15_000);
      execFileSync('prlimit', [`--pid=${child.pid}`, '--fsize=unlimited:unlimited']);
      const before = heard.states.size;
      await eventually('writes succeed again', () => heard.states.size > before + 20, 15_000);
    } finally {
      child.kill('SIGKILL');
      await closed;
    }
    const { ledger, report } = await open(directory);
    expect(report).toEqual([]);
    for (const [id, { token }] of heard.states) expect(ledger.get(id)?.reservation.token, id).toBe(token);
    for (const id of heard.failed) {
      const state = heard.states.get(id)?.state;
      expect(ledger.get(id)?.reservation.state, id).toBe(state);
    }
    await ledger.close();
  }, 60_000);
});
