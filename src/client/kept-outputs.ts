import { messageOf } from '../lib/errors.js';
import { closePlaylists, continuationOf, withOpenPlaylists } from './continuity.js';
import { DashPresentation } from './dash-presentation.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';

/** The outputs of a command whose FFmpeg may be replaced, kept going over all its runs (continuity.ts). */
export class KeptOutputs {
  /** The command to run: FFmpeg leaves its playlists open. */
  readonly command: FfmpegCommand;
  readonly #own: FfmpegCommand;
  readonly #presentations: readonly DashPresentation[];

  constructor(command: FfmpegCommand) {
    this.#own = command;
    this.command = withOpenPlaylists(command);
    this.#presentations = DashPresentation.of(command);
  }

  /** A receiver sees the connection of one FFmpeg end and the next one's begin. */
  get reopens(): boolean {
    return this.command.outputs.some((output) => continuationOf(output) === 'reopened');
  }

  /** None of them is a file, or may write one. */
  get streamsOnly(): boolean {
    return this.command.outputs.every(
      (output) => continuationOf(output) === 'reopened' && lastOption(output.options, 'f')?.value !== 'tee',
    );
  }

  /** The present FFmpeg is about to be asked to end. */
  ending(): void {
    for (const presentation of this.#presentations) presentation.ending();
  }

  /** It has ended, and part `next` is about to begin. */
  ended(next: number): void {
    for (const presentation of this.#presentations) presentation.ended(next);
  }

  /** The last FFmpeg has ended by itself. */
  close(note: (text: string) => void): void {
    try {
      closePlaylists(this.#own);
      for (const presentation of this.#presentations) presentation.close();
    } catch (error) {
      note(`the end of a playlist could not be written: ${messageOf(error)}`);
    }
  }
}
