import { parsePressure } from './pressure.js';
import { ProcFile } from './proc-file.js';
import type { Pressure } from './sample.js';

/** Ticks between two reads of a cgroup's pressure: the kernel averages over ten seconds. Cgroups take turns. */
const PRESSURE_EVERY = 5;
/** Ticks between two looks at which cgroup a process is in. */
const CGROUP_EVERY = 60;

interface Tracked {
  readonly file: ProcFile;
  /** Its cgroup, "/a/b"; undefined where it has none of version 2, or is in the root, which has no pressure of its own. */
  cgroup: string | undefined;
  /** Ticks since it was tracked, and its turn among the processes. */
  age: number;
  readonly turn: number;
}

interface Cgroup {
  readonly files: readonly [ProcFile, ProcFile, ProcFile];
  pressure: Pressure | undefined;
  /** The tick of its last read. */
  readAt: number;
}

/**
 * Pressure stall information of the cgroups (version 2) that tracked processes run in, Documentation/admin-guide/cgroup-v2.rst.
 * A supervisor such as systemd gives each channel a cgroup; where several share one, they share its numbers, and it is
 * read once.
 */
export class ChannelPressureCollector {
  readonly #procRoot: string;
  readonly #cgroupRoot: string;
  readonly #tracked = new Map<number, Tracked>();
  readonly #cgroups = new Map<string, Cgroup>();
  #turns = 0;
  #ticks = 0;

  constructor(procRoot: string, sysRoot: string) {
    this.#procRoot = procRoot;
    this.#cgroupRoot = `${sysRoot}/fs/cgroup`;
  }

  track(pid: number): void {
    this.#close(pid);
    const file = new ProcFile(`${this.#procRoot}/${pid}/cgroup`);
    this.#tracked.set(pid, { file, cgroup: undefined, age: 0, turn: this.#turns++ });
  }

  untrack(pid: number): void {
    this.#close(pid);
    this.#forget();
  }

  collect(): ReadonlyMap<number, Pressure> {
    this.#ticks++;
    const found = new Map<number, Pressure>();
    for (const [pid, tracked] of this.#tracked) {
      if (tracked.age === 0 || (tracked.age + tracked.turn) % CGROUP_EVERY === 0) this.#lookUp(tracked);
      const due = tracked.age === 0 || (tracked.age + tracked.turn) % PRESSURE_EVERY === 0;
      tracked.age++;
      const cgroup = tracked.cgroup === undefined ? undefined : this.#cgroups.get(tracked.cgroup);
      if (cgroup === undefined) continue;
      if (due && cgroup.readAt < this.#ticks) this.#read(cgroup);
      if (cgroup.pressure !== undefined) found.set(pid, cgroup.pressure);
    }
    return found;
  }

  close(): void {
    for (const pid of [...this.#tracked.keys()]) this.#close(pid);
    this.#forget();
  }

  #close(pid: number): void {
    this.#tracked.get(pid)?.file.close();
    this.#tracked.delete(pid);
  }

  #lookUp(tracked: Tracked): void {
    const path = cgroupOf(readIfThere(tracked.file));
    if (path === tracked.cgroup) return;
    tracked.cgroup = path;
    if (path !== undefined && !this.#cgroups.has(path)) {
      const file = (name: string) => new ProcFile(`${this.#cgroupRoot}${path}/${name}.pressure`);
      const files = [file('cpu'), file('memory'), file('io')] as const;
      this.#cgroups.set(path, { files, pressure: undefined, readAt: 0 });
    }
    this.#forget();
  }

  #read(cgroup: Cgroup): void {
    cgroup.readAt = this.#ticks;
    cgroup.pressure = undefined;
    try {
      const [cpu, memory, io] = cgroup.files.map((file) => parsePressure(file.read(), file.path).some);
      cgroup.pressure = { cpu: cpu!, memory: memory!, io: io! };
    } catch (error) {
      // No PSI in this kernel, the hierarchy is elsewhere, or the cgroup went with its last process.
      if (!NOT_THERE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }

  /** Closes the files of cgroups that no tracked process is in. */
  #forget(): void {
    const inUse = new Set([...this.#tracked.values()].map(({ cgroup }) => cgroup));
    for (const [path, { files }] of this.#cgroups) {
      if (inUse.has(path)) continue;
      for (const file of files) file.close();
      this.#cgroups.delete(path);
    }
  }
}

const NOT_THERE = new Set(['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP', 'EACCES']);

/** The version 2 path of /proc/PID/cgroup, the line "0::/a/b"; undefined without one, and for the root. */
export function cgroupOf(text: string): string | undefined {
  const path = /^0::(\/.*)$/m.exec(text)?.[1];
  return path === '/' || path === undefined || path.includes('/../') ? undefined : path;
}

function readIfThere(file: ProcFile): string {
  try {
    return file.read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return '';
    throw error;
  }
}
