import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ADDON = resolve(import.meta.dirname, '../../build/Release/corecast_host.node');
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-exec-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a script in a node of its own, with descriptor 3 open on a file and 4 on another. */
async function inNode(script: string) {
  writeFileSync(join(dir, 'three'), 'three');
  const [three, four] = [openSync(join(dir, 'three'), 'r'), openSync(join(dir, 'three'), 'r')];
  const code = `const addon = require(${JSON.stringify(ADDON)}); ${script}`;
  const child = spawn(process.execPath, ['-e', code], {
    cwd: dir,
    stdio: ['pipe', 'pipe', 'pipe', three, four],
  });
  closeSync(three);
  closeSync(four);
  let out = '';
  child.stdout!.on('data', (text) => {
    out += text;
  });
  const ended = await new Promise<number | null>((done) => child.once('close', done));
  return { pid: child.pid, out, ended };
}

describe('replaceProcess', () => {
  it('keeps pid, environment, working directory and exit code', async () => {
    const script = `process.env.CORECAST_TEST = 'kept'; addon.replaceProcess('sh', ['-c', 'echo $$ $CORECAST_TEST; pwd; exit 7'], []);`;
    const { pid, out, ended } = await inNode(script);
    expect(out).toBe(`${pid} kept\n${dir}\n`);
    expect(ended).toBe(7);
  });

  it('passes on the standard streams, blocking, and the descriptors that it is told, nothing else', async () => {
    const script = `process.stdout.write(''); process.stdin.resume(); addon.replaceProcess('sh', ['-c', 'cat <&3; cd /proc/self/fd; echo; echo *; grep flags ../fdinfo/1'], [3]);`;
    const { out } = await inNode(script);
    const [three, open, flags] = out.split('\n');
    expect(three).toBe('three');
    // The shell's own reading of the directory may show one more.
    expect(open!.split(' ').slice(0, 4)).toEqual(['0', '1', '2', '3']);
    expect(open).not.toMatch(/\b(?:[5-9]|1\d)\b/);
    const nonBlocking = 0o4000;
    expect(Number.parseInt(flags!.split(/\s+/)[1]!, 8) & nonBlocking).toBe(0);
  });

  it('resets signals: none ignored, blocked or caught, and one thread is left', async () => {
    const script = `process.on('SIGINT', () => {}); addon.replaceProcess('cat', ['/proc/self/status'], []);`;
    const { out } = await inNode(script);
    for (const set of ['SigBlk', 'SigIgn', 'SigCgt']) expect(out).toMatch(new RegExp(`${set}:\\s*0+\n`));
    expect(out).toMatch(/Threads:\s*1\n/);
  });

  it('throws when it cannot, and node goes on as it was', async () => {
    const script = `
      process.on('SIGUSR2', () => process.exit(5));
      for (const [program, args, fds] of [['no-such-program', [], []], ['/etc/passwd', [], []], ['sh', 'x', []], ['sh', [], [-1]]]) {
        try { addon.replaceProcess(program, args, fds); } catch (error) { console.log(error.code, error.syscall); }
      }
      setInterval(() => {}, 1000);
      process.kill(process.pid, 'SIGUSR2');`;
    const { out, ended } = await inNode(script);
    expect(out).toBe('ENOENT execve\nEACCES execve\nERR_INVALID_ARG_TYPE undefined\nEINVAL fcntl\n');
    expect(ended).toBe(5);
  });
});
