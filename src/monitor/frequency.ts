import { existsSync } from 'node:fs';
import { numberIn, ProcFile } from './proc-file.js';

/** Each read may interrupt the CPU it asks about (APERF and MPERF are its own registers), so few a tick, in turn. */
const CPUS_PER_TICK = 8;
/** Ticks until CPUs without a frequency are looked at again. */
const AGAIN_EVERY = 300;

/** What frequency each CPU runs at, Documentation/admin-guide/pm/cpufreq.rst. Virtual machines have none. */
export class FrequencyCollector {
  readonly #sysRoot: string;
  readonly #files = new Map<number, ProcFile>();
  readonly #hz = new Map<number, number>();
  #known: readonly number[] = [];
  #next = 0;
  #ticks = 0;

  constructor(sysRoot: string) {
    this.#sysRoot = sysRoot;
  }

  /** `online`: the CPUs of this tick. Each has the frequency of its last turn. */
  collect(online: Iterable<number>): ReadonlyMap<number, number> {
    const cpus = [...online];
    const changed = cpus.length !== this.#known.length || cpus.some((cpu, i) => cpu !== this.#known[i]);
    if (changed || this.#ticks++ % AGAIN_EVERY === 0) this.#open(cpus);
    const turns = [...this.#files.keys()];
    for (let i = 0; i < Math.min(CPUS_PER_TICK, turns.length); i++)
      this.#read(turns[this.#next++ % turns.length]!);
    return new Map(this.#hz);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  #open(cpus: readonly number[]): void {
    this.#known = cpus;
    for (const [cpu, file] of this.#files) {
      if (cpus.includes(cpu)) continue;
      file.close();
      this.#files.delete(cpu);
      this.#hz.delete(cpu);
    }
    for (const cpu of cpus) {
      const path = `${this.#sysRoot}/devices/system/cpu/cpu${cpu}/cpufreq/scaling_cur_freq`;
      if (!this.#files.has(cpu) && existsSync(path)) this.#files.set(cpu, new ProcFile(path));
    }
  }

  #read(cpu: number): void {
    const file = this.#files.get(cpu)!;
    try {
      this.#hz.set(cpu, parseFrequency(file.read(), file.path));
    } catch (error) {
      this.#hz.delete(cpu);
      // Going offline between the look and the read.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENODEV' && code !== 'EBUSY') throw error;
    }
  }
}

/** The file has kilohertz. */
export function parseFrequency(text: string, file = 'scaling_cur_freq'): number {
  return numberIn(file, 1, 'frequency', text.trim()) * 1000;
}
