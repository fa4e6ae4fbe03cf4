import { messageOf } from '../lib/errors.js';
import { renice } from '../lib/priority.js';
import type { ProcessRef } from '../reservation/reservation.js';

export interface LivePriorityOptions {
  /** Of setpriority(2), -20 to 0; 0: as it is. */
  nice(): number;
  sameProcess(process: ProcessRef): boolean;
  /** The kernel refuses: told once. */
  onRefused(why: string): void;
}

/** Whoever has another one was given it. */
const ORDINARY = 0;

/**
 * Live channels come before whatever else wants their CPUs: VOD, newcomers' wrappers, a neighbour that nobody forecast. What
 * is left of the CPUs is left to those as before. By nice, which the kernel weighs: at -5 a thread gets three times what one at 0
 * gets where both want more than there is. A thread that has a priority of its own keeps it.
 *
 * A new thread has its maker's priority. One that is made while the others are raised is caught by a second look, a tick later.
 */
export class LivePriority {
  readonly #options: LivePriorityOptions;
  #again: ProcessRef[] = [];
  #refused = false;

  constructor(options: LivePriorityOptions) {
    this.#options = options;
  }

  /** A live channel's process was attached. */
  attached(process: ProcessRef): void {
    if (this.#options.nice() === 0 || this.#refused) return;
    this.#raise(process);
    this.#again.push(process);
  }

  /** Once a tick. */
  tick(): void {
    for (const process of this.#again.splice(0)) this.#raise(process);
  }

  #raise(process: ProcessRef): void {
    if (!this.#options.sameProcess(process)) return;
    try {
      renice(process.pid, this.#options.nice(), ORDINARY);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(error: unknown): void {
    if (this.#refused) return;
    this.#refused = true;
    this.#options.onRefused(`${messageOf(error)}; it takes CAP_SYS_NICE`);
  }
}
