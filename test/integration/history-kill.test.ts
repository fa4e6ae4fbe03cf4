import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { historyFolder, open, T0, valuesOf } from '../support/history.js';

/** Starts a writer, kills it with SIGKILL after a while, and says up to where it had been told that all is written. */
async function killedWriter(dir: string, from: number, afterMs: number): Promise<number> {
  const script = `
    const { runnerImport } = await import('vite');
    const { module } = await runnerImport('./test/support/history-writer.ts', { logLevel: 'silent' });
    await module.writeForEver(${JSON.stringify(dir)}, ${from});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  let killing = false;
  child.stdout.on('data', (bytes) => {
    out += bytes;
    if (!killing) setTimeout(() => child.kill('SIGKILL'), afterMs);
    killing = true;
  });
  await once(child, 'close');
  return Number(out.slice(0, out.lastIndexOf('\n')).split('\n').at(-1));
}

test('a writer killed at any moment loses nothing that a flush had finished, and repeats nothing', async () => {
  const folder = historyFolder();
  try {
    let from = 0;
    for (const afterMs of [3, 60, 250]) {
      const acknowledged = await killedWriter(folder.dir, from, afterMs);
      expect(acknowledged).toBeGreaterThan(from);
      const { history, report } = await open(folder.dir);
      expect(report).toEqual([]);
      const a = await valuesOf(history, 'a');
      expect(a.length).toBeGreaterThanOrEqual(acknowledged);
      expect(a).toEqual(Array.from({ length: a.length }, (_, i) => i));
      expect((await valuesOf(history, 'b')).map((n) => Math.round(n * 7))).toEqual(a);
      expect(await history.getFact<number>('n')).toBeGreaterThanOrEqual(acknowledged);
      expect((await history.run(`run${acknowledged}`))?.startedMs).toBe(T0 + acknowledged);
      await history.close();
      from = a.length;
    }
  } finally {
    folder.remove();
  }
}, 120_000);
