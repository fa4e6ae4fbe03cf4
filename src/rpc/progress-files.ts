import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import { type Progress, ProgressReader } from '../lib/ffmpeg-progress.js';
import type { Log } from '../lib/log.js';
import { progressDir, progressFile } from '../lib/progress-place.js';

/** A named process, and whose it is. */
export interface Writer {
  readonly pid: number;
  readonly startTicks: number;
  readonly uid: number;
}

/** Set-group-id: files belong to the group too. Sticky: nobody removes another's. */
const MODE = 0o3770;
/** Read in one go; of more only the end counts: that is what is the case now. */
const MOST_BYTES = 4_096;
/** Then what was read is given back to the file system. */
const KEPT_BYTES = 65_536;

/**
 * The progress of FFmpegs without a wrapper (-progress file:…), in a directory beside the daemon's socket: one file a process,
 * PID.STARTTICKS, made by the wrapper before it became FFmpeg.
 *
 * A socket or a pipe would end with the daemon, since FFmpeg does not connect twice, and FFmpeg would stand still with a
 * daemon that does not read. A file does neither: FFmpeg writes on while nobody reads, and the next daemon reads on. FFmpeg
 * writes at its own offset, so a file that is cut to nothing goes on as a hole: it takes no more room than KEPT_BYTES, or
 * about 1.8 MB an hour while no daemon runs.
 *
 * What a file says is believed of the process only if it is owned by the user who reserved.
 */
export class ProgressFiles {
  readonly #socket: string;
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #open = new Map<number, OpenFile>();

  constructor(socket: string, clock: Clock, log: Log) {
    this.#socket = socket;
    this.#dir = progressDir(socket);
    this.#clock = clock;
    this.#log = log;
  }

  /** Makes the directory; `gid` is the group that may use the socket. Without one, progress ends with the daemon. */
  prepare(gid: number): void {
    try {
      mkdirSync(this.#dir, { recursive: true });
      const { mode, gid: now } = statSync(this.#dir);
      if (now !== gid) chownSync(this.#dir, -1, gid);
      // Under the shipped unit systemd-tmpfiles has made it so, because RestrictSUIDSGID= forbids it here.
      if ((mode & 0o7777) !== MODE || now !== gid) chmodSync(this.#dir, MODE);
    } catch (error) {
      this.#log.warn(
        { part: 'progress', dir: this.#dir, error: messageOf(error) },
        'no place for progress files',
      );
    }
  }

  /** Reads what is new. */
  read(writer: Writer, report: (progress: Progress) => void): void {
    const known = this.#open.get(writer.pid);
    const file = known?.startTicks === writer.startTicks ? known : this.#find(writer, report);
    if (file === undefined) return;
    try {
      readOn(file);
    } catch (error) {
      this.#log.debug({ pid: writer.pid, error: messageOf(error) }, 'no progress can be read');
    }
  }

  /** The process has ended. */
  forget({ pid, startTicks }: Omit<Writer, 'uid'>): void {
    this.#close(pid);
    remove(progressFile(this.#socket, { pid, startTicks }));
  }

  /** Files of processes that are none of these have nobody who writes them; call it once those who run are known. */
  sweep(running: readonly Omit<Writer, 'uid'>[]): void {
    const kept = new Set(running.map((process) => basename(progressFile(this.#socket, process))));
    try {
      for (const name of readdirSync(this.#dir)) if (!kept.has(name)) remove(join(this.#dir, name));
    } catch {
      // There is none.
    }
  }

  close(): void {
    for (const pid of [...this.#open.keys()]) this.#close(pid);
  }

  #find(writer: Writer, report: (progress: Progress) => void): OpenFile | undefined {
    this.#close(writer.pid);
    const fd = openOwned(progressFile(this.#socket, writer), writer.uid);
    if (fd === undefined) return undefined;
    const reader = new ProgressReader(this.#clock, report);
    const file = { fd, startTicks: writer.startTicks, reader, at: 0, cutAt: 0 };
    this.#open.set(writer.pid, file);
    return file;
  }

  #close(pid: number): void {
    const file = this.#open.get(pid);
    if (file !== undefined) closeSync(file.fd);
    this.#open.delete(pid);
  }
}

interface OpenFile {
  readonly fd: number;
  readonly startTicks: number;
  readonly reader: ProgressReader;
  /** Read up to here, and cut when it was here. */
  at: number;
  cutAt: number;
}

const buffer = Buffer.allocUnsafe(MOST_BYTES);

function readOn(file: OpenFile): void {
  const { size } = fstatSync(file.fd);
  if (size <= file.at) return;
  const from = Math.max(file.at, size - MOST_BYTES);
  const count = readSync(file.fd, buffer, 0, size - from, from);
  file.at = from + count;
  file.reader.feed(buffer.toString('latin1', 0, count));
  if (file.at - file.cutAt < KEPT_BYTES) return;
  file.cutAt = file.at;
  ftruncateSync(file.fd);
}

/** Undefined where it is not there, no plain file, or another user's. */
function openOwned(path: string, uid: number): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  const found = fstatSync(fd);
  if (found.isFile() && found.uid === uid) return fd;
  closeSync(fd);
  return undefined;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not there.
  }
}
