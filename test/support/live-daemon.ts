import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type CorecastClient, connect } from '../../src/client/connect.js';
import { type RunningCli, startCli } from './client-cli.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DAEMON = join(ROOT, 'dist/main.js');
export const CLI = join(ROOT, 'dist/client/cli.js');

/**
 * A real corecastd, as built (scripts/test builds first), on a state directory of its own. It admits whatever the
 * neighbours of a test do to the host's load: limits.host_load is 1 and adjust waits longer than any test.
 */
export class LiveDaemon {
  readonly dir = mkdtempSync(join(tmpdir(), 'corecast-live-'));
  readonly socket = join(this.dir, 'corecast.sock');
  readonly config = join(this.dir, 'corecast.toml');
  readonly stateDir = join(this.dir, 'state');
  #child: ChildProcess | undefined;
  #said = '';
  readonly #clients: CorecastClient[] = [];
  readonly #wrappers: RunningCli[] = [];

  /** `more`: further TOML. `cpus`: the CPUs that the daemon may hand out, by its own affinity. */
  constructor(
    more = '',
    readonly cpus = '',
    /** A command that starts the daemon, such as setpriv. */
    readonly prefix: readonly string[] = [],
  ) {
    if (!existsSync(DAEMON)) throw new Error(`${DAEMON} is missing: npm run build`);
    const daemon = [
      '[daemon]',
      `socket = ${JSON.stringify(this.socket)}`,
      `state_dir = ${JSON.stringify(this.stateDir)}`,
      'http_address = ""',
    ];
    const limits = more.includes('[limits]') ? [] : ['[limits]', 'host_load = 1'];
    const adjust = more.includes('[adjust]') ? [] : ['[adjust]', 'sustain_ms = 600000'];
    writeFileSync(this.config, [...daemon, ...limits, ...adjust, more].join('\n'));
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Everything that the daemon logged so far. */
  said(): string {
    return this.#said;
  }

  async start(): Promise<this> {
    const command = [...this.prefix, process.execPath, DAEMON, '--config', this.config];
    if (this.cpus !== '') command.unshift('taskset', '-c', this.cpus);
    const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}: ${this.#said}`);
      const client = await connect({ socket: this.socket, timeoutMs: 10_000 }).catch(() => undefined);
      if (client === undefined) return false;
      this.#clients.push(client);
      return true;
    }, 'the daemon serves');
    return this;
  }

  /** To the daemon that was started last. */
  get client(): CorecastClient {
    return this.#clients.at(-1)!;
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    return child.exitCode;
  }

  /** `corecast run OPTIONS -- ffmpeg ...` against this daemon. */
  run(options: readonly string[], ffmpeg: readonly string[]): RunningCli {
    const wrapper = startCli(CLI, ['run', '--socket', this.socket, '--require', ...options, '--', ...ffmpeg]);
    this.#wrappers.push(wrapper);
    return wrapper;
  }

  async reservation(name: string) {
    const { reservations } = await this.client.listReservations({ includeEnded: true });
    return reservations.find((reservation) => reservation.name === name);
  }

  async close(): Promise<void> {
    for (const { child, ended } of this.#wrappers) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await ended;
    }
    for (const client of this.#clients) client.close();
    if (this.#child !== undefined) await this.end('SIGTERM');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A clip with motion and detail; `size` is FFmpeg's WxH. */
export function makeClip(path: string, size: string, seconds: number): string {
  const source = `testsrc2=size=${size}:rate=25:duration=${seconds},noise=alls=8:allf=t`;
  const args = ['-v', 'error', '-y', '-f', 'lavfi', '-i', source, '-c:v', 'libx264', '-preset', 'ultrafast'];
  execFileSync('ffmpeg', [...args, '-pix_fmt', 'yuv420p', path]);
  return path;
}

export async function until(
  holds: () => Promise<boolean> | boolean,
  what: string,
  limitMs = 20_000,
): Promise<void> {
  const giveUp = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > giveUp) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
