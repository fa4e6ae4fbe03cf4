import { existsSync } from 'node:fs';
import type { Log } from '../lib/log.js';
import { ProcFile, unreadable } from './proc-file.js';
import type { Pressure } from './sample.js';

/** Shares 0-1 of the last ten seconds. */
export interface HostPressure extends Pressure {
  /** In which every task that wanted to run waited for memory, or a disk. */
  readonly memoryFull: number;
  readonly ioFull: number;
  /** Since the last look, not over ten seconds: in which some task waited for memory. */
  readonly memoryNow: number;
}

export const NO_PRESSURE: HostPressure = {
  cpu: 0,
  memory: 0,
  io: 0,
  memoryFull: 0,
  ioFull: 0,
  memoryNow: 0,
};

const RESOURCES = ['cpu', 'memory', 'io'] as const;

/** Pressure stall information of the host, Documentation/accounting/psi.rst. */
export class PressureCollector {
  readonly #files: readonly (ProcFile | undefined)[];
  #memoryS: number | undefined;

  constructor(procRoot: string, log: Log) {
    const folder = `${procRoot}/pressure`;
    this.#files = RESOURCES.map((name) => `${folder}/${name}`).map((path) =>
      existsSync(path) ? new ProcFile(path) : undefined,
    );
    if (this.#files.every((file) => file === undefined))
      log.info(
        { path: folder },
        'this kernel has no pressure information (CONFIG_PSI, psi=1): pressure reads 0',
      );
  }

  collect(elapsedS: number): HostPressure {
    const [cpu, memory, io] = this.#files.map((file) =>
      file === undefined ? NOTHING : parsePressure(file.read(), file.path),
    ) as [Stall, Stall, Stall];
    const waitedS = memory.someS - (this.#memoryS ?? memory.someS);
    this.#memoryS = memory.someS;
    const memoryNow = elapsedS > 0 ? Math.min(1, Math.max(0, waitedS / elapsedS)) : 0;
    const { some, full } = memory;
    return { cpu: cpu.some, memory: some, io: io.some, memoryFull: full, ioFull: io.full, memoryNow };
  }

  close(): void {
    for (const file of this.#files) file?.close();
  }
}

export interface Stall {
  /** Share 0-1 of the last ten seconds in which some task waited. */
  readonly some: number;
  /** ... in which all that wanted to run did; 0 for the CPU on kernels before 5.13. */
  readonly full: number;
  /** Seconds since boot in which some task waited. */
  readonly someS: number;
}

const NOTHING: Stall = { some: 0, full: 0, someS: 0 };

export function parsePressure(text: string, file = 'pressure/cpu'): Stall {
  const lines = text.split('\n');
  const index = lines.findIndex((line) => line.startsWith('some '));
  const some = averageOf(lines[index]);
  if (some === undefined) throw unreadable(file, index + 1, 'some avg10', lines[index] ?? text);
  const microseconds = Number(/ total=(\d+)/.exec(lines[index] ?? '')?.[1] ?? 0);
  const full = averageOf(lines.find((line) => line.startsWith('full '))) ?? 0;
  return { some, full, someS: microseconds / 1e6 };
}

function averageOf(line: string | undefined): number | undefined {
  const match = /^(?:some|full) avg10=(\d+\.\d+) /.exec(line ?? '');
  return match === null ? undefined : Math.min(1, Number(match[1]) / 100);
}
