import { numberIn, ProcFile, unreadable } from './proc-file.js';

export interface Memory {
  readonly totalBytes: number;
  /** What new work can have without swapping (MemAvailable). */
  readonly availableBytes: number;
}

/** /proc/meminfo. */
export class MemoryCollector {
  readonly #file: ProcFile;

  constructor(procRoot: string) {
    this.#file = new ProcFile(`${procRoot}/meminfo`);
  }

  collect(): Memory {
    return parseMemory(this.#file.read(), this.#file.path);
  }

  close(): void {
    this.#file.close();
  }
}

export function parseMemory(text: string, file = 'meminfo'): Memory {
  const lines = text.split('\n');
  return { totalBytes: bytesOf('MemTotal'), availableBytes: bytesOf('MemAvailable') };

  function bytesOf(item: string): number {
    const index = lines.findIndex((line) => line.startsWith(`${item}:`));
    if (index < 0) throw unreadable(file, 0, item, '');
    const [, number, unit] = lines[index]!.split(/\s+/);
    if (unit !== 'kB') throw unreadable(file, index + 1, item, lines[index]!);
    return numberIn(file, index + 1, item, number) * 1024;
  }
}
