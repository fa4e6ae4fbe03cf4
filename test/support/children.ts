import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Where the built addon lies, for scripts that children and workers run. */
export const addonPath = fileURLToPath(new URL('../../build/Release/corecast_host.node', import.meta.url));

const started = new Set<ChildProcess>();

/** A program that endChildren() ends. stdin and stdout are pipes, stderr is the test's. */
export function start(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const child = spawn(program, [...args], { stdio: ['pipe', 'pipe', 'inherit'], ...options });
  started.add(child);
  return child;
}

/** A node process with a script; it has about ten threads from the start. */
export function startNode(script: string, options: SpawnOptions = {}): ChildProcess {
  return start(process.execPath, ['-e', script], options);
}

/** A node process that does nothing until it is ended; resolves when it is up. */
export async function startIdleNode(options: SpawnOptions = {}): Promise<ChildProcess> {
  const child = startNode("setInterval(() => {}, 1e6); console.log('up')", options);
  await nextLine(child);
  return child;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
}

/** Runs a node script to its end. */
export async function runNode(script: string, options: SpawnOptions = {}): Promise<Finished> {
  const child = startNode(script, options);
  let stdout = '';
  child.stdout!.on('data', (chunk) => {
    stdout += chunk;
  });
  const [code, signal] = await once(child, 'close');
  started.delete(child);
  return { code, signal, stdout };
}

const lines = new WeakMap<ChildProcess, { reader: Interface; iterator: AsyncIterator<string> }>();

/** The next line of the child's stdout. */
export async function nextLine(child: ChildProcess): Promise<string> {
  let entry = lines.get(child);
  if (entry === undefined) {
    const reader = createInterface({ input: child.stdout! });
    entry = { reader, iterator: reader[Symbol.asyncIterator]() };
    lines.set(child, entry);
  }
  const { value, done } = await entry.iterator.next();
  if (done) throw new Error(`process ${child.pid} ended without another line`);
  return value;
}

/** Ends a child for good and waits until it is gone. */
export async function end(child: ChildProcess): Promise<void> {
  started.delete(child);
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const closed = once(child, 'exit');
  child.kill('SIGKILL');
  await closed;
}

/** For afterEach: ends whatever a test has started. */
export async function endChildren(): Promise<void> {
  await Promise.all([...started].map(end));
}

/** Waits until `done` holds, at most five seconds. */
export async function until(done: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`still not so after 5 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether a program is installed and runs. */
export function has(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
