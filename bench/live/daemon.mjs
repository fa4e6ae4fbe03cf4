/** A real daemon of a benchmark's own, everything of it in one directory, and what it then knows of its channels. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { openHistory } = await import(`${dist}/history/store.js`);
const { configSchema } = await import(`${dist}/config/schema.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);

export const CLI = join(dist, 'client/cli.js');

/**
 * `settings`: TOML of sections other than [daemon]. `nice`: below 0, as the unit has it (Nice=-5), where this user may.
 * `serving` rejects when it ends instead.
 */
export function startDaemon(dir, settings = '', { nice = 0 } = {}) {
  const socket = join(dir, 'corecast.sock');
  const config = join(dir, 'corecast.toml');
  writeFileSync(config, `${ownPlaces(socket, join(dir, 'state'))}${settings}`);
  const nicely = nice < 0 && process.getuid() === 0 ? ['nice', '-n', String(nice)] : [];
  const [program, ...args] = [...nicely, process.execPath, join(dist, 'main.js'), '--config', config];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said = (said + text).slice(-4_000);
  });
  const serving = (async () => {
    while (!existsSync(socket)) {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}: ${said}`);
      await sleep(50);
    }
  })();
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  return { pid: child.pid, socket, serving, stop };
}

function ownPlaces(socket, state) {
  return `[daemon]
socket = ${JSON.stringify(socket)}
state_dir = ${JSON.stringify(state)}
http_address = ""
`;
}

/** Some runs, as production hosts are calibrated. */
export async function calibrate({ socket }, { runs, seed }) {
  const args = ['calibrate', '--socket', socket, '--runs', String(runs), '--seed', String(seed), '--json'];
  await promisify(execFile)(process.execPath, [CLI, ...args], { maxBuffer: 64 * 1024 * 1024 });
}

/** Of a daemon that has ended: its record of each run, by reservation. */
export async function readRuns(dir) {
  const config = configSchema.parse({}).history;
  const { history } = await openHistory({ dir: join(dir, 'state', 'history'), clock: systemClock, config });
  const runs = new Map();
  for await (const run of history.runs({ sinceMs: 0 })) runs.set(run.id, run);
  await history.close();
  return runs;
}
