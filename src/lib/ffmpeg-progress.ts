import type { Clock } from './clock.js';

/** One block of FFmpeg's -progress. */
export interface Progress {
  readonly outTimeUs: number;
  readonly frame: number;
  readonly fps: number;
  readonly speed: number;
  readonly droppedFrames: number;
  readonly duplicatedFrames: number;
  readonly bitrateBps: number;
  readonly lagSeconds: number;
}

/**
 * Reads FFmpeg's -progress output: "key=value" lines, a block ending with "progress=continue" or "progress=end". Lag is
 * wall time since the first frame less media time since then; it means something for live channels only.
 */
export class ProgressReader {
  readonly #clock: Clock;
  readonly #onBlock: (progress: Progress, last: boolean) => void;
  #rest = '';
  #block = new Map<string, string>();
  #first: { readonly atMs: number; readonly outTimeUs: number } | undefined;

  constructor(clock: Clock, onBlock: (progress: Progress, last: boolean) => void) {
    this.#clock = clock;
    this.#onBlock = onBlock;
  }

  feed(text: string): void {
    const lines = (this.#rest + text).split('\n');
    // A line is short; anything long without a newline is not -progress output.
    this.#rest = (lines.pop() ?? '').slice(-MAX_LINE);
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    const equals = line.indexOf('=');
    if (equals < 0) return;
    const key = line.slice(0, equals).trim();
    const value = line.slice(equals + 1).trim();
    if (key !== 'progress') {
      if (this.#block.size < MAX_KEYS) this.#block.set(key, value);
      return;
    }
    const block = this.#block;
    this.#block = new Map();
    this.#onBlock(this.#progress(block), value === 'end');
  }

  #progress(block: ReadonlyMap<string, string>): Progress {
    const number = (key: string) => {
      const value = Number.parseFloat(block.get(key) ?? '');
      return Number.isFinite(value) && value > 0 ? value : 0;
    };
    // Before the first packet out_time is "N/A" or hugely negative.
    const outTimeUs = Math.round(number('out_time_us') || number('out_time_ms'));
    const frame = number('frame');
    const nowMs = this.#clock.monotonicMs();
    if (this.#first === undefined && frame > 0 && outTimeUs > 0) this.#first = { atMs: nowMs, outTimeUs };
    const first = this.#first;
    const lag = first === undefined ? 0 : (nowMs - first.atMs) / 1000 - (outTimeUs - first.outTimeUs) / 1e6;
    return {
      outTimeUs,
      frame,
      fps: number('fps'),
      speed: number('speed'),
      droppedFrames: number('drop_frames'),
      duplicatedFrames: number('dup_frames'),
      bitrateBps: Math.round(number('bitrate') * 1000),
      lagSeconds: Math.max(0, lag),
    };
  }
}

const MAX_LINE = 4_096;
const MAX_KEYS = 256;
