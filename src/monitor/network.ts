import { existsSync } from 'node:fs';
import { numberIn, ProcFile, unreadable } from './proc-file.js';

/** Interfaces come and go rarely. */
const INTERFACES_EVERY = 60;

/** Bits per second that reach the host: /proc/net/dev. */
export class NetworkCollector {
  readonly #file: ProcFile;
  readonly #sysRoot: string;
  #counted: ReadonlySet<string> = new Set();
  #reads = 0;
  #before: ReadonlyMap<string, number> = new Map();

  constructor(procRoot: string, sysRoot: string) {
    this.#file = new ProcFile(`${procRoot}/net/dev`);
    this.#sysRoot = sysRoot;
  }

  collect(elapsedS: number): number {
    const now = parseNetwork(this.#file.read(), this.#file.path);
    if (this.#reads++ % INTERFACES_EVERY === 0)
      this.#counted = countedInterfaces([...now.keys()], (name) =>
        existsSync(`${this.#sysRoot}/class/net/${name}/device`),
      );
    const bps = receivedBps(this.#before, now, this.#counted, elapsedS);
    this.#before = now;
    return bps;
  }

  close(): void {
    this.#file.close();
  }
}

/** Received bytes by interface. */
export function parseNetwork(text: string, file = 'net/dev'): Map<string, number> {
  const received = new Map<string, number>();
  for (const [i, line] of text.split('\n').entries()) {
    if (i < 2 || line === '') continue; // two lines of headings
    const match = /^\s*(\S+):\s*(\d+)/.exec(line);
    if (match === null) throw unreadable(file, i + 1, 'interface and received bytes', line);
    received.set(match[1]!, numberIn(file, i + 1, `received bytes of ${match[1]}`, match[2]));
  }
  return received;
}

/**
 * Interfaces with a device behind them; bridges, bonds and tunnels on top would count the same packets again. In a container,
 * where none has a device, all but the loopback.
 */
export function countedInterfaces(
  names: readonly string[],
  hasDevice: (name: string) => boolean,
): Set<string> {
  const physical = names.filter(hasDevice);
  return new Set(physical.length > 0 ? physical : names.filter((name) => name !== 'lo'));
}

export function receivedBps(
  before: ReadonlyMap<string, number>,
  now: ReadonlyMap<string, number>,
  counted: ReadonlySet<string>,
  elapsedS: number,
): number {
  let bytes = 0;
  // A counter that went back belongs to an interface that was made anew.
  for (const [name, received] of now)
    if (counted.has(name)) bytes += Math.max(0, received - (before.get(name) ?? received));
  return elapsedS > 0 ? (bytes * 8) / elapsedS : 0;
}
