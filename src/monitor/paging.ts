import { counterIn, ProcFile, perSecond } from './proc-file.js';

/** A second. */
export interface Paging {
  /** Faults that waited for a disk: FFmpeg's own pages, or its input, read back. */
  readonly majorFaultsPerS: number;
  readonly swapInPagesPerS: number;
  readonly swapOutPagesPerS: number;
}

export const NO_PAGING: Paging = { majorFaultsPerS: 0, swapInPagesPerS: 0, swapOutPagesPerS: 0 };

interface Counters {
  readonly majorFaults: number;
  readonly swapIn: number;
  readonly swapOut: number;
}

/** /proc/vmstat. */
export class PagingCollector {
  readonly #file: ProcFile;
  #before: Counters | undefined;

  constructor(procRoot: string) {
    this.#file = new ProcFile(`${procRoot}/vmstat`);
  }

  collect(elapsedS: number): Paging {
    const now = parsePaging(this.#file.read(), this.#file.path);
    const before = this.#before ?? now;
    this.#before = now;
    return {
      majorFaultsPerS: perSecond(before.majorFaults, now.majorFaults, elapsedS),
      swapInPagesPerS: perSecond(before.swapIn, now.swapIn, elapsedS),
      swapOutPagesPerS: perSecond(before.swapOut, now.swapOut, elapsedS),
    };
  }

  close(): void {
    this.#file.close();
  }
}

/** A kernel without swap counts none. */
export function parsePaging(text: string, file = 'vmstat'): Counters {
  return {
    majorFaults: counterIn(text, 'pgmajfault', file),
    swapIn: counterIn(text, 'pswpin', file, 0),
    swapOut: counterIn(text, 'pswpout', file, 0),
  };
}
