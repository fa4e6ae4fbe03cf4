import { numberIn, ProcFile, unreadable } from './proc-file.js';

export interface Memory {
  readonly totalBytes: number;
  /** What new work can have without swapping (MemAvailable). */
  readonly availableBytes: number;
  /** 0 on a host without swap. */
  readonly swapTotalBytes: number;
  readonly swapUsedBytes: number;
}

export const NO_MEMORY: Memory = { totalBytes: 0, availableBytes: 0, swapTotalBytes: 0, swapUsedBytes: 0 };

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
  const swapTotalBytes = bytesOf('SwapTotal', 0);
  return {
    totalBytes: bytesOf('MemTotal'),
    availableBytes: bytesOf('MemAvailable'),
    swapTotalBytes,
    swapUsedBytes: Math.max(0, swapTotalBytes - bytesOf('SwapFree', swapTotalBytes)),
  };

  /** `absent` is for items that a kernel may lack. */
  function bytesOf(item: string, absent?: number): number {
    const start = text.startsWith(`${item}:`) ? 0 : text.indexOf(`\n${item}:`) + 1;
    if (start === 0 && !text.startsWith(`${item}:`)) {
      if (absent !== undefined) return absent;
      throw unreadable(file, 0, item, '');
    }
    const end = text.indexOf('\n', start);
    const line = text.slice(start, end < 0 ? text.length : end);
    const lineNumber = () => text.slice(0, start).split('\n').length;
    const [, number, unit] = line.split(/\s+/);
    if (unit !== 'kB' || !/^\d+$/.test(number ?? '')) throw unreadable(file, lineNumber(), item, line);
    return numberIn(file, 0, item, number) * 1024;
  }
}
