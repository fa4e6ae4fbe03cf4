import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * CPU seconds of a process by the CPU that its threads were last seen on. /proc/stat cannot tell: other work shares the
 * CPUs. Threads that end between two readings lose their last part, so only shares are taken from here, never totals.
 */
export class ThreadUsage {
  readonly #task: string;
  readonly #seen = new Map<string, number>();
  readonly #byCpu = new Map<number, number>();

  constructor(pid: number, procRoot = '/proc') {
    this.#task = join(procRoot, String(pid), 'task');
  }

  /** Reads all threads once; false when the process is gone. */
  read(): boolean {
    let tids: string[];
    try {
      tids = readdirSync(this.#task);
    } catch {
      return false;
    }
    for (const tid of tids) this.#readThread(tid);
    return true;
  }

  /** CPU seconds seen so far: a lower bound. */
  get seconds(): number {
    return [...this.#byCpu.values()].reduce((a, b) => a + b, 0);
  }

  /** CPU seconds seen so far, by the CPU; a copy. */
  get byCpu(): ReadonlyMap<number, number> {
    return new Map(this.#byCpu);
  }

  #readThread(tid: string): void {
    try {
      const stat = readFileSync(join(this.#task, tid, 'stat'), 'utf8');
      // Field 2 is the name in parentheses and may hold anything; fields after it begin with 3.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const cpu = Number(fields[39 - 3]);
      const nanoseconds = Number(readFileSync(join(this.#task, tid, 'schedstat'), 'utf8').split(' ')[0]);
      const before = this.#seen.get(tid) ?? 0;
      if (nanoseconds <= before) return;
      this.#seen.set(tid, nanoseconds);
      this.#byCpu.set(cpu, (this.#byCpu.get(cpu) ?? 0) + (nanoseconds - before) / 1e9);
    } catch {
      // The thread ended while it was being read.
    }
  }
}
