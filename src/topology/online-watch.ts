import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Notices CPUs that go or come: one small file a tick (Documentation/admin-guide/cputopology.rst, "online"). */
export class OnlineWatch {
  readonly #path: string;
  #seen: string;

  constructor(sysRoot: string) {
    this.#path = join(sysRoot, 'devices/system/cpu/online');
    this.#seen = this.#read();
  }

  /** "0-3 -> 0-2" when the list is another than at the last call; undefined when it is not, or cannot be read. */
  changed(): string | undefined {
    const now = this.#read();
    if (now === '' || now === this.#seen) return undefined;
    const change = `${this.#seen} -> ${now}`;
    this.#seen = now;
    return change;
  }

  #read(): string {
    try {
      return readFileSync(this.#path, 'utf8').trim();
    } catch {
      return '';
    }
  }
}
