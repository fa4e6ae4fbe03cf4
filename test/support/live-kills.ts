import { readdirSync, readFileSync } from 'node:fs';
import { hostAddon } from '../../src/lib/native.js';
import type { Reservation__Output } from '../../src/rpc/generated/corecast/v1/Reservation.js';
import type { LiveDaemon } from './live-daemon.js';

const HOLDS = ['RESERVATION_STATE_PENDING', 'RESERVATION_STATE_ACTIVE', 'RESERVATION_STATE_ORPHANED'];
const ENDED = ['RESERVATION_STATE_RELEASED', 'RESERVATION_STATE_EXPIRED'];

/** Follows what a daemon says, over its lives: who has which CPUs, and when each reservation ended. */
export class Follower {
  readonly #daemon: LiveDaemon;
  readonly #now = new Map<string, Reservation__Output>();
  /** By reservation: when its end was heard, milliseconds of performance.now(). */
  readonly endedMs = new Map<string, number>();
  /** What must never be: a CPU promised to more than a thousand thousandths. */
  readonly doubled: string[] = [];

  constructor(daemon: LiveDaemon) {
    this.#daemon = daemon;
  }

  /** Call it after each start of the daemon; resolves when the present state was heard. */
  async follow(): Promise<void> {
    this.#now.clear();
    const { reservations } = await this.#daemon.client.listReservations({});
    for (const reservation of reservations) this.#heard(reservation);
    void this.#listen().catch(() => {});
  }

  /** Those that have not ended, by name. */
  live(name: string): Reservation__Output | undefined {
    return [...this.#now.values()].find((one) => one.name === name);
  }

  get size(): number {
    return this.#now.size;
  }

  async #listen(): Promise<void> {
    for await (const { reservation } of this.#daemon.client.watchReservations()) this.#heard(reservation!);
  }

  #heard(reservation: Reservation__Output): void {
    const { id, state } = reservation;
    if (ENDED.includes(state)) {
      this.#now.delete(id);
      if (!this.endedMs.has(id)) this.endedMs.set(id, performance.now());
      return;
    }
    this.#now.set(id, reservation);
    const milli = new Map<number, number>();
    for (const one of this.#now.values()) {
      if (!HOLDS.includes(one.state)) continue;
      for (const { cpu, shareMilli } of one.cpus) milli.set(cpu, (milli.get(cpu) ?? 0) + shareMilli);
    }
    for (const [cpu, sum] of milli) {
      if (sum > 1_000) this.doubled.push(`CPU ${cpu} was promised to ${sum} thousandths at ${id} ${state}`);
    }
  }
}

/** FFmpeg processes with this word among their arguments; the kernel knows them whoever has lost sight of them. */
export function processesWith(word: string): { pid: number; startTicks: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const [program, ...args] = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
        if (!program!.endsWith('ffmpeg') || !args.some((arg) => arg === word)) return [];
        return [{ pid: Number(name), startTicks: hostAddon().startTicks(Number(name)) }];
      } catch {
        return [];
      }
    });
}

export interface Killed {
  /** When its end was seen here, by a pidfd of its own; milliseconds of performance.now(). */
  readonly endedMs: number;
  /** From the signal to that. */
  readonly tookMs: number;
}

/** Kills a process and waits for its end. */
export async function killed({ pid, startTicks }: { pid: number; startTicks: number }): Promise<Killed> {
  let askedMs = 0;
  const endedMs = await new Promise<number>((resolve) => {
    hostAddon().watchExit(pid, startTicks, () => resolve(performance.now()));
    askedMs = performance.now();
    process.kill(pid, 'SIGKILL');
  });
  return { endedMs, tookMs: endedMs - askedMs };
}

/** `share` of the values are at most this; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
