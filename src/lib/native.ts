import { createRequire } from 'node:module';

/**
 * The C++ addon (native/). Failed system calls throw an Error whose `code` is the errno name ("ESRCH", "EPERM",
 * "EINVAL") and whose `syscall` names the call.
 */
export interface HostAddon {
  /**
   * Gives every thread of a process this CPU list, threads born meanwhile included (it re-reads /proc/PID/task until a
   * pass finds nothing to change, at most 10 passes). `changed` counts threads whose mask differed.
   */
  setProcessAffinity(pid: number, cpus: readonly number[]): { threads: number; changed: number };
  /**
   * Like setProcessAffinity, but leaves alone each thread whose mask lies within `cpus` already. `changed` counts threads
   * that were outside.
   */
  confineProcess(pid: number, cpus: readonly number[]): ConfineOutcome;
  /** sched_setaffinity(2) of one thread; tid 0 is the calling thread. */
  setThreadAffinity(tid: number, cpus: readonly number[]): void;
  /** Every thread of a process as the kernel has it now. `name` is comm. */
  getProcessAffinity(pid: number): { tid: number; name: string; cpus: number[] }[];
  getThreadAffinity(tid: number): number[];
  /** Field 22 of /proc/PID/stat; throws ESRCH when there is no such process. */
  startTicks(pid: number): number;
  /** SO_PEERCRED of a connected unix socket. The pid is seen from the daemon's namespace; 0 when it lies outside. */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
  /** Translates a pid seen inside the pid namespace of process `viewer` to this namespace (NSpid); throws ESRCH. */
  translatePid(viewer: number, pid: number): number;
  /** Real uid of a process; throws ESRCH. */
  processUid(pid: number): number;
  /**
   * Calls back once, on the event loop, when the process ends (pidfd_open(2) + epoll on one watcher thread for all).
   * Throws ESRCH when it is gone or its start time differs. close() is idempotent and stops the call.
   */
  watchExit(pid: number, startTicks: number, onExit: () => void): { close(): void };
  /**
   * Becomes another program, execvp(3): same pid, start time, affinity, environment and working directory; signals as a
   * shell would start it. Of the open descriptors it gets the standard streams and `descriptors`. Call it on the main
   * thread. Does not return; throws ENOENT or EACCES when the program can't be executed.
   */
  replaceProcess(program: string, args: readonly string[], descriptors: readonly number[]): never;
  /** SCHED_IDLE and idle I/O class for a process. */
  setIdlePriority(pid: number): void;
  /** sd_notify(3) over $NOTIFY_SOCKET; false when there is none. */
  notify(state: string): boolean;
  /** sysconf(_SC_CLK_TCK). */
  clockTicksPerSecond(): number;
  openSampler(procRoot: string): ProcSampler;
  /** Throws where the kernel has no sock_diag(7). */
  openTcpReader(): TcpReader;
  /**
   * Loads NVIDIA's management library on a thread of its own. Never throws for want of it: poll() then says so.
   * `library`: a name for dlopen(3).
   */
  openGpuReader(library: string): GpuReader;
  openConfiner(): Confiner;
}

/** A thread that was found outside the CPUs of its process. */
export interface Stray {
  readonly tid: number;
  /** comm. */
  readonly name: string;
  /** What it had before it was brought back. */
  readonly cpus: readonly number[];
  /** Seconds since it was made, with the kernel's resolution of 10 ms; infinite when it has ended since. */
  readonly ageSeconds: number;
}

export interface ConfineOutcome {
  readonly threads: number;
  readonly changed: number;
  /** The first 32 of those that changed. */
  readonly strays: readonly Stray[];
}

/**
 * confineProcess() for every tick: /proc/PID/task stays open between calls and with it the proof that this is the process
 * that started at `startTicks`, so neither is looked up again.
 */
export interface Confiner {
  /** Throws ESRCH when the process is gone or its start time differs. */
  confine(pid: number, startTicks: number, cpus: readonly number[]): ConfineOutcome;
  /** Closes what is open for a process; unknown ones are none. */
  forget(pid: number): void;
  close(): void;
}

/**
 * Columns of one process row. Times in CPU seconds since its start; sums over threads as of the last time that they were
 * read, what ended threads had done until then included.
 */
export const PROCESS_COLUMNS = [
  'pid',
  'alive', // 1, or 0 when the process is gone (other columns keep their last value)
  'threads',
  'userSeconds',
  'systemSeconds',
  'runSeconds', // schedstat: time on a CPU
  'waitSeconds', // schedstat: time on a run queue; NaN where the kernel does not count it
  'rssBytes',
  'minorFaults',
  'majorFaults',
  'switches', // schedstat: how often a thread was switched in
  'widestMask', // CPUs in the widest affinity mask of its threads; -1 where the kernel was not asked
  'threadsRead', // 1 when its threads were read in this call, and so have rows
  'readBytes', // passed to read(2) and its kin (rchar of /proc/PID/io); NaN where that could not be read
  'ioRead', // 1 when that was read in this call, processes in turn; 2 when the kernel refused it; else 0
] as const;
/** Columns of one thread row. */
export const THREAD_COLUMNS = [
  'pid',
  'tid',
  'cpu', // it was last on
  'cpuSeconds',
  'ranSeconds', // CPU seconds since its last row; all, at its first
  'waitSeconds',
  'switches',
  'maskCpus', // CPUs in its affinity mask; -1 where the kernel was not asked
] as const;
/** Columns of one CPU row, cumulative seconds since boot. */
export const CPU_COLUMNS = ['cpu', 'user', 'system', 'idle', 'iowait', 'irq', 'steal'] as const;

/** One call per tick for everything; file descriptors stay open between ticks. */
export interface ProcSampler {
  /** Starts sampling a process; throws ESRCH when it is gone or its start time differs. */
  add(pid: number, startTicks: number): void;
  remove(pid: number): void;
  /** Whether the threads of a process are read in every call. */
  watchClosely(pid: number, closely: boolean): void;
  /**
   * Reads the host's CPUs and all processes; and threads, process after process in turn, about `maxThreads` of them (all
   * without it) besides those watched closely. The arrays are the sampler's own and are overwritten by the next call.
   */
  sample(maxThreads?: number): ProcSample;
  close(): void;
}

/** What TCP sockets of this network namespace have received. */
export interface TcpReader {
  /** Looks among the established sockets of the host for these inodes; others that it knew are forgotten. */
  find(inodes: readonly number[]): void;
  /** TCP_COLUMNS of each found socket that is still there. */
  read(): Float64Array;
  close(): void;
}

/** Columns of one TCP socket; both counts in bytes. */
export const TCP_COLUMNS = ['inode', 'received', 'waiting'] as const;

/** Shares 0-1; NaN for what a GPU does not tell. */
export interface GpuUse {
  readonly name: string;
  readonly busy: number;
  readonly memoryUsedBytes: number;
  readonly memoryTotalBytes: number;
  readonly encoderBusy: number;
  readonly decoderBusy: number;
}

export interface GpuReader {
  /** The latest answer of the driver, and asks it again unless it still owes one. Never waits. */
  poll(): {
    readonly gpus: readonly GpuUse[];
    /** Answers so far. */
    readonly answers: number;
    /** For so long has the driver owed an answer; 0: it owes none. */
    readonly pendingMs: number;
    /** Why there is none to ask; empty while that is not known, or when there is. */
    readonly absent: string;
  };
  close(): void;
}

export interface ProcSample {
  readonly processes: Float64Array;
  readonly processCount: number;
  readonly threads: Float64Array;
  readonly threadCount: number;
  readonly cpus: Float64Array;
  readonly cpuCount: number;
}

const require = createRequire(import.meta.url);
let host: HostAddon | undefined;

/** Loads build/Release/corecast_host.node once. */
export function hostAddon(): HostAddon {
  host ??= require('../../build/Release/corecast_host.node') as HostAddon;
  return host;
}
