/**
 * What an operator waits for after a restart, and what the daemon then holds: from the spawn of corecastd to the first
 * answered GetHost, and its resident memory, beside the start of a bare node.
 *
 *   npm run -s bench -- start [--json] [--rounds 7]
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { connect } = await import(`${dist}/client/connect.js`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

export async function run({ rounds = 7 } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-bench-start-'));
  try {
    const socket = join(dir, 's.sock');
    const config = join(dir, 'corecast.toml');
    writeFileSync(
      config,
      `[daemon]\nsocket = "${socket}"\nstate_dir = "${join(dir, 'state')}"\nhttp_address = ""\nlog_level = "error"\n`,
    );
    const served = [];
    const memory = [];
    const floors = [];
    for (let i = 0; i < Number(rounds); i++) {
      const bare = performance.now();
      spawnSync(process.execPath, ['-e', '0']);
      floors.push(performance.now() - bare);
      const { ms, rssMb } = await oneStart(config, socket);
      served.push(ms);
      memory.push(rssMb);
    }
    const figures = {
      start_to_serving_ms: median(served),
      node_floor_ms: median(floors),
      rss_mb: median(memory),
    };
    return { rows: [{ what: 'start to first answer', ...figures }], figures };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function oneStart(config, socket) {
  const began = performance.now();
  const daemon = spawn(process.execPath, [`${dist}/main.js`, '--config', config], { stdio: 'ignore' });
  const gone = new Promise((resolve) => daemon.once('exit', resolve));
  try {
    for (;;) {
      const client = await connect({ socket, timeoutMs: 5_000 }).catch(() => undefined);
      if (client === undefined) {
        await sleep(2);
        continue;
      }
      await client.getHost({});
      const ms = performance.now() - began;
      client.close();
      const status = readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
      return { ms, rssMb: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024 };
    }
  } finally {
    daemon.kill('SIGTERM');
    await gone;
  }
}
