/**
 * What `corecast run` adds before FFmpeg starts, without a probe: from its own start to the first instruction of the
 * command, daemon asked, reservation durable, CPUs set. Beside it the same command started by a bare node, which is the
 * floor of any wrapper in node, and by nobody.
 *
 * And what stays resident while the command runs, in both modes: of the process that was started, its child aside, after
 * SETTLE_MS, several at once (pages that they share count in proportion, Pss of proc_pid_smaps(5)), less the command alone.
 *
 *   npm run -s bench -- wrapper [--json] [--rounds N]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
    const resident = await residentMemory(dir, socket);
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
        ...resident,
        ratio_to_floor: (p50('corecast') - p50('nobody')) / (p50('node') - p50('nobody')),
      },
    };
  } finally {
    daemon.kill();
    await once(daemon, 'exit');
    rmSync(dir, { recursive: true, force: true });
  }
}

const AT_ONCE = 4;
const SETTLE_MS = 6_000;

/** MB beside the command; the command stands in for FFmpeg and does nothing. */
async function residentMemory(dir, socket) {
  const args = ['-i', 'pipe:0', '-c:v', 'libx264', '-preset', 'ultrafast', '-s', '160x90', 'out.mp4'];
  const idle = join(dir, 'ffmpeg-idle');
  writeFileSync(idle, '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
  // Small and live, so that all find room on a small host.
  const small = ['--class', 'live', '--input-signature', 'codec=h264,size=160x90,fps=10'];
  const options = ['run', '-q', ...small, '--require', '--no-probe', '--socket', socket];
  const run = (mode) => [
    process.execPath,
    [join(dist, 'client/cli.js'), ...options, ...mode, '--', idle, ...args],
  ];
  const alone = await memoryOf(idle, args);
  const wrapper = await memoryOf(...run([]));
  const light = await memoryOf(...run(['--exec']));
  return {
    wrapper_resident_mb: wrapper.pssMb,
    wrapper_rss_mb: wrapper.rssMb,
    light_resident_mb: Math.max(0, light.pssMb - alone.pssMb),
    light_rss_mb: Math.max(0, light.rssMb - alone.rssMb),
  };
}

async function memoryOf(program, args) {
  const children = Array.from({ length: AT_ONCE }, () =>
    spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }),
  );
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const read = children.map(({ pid }) => readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
  for (const child of children) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  const mean = (key) => {
    const kilobytes = read.map((text) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)[1]));
    return kilobytes.reduce((a, b) => a + b, 0) / kilobytes.length / 1024;
  };
  return { pssMb: mean('Pss'), rssMb: mean('Rss') };
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
