/** Other samplers, for the same work as far as each does it: host and processes once a second. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const EXPORTER_PORT = 19_100;
const WARM_UP_MS = 4_000;
const TICKS_PER_S = 100; // USER_HZ, of /proc/PID/stat

/**
 * CPU of one each, in percent, by peer; a sentence where one is absent. `pids`: the processes to watch.
 * Their packages are unpacked to `folder`, not installed: no service starts, and nothing of the host changes.
 */
export async function measurePeers(pids, seconds, folder) {
  const started = await Promise.all(
    PEERS.map(async (peer) => {
      try {
        return [peer.name, await peer.start(pids, folder)];
      } catch (error) {
        return [peer.name, `absent: ${String(error.message).split('\n')[0]}`];
      }
    }),
  );
  const running = started.filter(([, child]) => typeof child !== 'string');
  const scraping = setInterval(scrape, 1_000);
  try {
    await sleep(WARM_UP_MS);
    const before = running.map(([, { pid }]) => cpuSeconds(pid));
    const began = performance.now();
    await sleep(seconds * 1000);
    const wallS = (performance.now() - began) / 1000;
    const used = running.map(([name, { pid }], i) => [name, ((cpuSeconds(pid) - before[i]) / wallS) * 100]);
    const absent = started.filter(([, child]) => typeof child === 'string');
    return Object.fromEntries([...used, ...absent]);
  } finally {
    clearInterval(scraping);
    for (const [, child] of running) child.kill('SIGKILL');
  }
}

const PEERS = [
  {
    name: 'pidstat',
    // CPU, memory, switches and I/O of each thread.
    start: async (pids, folder) =>
      child(await program('pidstat', 'sysstat', folder), ['-turwd', '-p', pids.join(','), '1']),
  },
  {
    name: 'atop',
    start: async (_pids, folder) => {
      const raw = join(folder, 'atop.raw');
      rmSync(raw, { force: true });
      return child(await program('atop', 'atop', folder), ['-w', raw, '1']);
    },
  },
  {
    name: 'prometheus_node_exporter',
    // The host only: it has no processes.
    start: async (_pids, folder) =>
      child(await program('prometheus-node-exporter', 'prometheus-node-exporter', folder), [
        `--web.listen-address=127.0.0.1:${EXPORTER_PORT}`,
      ]),
  },
  {
    name: 'systeminformation',
    start: () => child(process.execPath, [fileURLToPath(new URL('systeminformation.mjs', import.meta.url))]),
  },
];

/** Path of a program: the host's own, or of its Debian package. */
async function program(name, packageName, folder) {
  const path = process.env.PATH ?? '';
  const installed = [...path.split(':'), '/usr/sbin'].map((dir) => join(dir, name)).find(existsSync);
  if (installed !== undefined) return installed;
  const root = join(folder, packageName);
  mkdirSync(root, { recursive: true });
  await run('apt-get', ['download', packageName], { cwd: root });
  const archive = readdirSync(root).find((file) => file.endsWith('.deb'));
  await run('dpkg-deb', ['-x', join(root, archive), root]);
  const unpacked = ['usr/bin', 'usr/sbin'].map((dir) => join(root, dir, name)).find(existsSync);
  if (unpacked === undefined) throw new Error(`the package ${packageName} has no ${name}`);
  return unpacked;
}

/** Started, and still there after a moment. */
async function child(path, args) {
  const started = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  started.stderr.on('data', (text) => {
    said = (said + text).slice(-500);
  });
  const ended = new Promise((resolve, reject) => {
    started.once('error', reject);
    started.once('exit', (code) => resolve(code));
  });
  const code = await Promise.race([ended, sleep(1_500, 'running')]);
  if (code !== 'running') throw new Error(`${path} ended with ${code}: ${said.trim()}`);
  return started;
}

function scrape() {
  const call = request({ host: '127.0.0.1', port: EXPORTER_PORT, path: '/metrics' }, (answer) =>
    answer.resume(),
  );
  call.on('error', () => {});
  call.end();
}

/** Of a process and the children it has waited for. */
function cpuSeconds(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_S;
}

/** Where packages are unpacked, kept between runs. */
export function peersFolder() {
  const folder = join(os.tmpdir(), 'corecast-bench-peers');
  mkdirSync(folder, { recursive: true });
  return folder;
}
