import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Reservation } from '../../src/reservation/reservation.js';
import { buildCli, type RunningCli, startCli } from './client-cli.js';
import { rpcServer } from './rpc-server.js';

export const haveFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;

export interface Beat {
  readonly rung: number;
  readonly restarting: boolean;
  readonly gapMs?: number;
  readonly progress?: { readonly frame: number; readonly outTimeUs: number };
  readonly process?: { readonly pid: number };
}

export interface ClientWorld {
  dir: string;
  clip: string;
  rpc: Awaited<ReturnType<typeof rpcServer>>;
  readonly cli: string;
  /** An FFmpeg command at real time on the clip of 20 s. */
  live(...output: string[]): string[];
  start(args: readonly string[], socket?: string): RunningCli;
  reservation(): Reservation;
  beats(): Beat[];
  until(holds: () => boolean, what: string): Promise<void>;
}

/** The wrapper as a child process, against a real gRPC server whose daemon is memory: one CPU a reservation. */
export function clientAgainstServer(): ClientWorld {
  let built: { cli: string; remove(): void };
  let running: RunningCli | undefined;
  const world: ClientWorld = {
    dir: '',
    clip: '',
    rpc: undefined as unknown as Awaited<ReturnType<typeof rpcServer>>,
    get cli() {
      return built.cli;
    },
    live: (...output: string[]) => [
      ...['ffmpeg', '-v', 'error', '-nostdin', '-y', '-re', '-i', world.clip, '-c:v', 'libx264'],
      ...output,
    ],
    start(args: readonly string[], socket = world.rpc.socket) {
      running = startCli(built.cli, ['run', '--socket', socket, ...args]);
      return running;
    },
    reservation: (): Reservation => [...world.rpc.control.reservationsById.values()][0]!,
    beats: () => world.rpc.control.heartbeats as Beat[],
    async until(holds: () => boolean, what: string): Promise<void> {
      for (let i = 0; i < 1_000; i++) {
        if (holds()) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error(`never happened: ${what}; standard error so far: ${running?.stderr()}`);
    },
  };
  beforeAll(() => {
    built = buildCli();
    world.dir = mkdtempSync(join(tmpdir(), 'corecast-client-'));
    world.clip = join(world.dir, 'clip.mp4');
    if (!haveFfmpeg) return;
    const source = ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '20'];
    const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '25', world.clip];
    execFileSync('ffmpeg', ['-v', 'error', ...source, ...encode]);
  });
  afterAll(() => {
    built.remove();
    rmSync(world.dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    world.rpc = await rpcServer();
  });
  afterEach(async () => {
    running?.child.kill('SIGKILL');
    await world.rpc.stop();
  });
  return world;
}

export function duration(path: string): number {
  const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path];
  return Number(execFileSync('ffprobe', args));
}

export function commandLine(pid: number, read: (path: string) => string): string {
  return read(`/proc/${pid}/cmdline`).split('\0').join(' ');
}
