import { writeSync } from 'node:fs';
import type { ReadStream, WriteStream } from 'node:tty';
import type { Size } from './view.js';

/* xterm's control sequences, which every terminal of today knows: alternate screen, cursor, erase, place. */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const ERASE_LINE = '\u001b[K';
const ERASE_ALL = '\u001b[2J';
const STDOUT = 1;
const toRow = (row: number) => `\u001b[${row + 1};1H`;

/** The terminal while the view has it. Whatever ends the process, close() or the exit hook gives it back as it was. */
export class Screen {
  readonly #out: WriteStream;
  readonly #in: ReadStream;
  #open = false;
  #drawn: readonly string[] = [];
  readonly #onExit = () => this.#leave((text) => writeSync(STDOUT, text));

  constructor(out: WriteStream, input: ReadStream) {
    this.#out = out;
    this.#in = input;
  }

  get size(): Size {
    // A terminal that nobody has told its size says 0.
    return { columns: this.#out.columns || 80, rows: this.#out.rows || 24 };
  }

  open(): void {
    this.#open = true;
    process.once('exit', this.#onExit);
    if (this.#in.isTTY) this.#in.setRawMode(true);
    this.#in.resume();
    this.#out.write(ENTER);
    this.forget();
  }

  close(): void {
    process.removeListener('exit', this.#onExit);
    this.#leave((text) => this.#out.write(text));
    this.#in.pause();
  }

  /** The next draw() paints everything: after a resize, or when others may have written over it. */
  forget(): void {
    this.#drawn = [];
    if (this.#open) this.#out.write(ERASE_ALL);
  }

  /** Writes the lines that differ from what is there. A terminal that is still busy with the last ones is let be. */
  draw(lines: readonly string[]): void {
    if (!this.#open || this.#out.writableLength > 0) return;
    let text = '';
    for (let row = 0; row < Math.max(lines.length, this.#drawn.length); row++) {
      const line = lines[row] ?? '';
      if (line !== this.#drawn[row]) text += toRow(row) + line + ERASE_LINE;
    }
    this.#drawn = lines;
    if (text !== '') this.#out.write(text);
  }

  #leave(write: (text: string) => void): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      write(LEAVE);
      if (this.#in.isTTY) this.#in.setRawMode(false);
    } catch {
      // The terminal is gone; there is nothing to give back.
    }
  }
}
