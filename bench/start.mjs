/**
 * What an operator waits for after a restart, and what the daemon then holds: from the spawn of corecastd to the first
 * answered GetHost, and its resident memory, beside the start of a bare node. Then its memory with --channels channels of
 * 20 threads each, reserved, attached, pinned and sampled for --seconds seconds: at the end, and at its highest.
 *
 *   npm run -s bench -- start [--json] [--rounds 7] [--channels 100] [--seconds 60]
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requestOf } from './reserve/clients.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { connect } = await import(`${dist}/client/connect.js`);

/** Those of systemd/corecastd.service. */
const FLAGS = ['--max-semi-space-size=4', '--max-old-space-size=1024'];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

export async function run({ rounds = 7, channels = 100, seconds = 60 } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-bench-start-'));
  try {
    const socket = join(dir, 's.sock');
    const config = join(dir, 'corecast.toml');
    writeFileSync(
      config,
      `[daemon]\nsocket = "${socket}"\nstate_dir = "${join(dir, 'state')}"\nhttp_address = ""\nlog_level = "error"\n` +
        '[limits]\nheadroom = 0.0\nhost_load = 1.0\nmemory_reserve_mb = 0\n',
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
    const loaded = await withChannels(config, socket, {
      dir,
      channels: Number(channels),
      seconds: Number(seconds),
    });
    const figures = {
      start_to_serving_ms: median(served),
      node_floor_ms: median(floors),
      rss_mb: median(memory),
      ...loaded,
    };
    return { rows: [{ what: 'start to first answer', ...figures }], figures };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function oneStart(config, socket) {
  return served(config, socket, async (_client, daemon, ms) => ({
    ms,
    rssMb: memoryOf(daemon.pid, 'VmRSS'),
  }));
}

async function withChannels(config, socket, { dir, channels, seconds }) {
  if (channels === 0) return {};
  const load = join(dir, 'load');
  const source = fileURLToPath(new URL('sampler/load.c', import.meta.url));
  execFileSync(process.env.CC ?? 'cc', ['-O2', '-pthread', '-o', load, source]);
  const children = [];
  try {
    return await served(config, socket, async (client, daemon) => {
      for (let i = 0; i < channels; i++) {
        const { reservation } = await client.reserve(requestOf(), { timeoutMs: 30_000 });
        const child = spawn(load, ['20', '50'], { stdio: 'ignore' });
        children.push(child);
        const { id: reservationId, token } = reservation;
        const process = { pid: child.pid, startTicks: 0 };
        await client.attach({ reservationId, token, process, idempotencyKey: randomUUID(), selfHeld: true });
      }
      await sleep(seconds * 1000);
      return {
        channels,
        rss_with_channels_mb: memoryOf(daemon.pid, 'VmRSS'),
        peak_rss_with_channels_mb: memoryOf(daemon.pid, 'VmHWM'),
      };
    });
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

/** Starts a daemon, asks it until it answers, does `work` and stops it. */
async function served(config, socket, work) {
  const began = performance.now();
  const daemon = spawn(process.execPath, [...FLAGS, `${dist}/main.js`, '--config', config], {
    stdio: 'ignore',
  });
  const gone = new Promise((resolve) => daemon.once('exit', resolve));
  try {
    for (;;) {
      const client = await connect({ socket, timeoutMs: 5_000 }).catch(() => undefined);
      if (client === undefined) {
        await sleep(2);
        continue;
      }
      try {
        await client.getHost({});
        return await work(client, daemon, performance.now() - began);
      } finally {
        client.close();
      }
    }
  } finally {
    daemon.kill('SIGTERM');
    await gone;
  }
}

function memoryOf(pid, what) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)[1]) / 1024;
}
