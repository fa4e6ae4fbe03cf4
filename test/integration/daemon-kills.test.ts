import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import type { RunningCli } from '../support/client-cli.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';
import { Follower, killed, processesWith, quantile } from '../support/live-kills.js';
import { seededRandom } from '../support/seeded-random.js';

/** npm run test:kills makes it 200. */
const KILLS = Number(process.env['KILLS'] ?? 20);
/** Printed, so that the same times and victims can be had again. */
const SEED = Number(process.env['KILLS_SEED'] ?? Date.now() % 1_000_000);
/** From the end of a process to the moment at which a watcher has heard that its CPUs are free. */
const FREE_MS = 50;
const VICTIMS = ['wrapper', 'ffmpeg', 'daemon'] as const;
const CHANNELS = 2;

const daemon = new LiveDaemon('[leases]\nstart_timeout_ms = 3000\n');
const follower = new Follower(daemon);
const random = seededRandom(SEED);
let clip = '';

interface Channel {
  readonly name: string;
  readonly wrapper: RunningCli;
}

beforeAll(async () => {
  clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 10);
  await daemon.start();
  await follower.follow();
}, 60_000);
afterAll(() => daemon.close(), 60_000);

it(
  `frees what was held and promises nothing twice, over ${KILLS} kills of wrapper, FFmpeg and daemon (seed ${SEED})`,
  async () => {
    const freedMs: number[] = [];
    const floorMs: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const victim = VICTIMS[kill % VICTIMS.length]!;
      const channels = Array.from({ length: CHANNELS }, (_, i) => started(`kill${kill}-${i}`));
      await sleep(random() * 1_500);
      confined(channels);
      await strike(victim, channels[0]!);
      await sleep(random() * 300);
      for (const channel of channels) {
        const lost = await endOf(channel);
        freedMs.push(...lost);
        floorMs.push(...lost.map(() => syncedWriteMs()));
      }
      await nothingLeft(`kill ${kill} of the ${victim}`);
    }
    const line = (name: string, values: readonly number[]) =>
      `${name}: p50 ${quantile(values, 0.5).toFixed(1)}, p99 ${quantile(values, 0.99).toFixed(1)}, max ${Math.max(...values).toFixed(1)} ms`;
    console.log(
      `${KILLS} kills, ${freedMs.length} ends of attached processes\n${line('CPUs free', freedMs)}\n${line('a synced write', floorMs)}`,
    );
    expect(freedMs.length).toBeGreaterThan(KILLS / 4);
    expect(quantile(freedMs, 0.5)).toBeLessThan(Math.max(FREE_MS, 10 * quantile(floorMs, 0.5)));
  },
  KILLS * 20_000,
);

function started(name: string): Channel {
  const ffmpeg = ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-t', '60', '-i', clip];
  const output = ['-metadata', `title=${name}`, '-c:v', 'libx264', '-preset', 'ultrafast', '-f', 'null', '-'];
  return { name, wrapper: daemon.run(['--name', name], [...ffmpeg, ...output]) };
}

/** Whoever is attached and was pinned runs on its own CPUs only. */
function confined(channels: readonly Channel[]): void {
  for (const { name } of channels) {
    const { process, cpus, state } = follower.live(name) ?? {};
    if (state !== 'RESERVATION_STATE_ACTIVE' || process == null) continue;
    const own = cpus!.map(({ cpu }) => cpu);
    for (const thread of hostAddon().getProcessAffinity(process.pid)) {
      expect(own, `thread ${thread.name} of ${name}`).toEqual(expect.arrayContaining(thread.cpus));
    }
  }
}

async function strike(victim: (typeof VICTIMS)[number], { name, wrapper }: Channel): Promise<void> {
  if (victim === 'wrapper') wrapper.child.kill('SIGKILL');
  if (victim === 'ffmpeg') for (const one of processesWith(`title=${name}`)) process.kill(one.pid, 'SIGKILL');
  if (victim !== 'daemon') return;
  await daemon.end('SIGKILL');
  // Now and then a channel ends while nobody looks.
  if (random() < 0.3) for (const one of processesWith(`title=${name}`)) process.kill(one.pid, 'SIGKILL');
  await daemon.start();
  await follower.follow();
}

/** Ends a channel by the end of its FFmpeg; milliseconds from that to the end of its reservation, where it was attached. */
async function endOf({ name, wrapper }: Channel): Promise<number[]> {
  const tookMs: number[] = [];
  for (const one of processesWith(`title=${name}`)) {
    const reservation = follower.live(name);
    const attached = reservation?.process?.pid === one.pid;
    const { endedMs } = await killed(one).catch(() => ({ endedMs: Number.NaN }));
    if (!attached || Number.isNaN(endedMs)) continue;
    await until(() => follower.endedMs.has(reservation.id), `${name} is released`);
    tookMs.push(Math.max(0, follower.endedMs.get(reservation.id)! - endedMs));
  }
  wrapper.child.kill('SIGKILL');
  await wrapper.ended;
  // It may have started FFmpeg since.
  for (const one of processesWith(`title=${name}`)) await killed(one).catch(() => undefined);
  return tookMs;
}

async function nothingLeft(after: string): Promise<void> {
  // The request of a wrapper that was killed may still be under way: it is reserved, and expires at its start deadline.
  const free = async () => (await daemon.client.getHost({})).cpus.every((cpu) => cpu.reservedMilli === 0);
  await until(async () => follower.size === 0 && (await free()), `all CPUs are free after ${after}`);
  expect(follower.doubled, after).toEqual([]);
}

/** What freeing waits for at the least: one small write that is on the disk. */
function syncedWriteMs(): number {
  const beganMs = performance.now();
  const file = openSync(join(daemon.dir, 'floor'), 'w');
  writeSync(file, Buffer.alloc(512));
  fdatasyncSync(file);
  closeSync(file);
  return performance.now() - beganMs;
}
