import { readFileSync, renameSync, unwatchFile, watchFile, writeFileSync } from 'node:fs';
import { continuationOf, partName } from './continuity.js';
import { availabilityStart, type DashPart, joinPeriods } from './dash-periods.js';
import { type FfmpegCommand, type FfmpegFile, lastOption } from './ffmpeg-args.js';

const LOOK_MS = 500;
/** Periods that a sliding window keeps: the present one and the one before. */
const WINDOW_PERIODS = 2;

/**
 * Keeps one DASH manifest over the runs of FFmpeg: the first run writes it itself; from the second on each writes a
 * manifest of its own, and this joins them under the first one's name as often as the present one changes.
 */
export class DashPresentation {
  readonly #path: string;
  readonly #kept: number | undefined;
  readonly #ended: DashPart[] = [];
  #part = 1;
  #startMs: number | undefined;
  #watched: string | undefined;

  /** For each DASH output of a command that may be restarted. */
  static of(command: FfmpegCommand): DashPresentation[] {
    return command.outputs
      .filter((output) => continuationOf(output) === 'dash')
      .map((output) => new DashPresentation(output));
  }

  private constructor(output: FfmpegFile) {
    this.#path = output.url.replace(/^file:/, '');
    const window = Number(lastOption(output.options, 'window_size')?.value ?? 0);
    this.#kept = window > 0 ? WINDOW_PERIODS : undefined;
  }

  /** The present FFmpeg is about to end: when it began stands in its manifest only as long as it is live. */
  ending(): void {
    this.#startMs = availabilityStart(read(this.#ownPath));
  }

  /** It has ended, and part `next` is about to begin. */
  ended(next: number): void {
    this.#take();
    this.#part = next;
    this.#publish(this.#ended, false);
    const path = this.#ownPath;
    this.#watched = path;
    watchFile(path, { interval: LOOK_MS, persistent: false }, () => {
      const manifest = read(path);
      if (manifest === '') return;
      this.#publish([...this.#ended, { manifest, startMs: availabilityStart(manifest) }], false);
    });
  }

  /** The last FFmpeg has ended. */
  close(): void {
    if (this.#watched === undefined) return;
    this.#take();
    this.#publish(this.#ended, true);
  }

  get #ownPath(): string {
    return this.#part === 1 ? this.#path : partName(this.#path, this.#part);
  }

  #take(): void {
    if (this.#watched !== undefined) unwatchFile(this.#watched);
    const manifest = read(this.#ownPath);
    // A run that was killed before its first segment has nothing to show.
    if (manifest.includes('<Period')) this.#ended.push({ manifest, startMs: this.#startMs });
  }

  #publish(parts: readonly DashPart[], ended: boolean): void {
    if (parts.length === 0) return;
    const temporary = `${this.#path}.joined`;
    writeFileSync(temporary, joinPeriods(parts, ended, this.#kept));
    renameSync(temporary, this.#path);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
