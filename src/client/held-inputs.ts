import { readBytesOf, socketsOf } from '../lib/process-files.js';

/** At the start, when FFmpeg opens its inputs, with each message; then as rarely as what it costs asks for. */
const FIRST = 3;
const EVERY_MS = 10_000;
/** As many as the daemon takes. */
const MOST_SOCKETS = 256;

/** What FFmpeg has open, for a daemon that runs as another user and may not look for itself. */
export class HeldInputs {
  #pid = 0;
  #told = 0;
  #toldMs = 0;

  /** Undefined while it was told a moment ago, and where it cannot be read (it has ended). */
  news(pid: number, nowMs: number): { socketInodes: number[]; readBytes: number } | undefined {
    if (pid !== this.#pid) this.#told = 0;
    this.#pid = pid;
    if (this.#told >= FIRST && nowMs - this.#toldMs < EVERY_MS) return undefined;
    try {
      const socketInodes = [...socketsOf(`/proc/${pid}/fd`)].slice(0, MOST_SOCKETS);
      const readBytes = readBytesOf(`/proc/${pid}/io`);
      this.#told++;
      this.#toldMs = nowMs;
      return { socketInodes, readBytes };
    } catch {
      return undefined;
    }
  }
}
