import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** Bundles the client as it ships; below build/, so that it finds its packages. */
export function buildCli(): { cli: string; remove(): void } {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const out = mkdtempSync(join(ROOT, 'build', 'client-cli-'));
  cpSync(join(ROOT, 'package.json'), join(out, 'package.json'));
  mkdirSync(join(out, 'build'));
  symlinkSync(join(ROOT, 'build/Release'), join(out, 'build/Release'));
  symlinkSync(join(ROOT, 'models'), join(out, 'models'));
  execFileSync(process.execPath, [join(ROOT, 'scripts/bundle.mjs'), join(out, 'dist')], { stdio: 'pipe' });
  return {
    cli: join(out, 'dist/client/cli.js'),
    remove: () => rmSync(out, { recursive: true, force: true }),
  };
}

export interface CliEnding {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly ended: Promise<CliEnding>;
  /** What it said on standard error so far. */
  stderr(): string;
}

/** Starts `corecast ARGS`. Standard input is empty unless given. */
export function startCli(cli: string, args: readonly string[], input?: Buffer): RunningCli {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const ended = new Promise<CliEnding>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout: Buffer.concat(stdout), stderr }));
  });
  return { child, ended, stderr: () => stderr };
}

export function runCli(cli: string, args: readonly string[], input?: Buffer): Promise<CliEnding> {
  return startCli(cli, args, input).ended;
}
