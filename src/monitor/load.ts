import { numberIn, ProcFile } from './proc-file.js';

export interface Load {
  /** Mean number of tasks that run, wait to run or wait for a disk. */
  readonly load1m: number;
  readonly load5m: number;
  readonly load15m: number;
  /** Tasks that run or wait to run, at the moment of the read. */
  readonly runnable: number;
}

export const NO_LOAD: Load = { load1m: 0, load5m: 0, load15m: 0, runnable: 0 };

/** /proc/loadavg, Documentation/filesystems/proc.rst. */
export class LoadCollector {
  readonly #file: ProcFile;

  constructor(procRoot: string) {
    this.#file = new ProcFile(`${procRoot}/loadavg`);
  }

  collect(): Load {
    return parseLoad(this.#file.read(), this.#file.path);
  }

  close(): void {
    this.#file.close();
  }
}

export function parseLoad(text: string, file = 'loadavg'): Load {
  const [one, five, fifteen, tasks] = text.split(' ');
  return {
    load1m: numberIn(file, 1, 'the one-minute load', one),
    load5m: numberIn(file, 1, 'the five-minute load', five),
    load15m: numberIn(file, 1, 'the 15-minute load', fifteen),
    runnable: numberIn(file, 1, 'runnable tasks', tasks?.split('/', 1)[0]),
  };
}
