import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CorecastError } from '../lib/errors.js';
import { type CorecastClient, connect } from './connect.js';

const DAEMON_START_MS = 15_000;
const LET_END_MS = 8_000;
const dist = fileURLToPath(new URL('..', import.meta.url));

/** Everything that a quickstart has started, in a folder of its own. close() stops and removes all of it. */
export class QuickstartProcesses {
  readonly folder = mkdtempSync(join(tmpdir(), 'corecast-quickstart-'));
  readonly socket = join(this.folder, 'corecast.sock');
  readonly #started: ChildProcess[] = [];

  /** What it says on standard error is shown, or handed to `onError`. */
  start(command: string, args: readonly string[], onError?: (text: string) => void): ChildProcess {
    const stdio = ['ignore', 'ignore', onError === undefined ? 'inherit' : 'pipe'] as const;
    const child = spawn(command, args, { stdio: [...stdio] });
    if (onError !== undefined) child.stderr?.setEncoding('utf8').on('data', onError);
    this.#started.push(child);
    return child;
  }

  /** `corecast run` against the daemon of this folder. */
  wrapper(
    options: readonly string[],
    ffmpeg: readonly string[],
    onError?: (text: string) => void,
  ): ChildProcess {
    const run = ['run', '--socket', this.socket, '--require', ...options, '--', ...ffmpeg];
    return this.start(process.execPath, [join(dist, 'client/cli.js'), ...run], onError);
  }

  /** A daemon with an empty state directory; `settings` is further TOML. */
  async daemon(settings = ''): Promise<CorecastClient> {
    const config = join(this.folder, 'corecast.toml');
    writeFileSync(
      config,
      `[daemon]\nsocket = ${JSON.stringify(this.socket)}\nstate_dir = ${JSON.stringify(join(this.folder, 'state'))}\n` +
        `http_address = ""\nlog_level = "warn"\n${settings}`,
    );
    const daemon = this.start(process.execPath, [join(dist, 'main.js'), '--config', config]);
    const giveUp = Date.now() + DAEMON_START_MS;
    for (;;) {
      if (daemon.exitCode !== null)
        throw new CorecastError('INTERNAL', `the daemon ended with exit ${daemon.exitCode}`);
      try {
        return await connect({ socket: this.socket, timeoutMs: 5_000 });
      } catch (error) {
        if (Date.now() > giveUp) throw error;
        await pause(50);
      }
    }
  }

  /** A clip with motion and some detail, 25 frames a second. */
  async makeClip(name: string, size: string, length: number): Promise<string> {
    const path = join(this.folder, name);
    const source = ['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=25,noise=alls=6:allf=t`];
    const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];
    const quiet = ['-hide_banner', '-loglevel', 'error'];
    const ffmpeg = this.start('ffmpeg', [...quiet, ...source, '-t', String(length), ...encode, path]);
    const [code] = await once(ffmpeg, 'exit');
    if (code !== 0) throw new CorecastError('INTERNAL', `FFmpeg could not make the clip (exit ${code})`);
    return path;
  }

  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await Promise.race([gone, pause(LET_END_MS, undefined, { ref: false })]);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    for (const child of this.#started.reverse()) await this.stop(child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
