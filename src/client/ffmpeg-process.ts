import { type ChildProcess, spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import type { Clock } from '../lib/clock.js';
import { CorecastError } from '../lib/errors.js';
import { type Progress, ProgressReader } from '../lib/ffmpeg-progress.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';
import { listening } from './filter-switches.js';

/** How an FFmpeg ended: with a code, or by a signal. */
export interface Ending {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** `last`: FFmpeg has written everything and is about to end. */
export type OnProgress = (progress: Progress, last: boolean) => void;

/**
 * One running FFmpeg. Standard input, output and error are the wrapper's own, untouched (the input where it takes commands is
 * a pipe); progress comes over one more
 * pipe, unless the user asked for -progress himself: then that is his, and nothing is known here.
 */
export class FfmpegProcess {
  readonly pid: number;
  readonly ended: Promise<Ending>;
  #child: ChildProcess;
  #running = true;
  #progress: Progress | undefined;

  /** Starts it, with a progress pipe if `onProgress` is given. Throws NOT_FOUND (details.errno ENOENT or EACCES) when it cannot be executed. */
  static async start(
    command: FfmpegCommand,
    args: readonly string[],
    clock: Clock,
    onProgress?: OnProgress,
    /** It takes commands: see command(). Its standard input is then not the wrapper's. */
    listens = false,
  ): Promise<FfmpegProcess> {
    const { program } = command;
    const own = onProgress !== undefined && lastOption(command.globals, 'progress') === undefined;
    const fd = own ? freeDescriptor(args) : undefined;
    const stdio: ('inherit' | 'ignore' | 'pipe' | number)[] = [
      listens ? 'pipe' : 'inherit',
      'inherit',
      'inherit',
    ];
    if (fd !== undefined) {
      // What the caller passed in reaches FFmpeg only by its number: node closes it at the exec otherwise.
      const passed = new Set(openDescriptors(args));
      for (let i = stdio.length; i < fd; i++) stdio.push(passed.has(i) ? i : 'ignore');
      stdio.push('pipe');
    }
    const heard = listens ? listening(program, args) : args;
    const all = fd === undefined ? heard : ['-progress', `pipe:${fd}`, ...heard];
    const child = spawn(program, [...all], { stdio });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error: NodeJS.ErrnoException) => {
        const why =
          error.code === 'ENOENT'
            ? 'no such program'
            : error.code === 'EACCES'
              ? 'not executable'
              : error.message;
        const details = { cause: error, ...(error.code === undefined ? {} : { errno: error.code }) };
        reject(new CorecastError('NOT_FOUND', `cannot start ${program}: ${why}`, details));
      });
    });
    return new FfmpegProcess(child, fd, clock, onProgress);
  }

  private constructor(
    child: ChildProcess,
    fd: number | undefined,
    clock: Clock,
    onProgress: OnProgress = () => {},
  ) {
    this.#child = child;
    this.pid = child.pid!;
    if (fd !== undefined) this.#readProgress(fd, clock, onProgress);
    // An FFmpeg that ends reads no more.
    child.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#running = false;
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      });
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** The last block of -progress; undefined before the first, or when the user kept -progress. */
  get progress(): Progress | undefined {
    return this.#progress;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal);
  }

  /** Lines of FFmpeg's interactive mode; it looks ten times a second. */
  command(lines: readonly string[]): void {
    if (this.#running) this.#child.stdin?.write(lines.join(''));
  }

  /**
   * Ends it politely: one SIGTERM lets FFmpeg flush its encoders and write trailers (a second would cut that short), then
   * SIGKILL once the time is up.
   */
  async stop(withinMs: number): Promise<Ending> {
    this.kill('SIGTERM');
    // A process that the daemon paused would not see it.
    this.kill('SIGCONT');
    const timer = setTimeout(() => this.kill('SIGKILL'), withinMs);
    const ending = await this.ended;
    clearTimeout(timer);
    return ending;
  }

  #readProgress(fd: number, clock: Clock, onProgress: OnProgress): void {
    const reader = new ProgressReader(clock, (progress, last) => {
      this.#progress = progress;
      onProgress(progress, last);
    });
    const pipe = this.#child.stdio[fd] as NodeJS.ReadableStream | null;
    pipe?.setEncoding('utf8');
    pipe?.on('data', (text: string) => reader.feed(text));
    // A pipe that breaks costs the progress, nothing else.
    pipe?.on('error', () => {});
  }
}

/** The first descriptor above the standard ones that the command line does not name. */
function freeDescriptor(args: readonly string[]): number {
  const named = new Set(namedDescriptors(args));
  let fd = 3;
  while (named.has(fd)) fd++;
  return fd;
}

function namedDescriptors(args: readonly string[]): number[] {
  return args.flatMap((word) =>
    [...word.matchAll(/(?:pipe|fd):(\d+)|\/dev\/fd\/(\d+)/g)].map((m) => Number(m[1] ?? m[2])),
  );
}

/** Those above the standard streams that the command line names and that the caller has passed in. */
export function openDescriptors(args: readonly string[]): number[] {
  return namedDescriptors(args).filter((fd) => fd > 2 && isOpen(fd));
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** The exit code that a shell would report. */
export function exitCodeOf(ending: Ending): number {
  if (ending.code !== undefined) return ending.code;
  return 128 + (ending.signal === undefined ? 0 : constants.signals[ending.signal]);
}

export function describeEnding(ending: Ending): string {
  return ending.code !== undefined ? `exit ${ending.code}` : `signal ${ending.signal ?? 'unknown'}`;
}
