/**
 * What watching costs: the host and --processes processes of --threads threads, each of which runs a little in every second,
 * sampled once a second by the monitor; beside it, at the same time, a C loop that reads the same files (bench/sampler/floor.c);
 * then other samplers for the same work (bench/sampler/peers.mjs). Both pairs: threads read in turn, as the daemon's default
 * has it, and all of them every second.
 *
 *   npm run -s bench -- sampler [--json] [--processes 100] [--threads 20] [--seconds 30] [--busy-us 50] [--peers no]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { measurePeers, peersFolder } from './sampler/peers.mjs';

const here = (file) => fileURLToPath(new URL(`sampler/${file}`, import.meta.url));
const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { THREADS_PER_TICK } = await import(`${dist}/monitor/monitor.js`);
const EVERY_THREAD = 1_000_000;
/** From the monitor's tick to the floor's: right behind it, the floor would find in the caches what the monitor had just read. */
const HALF_A_TICK_MS = 500;

export async function run({ processes = 100, threads = 20, seconds = 30, peers = 'yes', ...rest } = {}) {
  const folder = mkdtempSync(join(os.tmpdir(), 'corecast-sampler-'));
  const children = [];
  try {
    const load = compiled('load', folder);
    const floor = compiled('floor', folder);
    for (let i = 0; i < Number(processes); i++)
      children.push(
        spawn(load, [String(threads), String(rest['busy-us'] ?? 50)], {
          stdio: ['ignore', 'pipe', 'ignore'],
        }),
      );
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    const pids = children.map(({ pid }) => String(pid));
    const inTurn = await besideFloor(floor, pids, seconds, THREADS_PER_TICK);
    const every = await besideFloor(floor, pids, seconds, EVERY_THREAD);
    const others = peers === 'no' ? {} : await measurePeers(pids, Number(seconds), peersFolder());
    return {
      rows: [rowOf('threads in turn', inTurn), rowOf('every thread', every)],
      figures: figuresOf(inTurn, every),
      peers: others,
    };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

function figuresOf(inTurn, every) {
  return {
    processes: inTurn.monitor.processes,
    threads: inTurn.monitor.threads,
    cpu_percent_of_one: inTurn.monitorPercent,
    floor_percent_of_one: inTurn.floorPercent,
    ratio_to_floor: inTurn.monitorPercent / inTurn.floorPercent,
    every_thread_cpu_percent_of_one: every.monitorPercent,
    every_thread_ratio_to_floor: every.monitorPercent / every.floorPercent,
    missed_ticks: inTurn.monitor.missedTicks + every.monitor.missedTicks,
    failing_collectors: [...inTurn.monitor.failing, ...every.monitor.failing].join(' ') || 'none',
  };
}

function rowOf(what, { monitor, monitorPercent, floorPercent, floor }) {
  return {
    what,
    percent: monitorPercent,
    'floor percent': floorPercent,
    'threads a tick': floor.threadsRead / floor.ticks,
    'tick wall ms': monitor.tickWallMs,
    ...monitor.collectorMs,
  };
}

/** The monitor and the floor over the same seconds, each in a process of its own. */
async function besideFloor(floor, pids, seconds, threadsPerTick) {
  const monitor = spawn(
    process.execPath,
    [here('monitor.mjs'), dist, String(seconds), String(threadsPerTick), ...pids],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const lines = linesOf(monitor);
  if ((await lines.next()) !== 'warm') throw new Error('the monitor did not start');
  await sleep(HALF_A_TICK_MS);
  const beside = spawn(floor, [String(seconds), String(threadsPerTick), ...pids], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [seen, least] = await Promise.all([lines.next(), linesOf(beside).next()]);
  const found = { monitor: JSON.parse(seen), floor: JSON.parse(least) };
  return {
    ...found,
    monitorPercent: (found.monitor.cpuSeconds / found.monitor.wallMs) * 100_000,
    floorPercent: (found.floor.cpuSeconds / found.floor.ticks) * 100,
  };
}

function linesOf(child) {
  let text = '';
  const waiting = [];
  const hand = () => {
    while (waiting.length > 0 && text.includes('\n')) {
      const end = text.indexOf('\n');
      waiting.shift().resolve(text.slice(0, end));
      text = text.slice(end + 1);
    }
  };
  child.stdout.on('data', (bytes) => {
    text += bytes;
    hand();
  });
  child.once('close', (code) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`a measured program ended with ${code}`));
  });
  return {
    next: () =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        hand();
      }),
  };
}

function compiled(name, folder) {
  const path = join(folder, name);
  execFileSync(process.env.CC ?? 'cc', [
    '-O2',
    '-Wall',
    '-Wextra',
    '-pthread',
    '-o',
    path,
    here(`${name}.c`),
  ]);
  return path;
}
