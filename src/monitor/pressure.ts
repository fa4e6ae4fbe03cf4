import { existsSync } from 'node:fs';
import type { Log } from '../lib/log.js';
import { ProcFile, unreadable } from './proc-file.js';

/** Pressure stall information, Documentation/accounting/psi.rst. */
export class PressureCollector {
  readonly #file: ProcFile | undefined;

  constructor(procRoot: string, log: Log) {
    const path = `${procRoot}/pressure/cpu`;
    if (existsSync(path)) this.#file = new ProcFile(path);
    else
      log.info({ path }, 'this kernel has no pressure information (CONFIG_PSI, psi=1): CPU pressure reads 0');
  }

  /** Share 0-1 of the last ten seconds in which some task waited for a CPU. */
  collect(): number {
    return this.#file === undefined ? 0 : parsePressure(this.#file.read(), this.#file.path);
  }

  close(): void {
    this.#file?.close();
  }
}

export function parsePressure(text: string, file = 'pressure/cpu'): number {
  const lines = text.split('\n');
  const index = lines.findIndex((line) => line.startsWith('some '));
  const match = /^some avg10=(\d+\.\d+) /.exec(lines[index] ?? '');
  if (match === null) throw unreadable(file, index + 1, 'some avg10', lines[index] ?? text);
  return Math.min(1, Number(match[1]) / 100);
}
