import { type FileHandle, open, readFile, rename, stat } from 'node:fs/promises';
import { setImmediate as breathe } from 'node:timers/promises';

export interface JsonLinesOptions<T> {
  /** When FILE is longer than this it becomes FILE.1, in place of the FILE.1 before, and a new one is begun. */
  readonly mostBytes: number;
  /** Each append is on the disk before it is done. */
  readonly sync: boolean;
  /** Undefined for a line that is not one. */
  readonly parse: (value: unknown) => T | undefined;
}

/** A few milliseconds of work: others wait for no more of it. */
const LINES_AT_ONCE = 500;

/**
 * An append-only record in a file: one JSON value a line, oldest first. Bounded: of what was ever written, the newest
 * `mostBytes` at least and twice as many at most are kept. A line that a crash cut short, or that is damaged, is skipped and
 * harms none of the others. One writer; its appends happen one after the other.
 */
export class JsonLines<T> {
  readonly #path: string;
  readonly #options: JsonLinesOptions<T>;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(path: string, options: JsonLinesOptions<T>) {
    this.#path = path;
    this.#options = options;
  }

  /** Rejects when it could not be written; the next append is tried all the same. */
  append(entries: readonly T[]): Promise<void> {
    if (entries.length === 0) return Promise.resolve();
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
    const done = this.#tail.then(() => this.#write(lines));
    this.#tail = done.catch(() => undefined);
    return done;
  }

  /** What is there, with the appends that were asked for before. */
  async read(): Promise<T[]> {
    await this.#tail;
    return [...(await this.#readFile(`${this.#path}.1`)), ...(await this.#readFile(this.#path))];
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  async #write(lines: string): Promise<void> {
    if ((await sizeOf(this.#path)) > this.#options.mostBytes) await rename(this.#path, `${this.#path}.1`);
    const file = await open(this.#path, 'a+', 0o640);
    try {
      await file.appendFile((await endsInLine(file)) ? lines : `\n${lines}`);
      if (this.#options.sync) await file.datasync();
    } finally {
      await file.close();
    }
  }

  async #readFile(path: string): Promise<T[]> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const lines = text.split('\n');
    const entries: T[] = [];
    for (let from = 0; from < lines.length; from += LINES_AT_ONCE) {
      for (const line of lines.slice(from, from + LINES_AT_ONCE)) {
        const entry = this.#parse(line);
        if (entry !== undefined) entries.push(entry);
      }
      await breathe();
    }
    return entries;
  }

  #parse(line: string): T | undefined {
    try {
      return this.#options.parse(JSON.parse(line));
    } catch {
      return undefined;
    }
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

/** After a crash in the middle of a line the next one must not become part of it. */
async function endsInLine(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return true;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] === 0x0a;
}
