import type { ConfineOutcome, HostAddon } from '../../../src/lib/native.js';
import type { Chance } from './chance.js';
import type { Life } from './life.js';
import type { Machine } from './machine.js';
import type { Timeline } from './timeline.js';

export interface SimulatedProcess {
  readonly pid: number;
  readonly startTicks: number;
  readonly uid: number;
  readonly threads: Map<number, readonly number[]>;
  alive: boolean;
  /** By SIGSTOP. */
  stopped: boolean;
}

/** The part of the addon that reservations and pinning use. */
export type KernelCalls = Pick<
  HostAddon,
  | 'startTicks'
  | 'processUid'
  | 'getProcessAffinity'
  | 'setProcessAffinity'
  | 'confineProcess'
  | 'openConfiner'
  | 'watchExit'
> & {
  kill(pid: number, signal: NodeJS.Signals | 0): void;
};

interface Watch {
  readonly life: Life;
  readonly process: SimulatedProcess;
  readonly onExit: () => void;
  closed: boolean;
}

const FIRST_PID = 100;
/** So few that pids are given again within a run. */
const PIDS = 12;
const MS_PER_TICK = 10;

/** Processes that live and die whether a daemon looks or not. */
export class SimulatedKernel {
  /** Told before the daemon changes a process's masks. */
  onPin: (life: Life, process: SimulatedProcess, cpus: readonly number[]) => void = () => {};
  /** So many of the next changes of masks are refused. */
  refusals = 0;
  /** Others changed masks, or the kernel refused to: not every mask is the daemon's doing. */
  disturbed = false;
  bootId = 'boot 1';
  /** When pids were last given before the last boot: processes of this one may repeat them. */
  readonly #former = new Map<number, number>();
  #boots = 1;
  #bootedMs = 0;
  readonly #byPid = new Map<number, SimulatedProcess>();
  #watches: Watch[] = [];
  #lastPid = FIRST_PID;
  #lastTicks = 0;
  #lastTid = 10_000;
  readonly #chance: Chance;
  readonly #timeline: Timeline;
  readonly #machine: Machine;

  constructor(chance: Chance, timeline: Timeline, machine: Machine) {
    this.#chance = chance;
    this.#timeline = timeline;
    this.#machine = machine;
  }

  get processes(): Iterable<SimulatedProcess> {
    return this.#byPid.values();
  }

  find(pid: number): SimulatedProcess | undefined {
    return this.#byPid.get(pid);
  }

  /** Undefined when every pid is taken. */
  spawn(uid: number, mask: readonly number[]): SimulatedProcess | undefined {
    // Often the pid that was given last, so that whoever still means the old process finds the new one.
    const first = this.#chance.hits(0.5) ? this.#lastPid : this.#lastPid + 1;
    for (let i = 0; i < PIDS; i++) {
      const pid = FIRST_PID + ((first - FIRST_PID + i) % PIDS);
      if (this.#byPid.has(pid)) continue;
      this.#lastPid = pid;
      this.#lastTicks = this.#nextTicks(pid);
      const process = { pid, startTicks: this.#lastTicks, uid, threads: new Map([[pid, mask]]) };
      const alive = { ...process, alive: true, stopped: false };
      this.#byPid.set(pid, alive);
      return alive;
    }
    return undefined;
  }

  /** The power was cut: clock ticks and pids begin anew. */
  reboot(): void {
    for (const process of [...this.#byPid.values()]) {
      this.#former.set(process.pid, process.startTicks);
      this.exit(process);
    }
    this.bootId = `boot ${++this.#boots}`;
    this.#bootedMs = this.#timeline.monotonicMs();
    this.#lastPid = FIRST_PID;
    this.#lastTicks = 0;
  }

  /** Of a process that starts now; often, where it can be, the one that its pid had before the host was restarted. */
  #nextTicks(pid: number): number {
    const former = this.#former.get(pid) ?? 0;
    this.#former.delete(pid);
    if (former > this.#lastTicks && this.#chance.hits(0.5)) return former;
    return Math.max(
      this.#lastTicks + 1,
      Math.floor((this.#timeline.monotonicMs() - this.#bootedMs) / MS_PER_TICK),
    );
  }

  /** A thread inherits the mask of the one that makes it. */
  clone({ threads, pid }: SimulatedProcess): void {
    threads.set(++this.#lastTid, threads.get(pid)!);
  }

  exit(process: SimulatedProcess): void {
    if (!process.alive) return;
    process.alive = false;
    this.#byPid.delete(process.pid);
    for (const watch of this.#watches.filter((one) => one.process === process)) {
      this.#timeline.after(this.#chance.between(0, 3), () => {
        if (!watch.closed && !watch.life.dead) watch.onExit();
      });
    }
    this.#watches = this.#watches.filter((one) => one.process !== process);
  }

  /** Threads that run on a CPU which goes away are let run wherever there is one left. */
  cpusChanged(): void {
    this.disturbed = true;
    const { online } = this.#machine;
    for (const { threads } of this.#byPid.values()) {
      for (const [tid, mask] of threads) {
        const left = mask.filter((cpu) => online.includes(cpu));
        if (left.length < mask.length) threads.set(tid, left.length > 0 ? left : online);
      }
    }
  }

  calls(life: Life): KernelCalls {
    const find = (pid: number): SimulatedProcess => {
      life.cross();
      const process = this.#byPid.get(pid);
      if (process === undefined) throw failure('ESRCH', 'kill');
      return process;
    };
    const change = (
      process: SimulatedProcess,
      cpus: readonly number[],
      wants: (mask: readonly number[]) => boolean,
    ): ConfineOutcome => {
      if (this.refusals-- > 0) {
        this.disturbed = true;
        throw failure('EPERM', 'sched_setaffinity');
      }
      const given = cpus.filter((cpu) => this.#machine.online.includes(cpu));
      if (given.length === 0) throw failure('EINVAL', 'sched_setaffinity');
      let changed = 0;
      this.onPin(life, process, cpus);
      for (const [tid, mask] of process.threads) {
        if (!wants(mask)) continue;
        if (!sameCpus(mask, given)) changed++;
        process.threads.set(tid, given);
      }
      return { threads: process.threads.size, changed, strays: [] };
    };
    const confine = (process: SimulatedProcess, cpus: readonly number[]) =>
      change(process, cpus, (mask) => !mask.every((cpu) => cpus.includes(cpu)));
    return {
      startTicks: (pid) => find(pid).startTicks,
      processUid: (pid) => find(pid).uid,
      getProcessAffinity: (pid) =>
        [...find(pid).threads].map(([tid, cpus]) => ({ tid, name: 'ffmpeg', cpus: [...cpus] })),
      setProcessAffinity: (pid, cpus) => change(find(pid), cpus, () => true),
      confineProcess: (pid, cpus) => confine(find(pid), cpus),
      openConfiner: () => ({
        confine(pid, startTicks, cpus) {
          const process = find(pid);
          if (process.startTicks !== startTicks) throw failure('ESRCH', 'open');
          return confine(process, cpus);
        },
        forget: () => {},
        close: () => {},
      }),
      kill: (pid, signal) => {
        const process = find(pid);
        if (signal === 0) return;
        if (signal === 'SIGSTOP' && this.refusals-- > 0) throw failure('EPERM', 'kill');
        process.stopped = signal === 'SIGSTOP';
      },
      watchExit: (pid, startTicks, onExit) => {
        const process = find(pid);
        if (process.startTicks !== startTicks) throw failure('ESRCH', 'pidfd_open');
        const watch = { life, process, onExit, closed: false };
        this.#watches.push(watch);
        return {
          close: () => {
            watch.closed = true;
          },
        };
      },
    };
  }
}

export function sameCpus(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((cpu) => b.includes(cpu));
}

function failure(code: string, syscall: string): Error {
  return Object.assign(new Error(`${syscall}: ${code}`), { code, syscall });
}
