import { existsSync } from 'node:fs';
import { numberIn, ProcFile, perSecond, unreadable } from './proc-file.js';

/** Interfaces come and go rarely. */
const INTERFACES_EVERY = 60;

/** One interface. */
export interface InterfaceUse {
  readonly receivedBps: number;
  readonly sentBps: number;
  /** Packets a second that the host had no room for, or could not use. */
  readonly receiveDropsPerS: number;
  readonly sendDropsPerS: number;
}

export interface Network {
  /** Bits per second that reach the host, by interfaces that count. */
  readonly ingressBps: number;
  readonly interfaces: ReadonlyMap<string, InterfaceUse>;
}

/** Cumulative. */
export interface InterfaceCounters {
  readonly receivedBytes: number;
  readonly receiveDrops: number;
  readonly sentBytes: number;
  readonly sendDrops: number;
}

export const NO_NETWORK: Network = { ingressBps: 0, interfaces: new Map() };

/** /proc/net/dev. */
export class NetworkCollector {
  readonly #file: ProcFile;
  readonly #sysRoot: string;
  #counted: ReadonlySet<string> = new Set();
  #reads = 0;
  #before: ReadonlyMap<string, InterfaceCounters> = new Map();

  constructor(procRoot: string, sysRoot: string) {
    this.#file = new ProcFile(`${procRoot}/net/dev`);
    this.#sysRoot = sysRoot;
  }

  collect(elapsedS: number): Network {
    const now = parseNetwork(this.#file.read(), this.#file.path);
    if (this.#reads++ % INTERFACES_EVERY === 0)
      this.#counted = countedInterfaces([...now.keys()], (name) =>
        existsSync(`${this.#sysRoot}/class/net/${name}/device`),
      );
    const use = networkUse(this.#before, now, this.#counted, elapsedS);
    this.#before = now;
    return use;
  }

  close(): void {
    this.#file.close();
  }
}

export function parseNetwork(text: string, file = 'net/dev'): Map<string, InterfaceCounters> {
  const interfaces = new Map<string, InterfaceCounters>();
  for (const [i, line] of text.split('\n').entries()) {
    if (i < 2 || line === '') continue; // two lines of headings
    const match = /^\s*(\S+):\s*(\d.*)/.exec(line);
    if (match === null) throw unreadable(file, i + 1, 'interface and received bytes', line);
    const [, name, numbers] = match as unknown as [string, string, string];
    const fields = numbers.split(/\s+/);
    const field = (item: string, index: number) => numberIn(file, i + 1, `${item} of ${name}`, fields[index]);
    interfaces.set(name, {
      receivedBytes: field('received bytes', 0),
      receiveDrops: field('receive drops', 3),
      sentBytes: field('sent bytes', 8),
      sendDrops: field('send drops', 11),
    });
  }
  return interfaces;
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

/** Of the interfaces that were there before. A counter that went back belongs to one that was made anew. */
export function networkUse(
  before: ReadonlyMap<string, InterfaceCounters>,
  now: ReadonlyMap<string, InterfaceCounters>,
  counted: ReadonlySet<string>,
  elapsedS: number,
): Network {
  const interfaces = new Map<string, InterfaceUse>();
  let ingressBps = 0;
  for (const [name, counters] of now) {
    const last = before.get(name);
    if (last === undefined) continue;
    const use = {
      receivedBps: perSecond(last.receivedBytes, counters.receivedBytes, elapsedS) * 8,
      sentBps: perSecond(last.sentBytes, counters.sentBytes, elapsedS) * 8,
      receiveDropsPerS: perSecond(last.receiveDrops, counters.receiveDrops, elapsedS),
      sendDropsPerS: perSecond(last.sendDrops, counters.sendDrops, elapsedS),
    };
    interfaces.set(name, use);
    if (counted.has(name)) ingressBps += use.receivedBps;
  }
  return { ingressBps, interfaces };
}
