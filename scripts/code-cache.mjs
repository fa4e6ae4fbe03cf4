#!/usr/bin/env node
// Stores beside each file of dist/program what V8 compiled of it while a daemon started, a channel ran and the daemon stopped,
// so that the next start need not compile it again (src/lib/launch.ts). Only speed depends on it: where it cannot be made, or
// another version of node runs the programs, they compile as they start.
//
//   node scripts/code-cache.mjs [DIST]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const self = fileURLToPath(import.meta.url);
const RECORD = '--record';
const SERVING_WITHIN_MS = 20_000;

if (process.argv[2] === RECORD) await record();
else await recordAll(resolve(process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url))));

/** node code-cache.mjs --record DIST PROGRAM ARGUMENTS: runs the program here and stores its code as it ends. */
async function record() {
  const [node, , , dist, program, ...args] = process.argv;
  process.argv = [node, program, ...args];
  const { launch } = await import(`${dist}/program/launch.js`);
  const scripts = launch(program);
  process.once('exit', () => {
    for (const [file, script] of scripts) writeFileSync(`${file}.cache`, script.createCachedData());
  });
}

async function recordAll(dist) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-code-cache-'));
  const run = (program, ...args) =>
    spawn(process.execPath, [self, RECORD, dist, program, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  try {
    const socket = join(dir, 'corecast.sock');
    const config = join(dir, 'corecast.toml');
    // Stands in for FFmpeg: what it does costs nothing here.
    const ffmpeg = join(dir, 'ffmpeg');
    writeFileSync(ffmpeg, '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    writeFileSync(config, daemonConfig(socket, join(dir, 'state')));
    const daemon = run('corecastd', '--config', config);
    const gone = once(daemon, 'exit');
    for (const endMs = Date.now() + SERVING_WITHIN_MS; !existsSync(socket); await sleep(20))
      if (daemon.exitCode !== null || Date.now() > endMs) throw new Error('the daemon does not serve');
    const channel = ['-i', 'pipe:0', '-c:v', 'libx264', '-s', '320x180', 'out.mp4'];
    await once(run('corecast', 'run', '-q', '--socket', socket, '--', ffmpeg, ...channel), 'exit');
    daemon.kill('SIGTERM');
    await gone;
  } catch (error) {
    process.stderr.write(`code-cache: ${error.message}; corecast will start slower than it could\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function daemonConfig(socket, state) {
  return `[daemon]
socket = ${JSON.stringify(socket)}
state_dir = ${JSON.stringify(state)}
http_address = ""
log_level = "error"
[limits]
host_load = 1.0
`;
}
