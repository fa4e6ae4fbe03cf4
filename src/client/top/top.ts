import type { ReadStream, WriteStream } from 'node:tty';
import type { Feed } from './feed.js';
import { frame } from './frame.js';
import type { Paint } from './paint.js';
import { Screen } from './screen.js';
import type { TopView } from './view.js';

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One key: a control sequence, or a character. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: keys that are no characters begin with ESC
const KEY = /\u001b\[[0-9;]*[A-Za-z~]|[\s\S]/g;

/** The live view, until q, ^C or a signal ends it. Returns the signal, if it was one from outside. */
export class Top {
  readonly #feed: Feed;
  readonly #screen: Screen;
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #paint: Paint;
  readonly #intervalMs: number;
  #view: TopView | undefined;
  #from = 0;
  #end: (signal: NodeJS.Signals | undefined) => void = () => {};

  constructor(
    feed: Feed,
    streams: { input: ReadStream; output: WriteStream },
    paint: Paint,
    intervalMs: number,
  ) {
    this.#feed = feed;
    this.#input = streams.input;
    this.#output = streams.output;
    this.#screen = new Screen(streams.output, streams.input);
    this.#paint = paint;
    this.#intervalMs = intervalMs;
  }

  async run(): Promise<NodeJS.Signals | undefined> {
    const ended = new Promise<NodeJS.Signals | undefined>((resolve) => {
      this.#end = resolve;
    });
    const onKey = (bytes: Buffer) => {
      for (const [key] of bytes.toString('latin1').matchAll(KEY)) this.#key(key);
    };
    const onResize = () => this.#repaint();
    const onContinue = () => {
      this.#screen.open();
      this.#repaint();
    };
    const onSignal = ENDING_SIGNALS.map((signal) => [signal, () => this.#end(signal)] as const);
    this.#input.on('data', onKey);
    // A terminal that hangs up ends its readers.
    this.#input.once('end', () => this.#end('SIGHUP'));
    this.#output.on('resize', onResize);
    this.#output.on('error', () => this.#end('SIGHUP'));
    process.on('SIGCONT', onContinue);
    for (const [signal, handler] of onSignal) process.on(signal, handler);
    this.#screen.open();
    let timer: NodeJS.Timeout | undefined;
    const step = async () => {
      this.#view = await this.#feed.read();
      this.#draw();
      timer = setTimeout(() => void step(), this.#intervalMs);
    };
    void step();
    const signal = await ended;
    clearTimeout(timer);
    this.#screen.close();
    this.#input.removeListener('data', onKey);
    this.#output.removeListener('resize', onResize);
    process.removeListener('SIGCONT', onContinue);
    for (const [name, handler] of onSignal) process.removeListener(name, handler);
    return signal;
  }

  #key(key: string): void {
    if (key === 'q' || key === 'Q' || key === '\u0003') this.#end(undefined);
    else if (key === '\u001a') this.#suspend();
    else if (key === '\u000c') this.#repaint();
    else this.#scroll(key);
  }

  #scroll(key: string): void {
    const page = Math.max(1, this.#screen.size.rows >> 1);
    const steps: Readonly<Record<string, number>> = {
      ...{ '\u001b[A': -1, k: -1, '\u001b[5~': -page },
      ...{ '\u001b[B': 1, j: 1, '\u001b[6~': page, ' ': page },
    };
    const last = Math.max(0, (this.#view?.reservations.length ?? 0) - 1);
    this.#from = Math.min(last, Math.max(0, this.#from + (steps[key] ?? 0)));
    this.#draw();
  }

  /** ^Z, which raw mode keeps from being a signal. */
  #suspend(): void {
    this.#screen.close();
    process.kill(process.pid, 'SIGSTOP');
  }

  #repaint(): void {
    this.#screen.forget();
    this.#draw();
  }

  #draw(): void {
    if (this.#view === undefined) return;
    // Channels may have ended since it was scrolled.
    this.#from = Math.min(this.#from, Math.max(0, this.#view.reservations.length - 1));
    this.#screen.draw(frame(this.#view, this.#screen.size, this.#from, this.#paint));
  }
}
