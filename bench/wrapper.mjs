/**
 * What `corecast run` adds before FFmpeg starts, without a probe: from its own start to the first instruction of the
 * command, daemon asked, reservation durable, CPUs set. Beside it the same command started by a bare node, which is the
 * floor of any wrapper in node, and by nobody.
 *
 *   npm run -s bench -- wrapper [--json] [--rounds N]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));

export async function run({ rounds = 30 } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-bench-'));
  // Stands in for FFmpeg: says when it began, in nanoseconds of wall time.
  const ffmpeg = join(dir, 'ffmpeg');
  writeFileSync(ffmpeg, '#!/bin/sh\nexec date +%s%N\n', { mode: 0o755 });
  const socket = join(dir, 'corecast.sock');
  const config = join(dir, 'corecast.toml');
  writeFileSync(config, daemonConfig(socket, join(dir, 'state')));
  const daemon = spawn(process.execPath, [join(dist, 'main.js'), '--config', config], { stdio: 'ignore' });
  try {
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 50));
    const words = [ffmpeg, '-i', 'pipe:0', '-c:v', 'libx264', '-s', '320x180', 'out.mp4'];
    const script = `require('node:child_process').spawn(${JSON.stringify(ffmpeg)}, { stdio: 'inherit' })`;
    const options = ['run', '-q', '--require', '--no-probe', '--socket', socket];
    const ways = {
      nobody: [ffmpeg, []],
      node: [process.execPath, ['-e', script]],
      corecast: [process.execPath, [join(dist, 'client/cli.js'), ...options, '--', ...words]],
    };
    const times = { nobody: [], node: [], corecast: [] };
    for (let i = -2; i < Number(rounds); i++) {
      for (const [way, command] of Object.entries(ways)) {
        const ms = await untilStarted(...command);
        if (i >= 0) times[way].push(ms);
      }
    }
    const p50 = (way) => quantile(times[way], 0.5);
    return {
      rows: Object.keys(ways).map((way) => ({
        started_by: way,
        p50_ms: p50(way),
        p90_ms: quantile(times[way], 0.9),
      })),
      figures: {
        added_p50_ms: p50('corecast') - p50('nobody'),
        node_floor_p50_ms: p50('node') - p50('nobody'),
        ratio_to_floor: (p50('corecast') - p50('nobody')) / (p50('node') - p50('nobody')),
      },
    };
  } finally {
    daemon.kill();
    await once(daemon, 'exit');
    rmSync(dir, { recursive: true, force: true });
  }
}

async function untilStarted(program, args) {
  const begun = performance.timeOrigin + performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}`);
  return Number(BigInt(said.trim()) / 1000n) / 1000 - begun;
}

/** No limit on host load: it is the wrapper that is measured, whatever else runs here. */
function daemonConfig(socket, state) {
  return `[daemon]
socket = ${JSON.stringify(socket)}
state_dir = ${JSON.stringify(state)}
http_address = ""
[limits]
host_load = 1.0
`;
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
