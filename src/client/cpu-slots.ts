import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cpuset, parseCpuset } from '../lib/cpuset.js';

/**
 * CPUs for measurements that run beside one another, as channels of a working host do. First one CPU of each core; SMT
 * siblings are handed out only to one that wants more than there are cores, and it runs alone.
 */
export class CpuSlots {
  /** One CPU of each core, then the rest. */
  readonly #ordered: Cpuset;
  readonly #cores: number;
  #free: Cpuset;
  #wake = () => {};

  constructor(cpus: Cpuset, siblingsOf: (cpu: number) => Cpuset = threadSiblings) {
    const firsts = cpus.filter(
      (cpu) => !cpus.some((other) => other < cpu && siblingsOf(cpu).includes(other)),
    );
    this.#ordered = [...firsts, ...cpus.filter((cpu) => !firsts.includes(cpu))];
    this.#cores = firsts.length;
    this.#free = firsts;
  }

  /** Waits until there are `count` of them, at most as many as there are CPUs. In the order of the calls. */
  async take(count: number): Promise<Cpuset> {
    const wanted = Math.min(count, this.#ordered.length);
    while (wanted > this.#cores ? this.#free.length < this.#cores : this.#free.length < wanted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = wanted > this.#cores ? this.#ordered.slice(0, wanted) : this.#free.slice(0, wanted);
    this.#free = this.#free.filter((cpu) => !taken.includes(cpu));
    return taken;
  }

  give(cpus: Cpuset): void {
    const cores = this.#ordered.slice(0, this.#cores);
    this.#free = cores.filter((cpu) => this.#free.includes(cpu) || cpus.includes(cpu));
    this.#wake();
  }
}

function threadSiblings(cpu: number): Cpuset {
  const path = join('/sys/devices/system/cpu', `cpu${cpu}`, 'topology/thread_siblings_list');
  try {
    return parseCpuset(readFileSync(path, 'utf8').trim());
  } catch {
    return [cpu];
  }
}
