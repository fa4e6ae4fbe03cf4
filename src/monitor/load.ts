import { numberIn, ProcFile } from './proc-file.js';

/** /proc/loadavg, Documentation/filesystems/proc.rst. */
export class LoadCollector {
  readonly #file: ProcFile;

  constructor(procRoot: string) {
    this.#file = new ProcFile(`${procRoot}/loadavg`);
  }

  collect(): number {
    return parseLoad(this.#file.read(), this.#file.path);
  }

  close(): void {
    this.#file.close();
  }
}

/** The one-minute average. */
export function parseLoad(text: string, file = 'loadavg'): number {
  return numberIn(file, 1, 'the one-minute load', text.split(' ', 1)[0]);
}
