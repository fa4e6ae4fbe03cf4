import { closeSync, openSync, readSync } from 'node:fs';
import { CorecastError } from '../lib/errors.js';

/** A file of /proc or /sys that stays open between reads. What is opened for one process never reads another's. */
export class ProcFile {
  readonly path: string;
  #fd: number | undefined;
  #buffer = Buffer.allocUnsafe(8192);

  constructor(path: string) {
    this.path = path;
  }

  /** The whole text as it is now. Throws the system's error; the next read opens the file again. */
  read(): string {
    try {
      this.#fd ??= openSync(this.path, 'r');
      let length = 0;
      for (;;) {
        // About a page a call, however large the buffer.
        const count = readSync(this.#fd, this.#buffer, length, this.#buffer.length - length, length);
        length += count;
        if (count < SHORT_READ_BYTES) return this.#buffer.toString('latin1', 0, length);
        if (length === this.#buffer.length) this.#grow();
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #grow(): void {
    if (this.#buffer.length >= MAX_BYTES)
      throw unreadable(this.path, 0, 'size', `more than ${MAX_BYTES} bytes`);
    const larger = Buffer.allocUnsafe(this.#buffer.length * 2);
    this.#buffer.copy(larger);
    this.#buffer = larger;
  }
}

const MAX_BYTES = 32 * 1024 * 1024;
/**
 * seq_file fills a page with whole records, none of which is this long here, before it returns: a read that brings less has
 * reached the end, and the read that would say so is saved.
 */
const SHORT_READ_BYTES = 2048;

/** A text that is not what the kernel documents. `line` counts from 1; 0 for the whole file. */
export function unreadable(file: string, line: number, item: string, text: string): CorecastError {
  const quoted = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
  return new CorecastError('KERNEL', `${file}:${line}: cannot read ${item} in ${quoted}`, {
    metadata: { file, line: String(line), item },
  });
}

/** A non-negative decimal number. */
export function numberIn(file: string, line: number, item: string, text: string | undefined): number {
  if (text === undefined || !/^\d+(\.\d+)?$/.test(text)) throw unreadable(file, line, item, text ?? '');
  return Number(text);
}

/** The value of a line "item value"; `absent` for a text without it. */
export function counterIn(text: string, item: string, file: string, absent?: number): number {
  const start = text.startsWith(`${item} `) ? 0 : text.indexOf(`\n${item} `) + 1;
  if (start === 0 && !text.startsWith(`${item} `)) {
    if (absent !== undefined) return absent;
    throw unreadable(file, 0, item, '');
  }
  const end = text.indexOf('\n', start);
  return numberIn(file, 0, item, text.slice(start + item.length + 1, end < 0 ? text.length : end));
}

/** What a counter gained a second. One that went back was begun anew or wrapped: what it gained is not known, and counts 0. */
export function perSecond(before: number, now: number, elapsedS: number): number {
  return elapsedS > 0 ? Math.max(0, now - before) / elapsedS : 0;
}
