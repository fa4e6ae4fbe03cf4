import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type FfmpegCommand, type FfmpegFile, lastOption, parseFfmpegCommand } from './ffmpeg-args.js';

/*
 * How each kind of output goes on when FFmpeg is restarted:
 *
 *   HLS, MPEG-TS segments  in the same playlist: append_list numbers on and writes EXT-X-DISCONTINUITY. While a ladder may
 *                          replace it, FFmpeg leaves the end of the playlist open (omit_endlist), or players would stop in
 *                          the gap; the wrapper closes it after the last FFmpeg.
 *   HLS, fMP4 segments     FFmpeg names one init segment for a whole playlist, so the new one begins a playlist that
 *                          numbers on from the old one, with a discontinuity first and an init segment of its own.
 *   DASH                   a Period of its own: manifest and segments under names of their own; dash-periods.ts joins them.
 *   streams and pipes      opened again under the same name: RTMP, SRT and UDP receivers see a reconnect.
 *   another file           can't be continued: a part of its own beside it.
 */
export type Continuation = 'hls' | 'hls-fmp4' | 'dash' | 'reopened' | 'part';

export function continuationOf(output: FfmpegFile): Continuation {
  const format = lastOption(output.options, 'f')?.value ?? '';
  if (format === 'hls' || (format === '' && /\.m3u8$/.test(output.url))) {
    const fmp4 = lastOption(output.options, 'hls_segment_type')?.value === 'fmp4';
    return fmp4 && isLocal(output.url) ? 'hls-fmp4' : 'hls';
  }
  const local = isLocal(output.url) && format !== 'null' && format !== 'tee' && !isDevice(output.url);
  if (!local) return 'reopened';
  return format === 'dash' || (format === '' && /\.mpd$/.test(output.url)) ? 'dash' : 'part';
}

/** Changes to the options of one output; values replace those that are there. */
export interface OutputChange {
  readonly options: ReadonlyMap<string, string>;
  readonly url: string;
}

/** For a restart as part `part`, 2 for the first one. */
export function continued(output: FfmpegFile, part: number): OutputChange {
  const { url } = output;
  const value = (name: string) => lastOption(output.options, name)?.value;
  switch (continuationOf(output)) {
    case 'hls':
      return { url, options: new Map([['hls_flags', withFlags(value('hls_flags'), 'append_list')]]) };
    case 'hls-fmp4': {
      const next = playlistsOf(url).reduce((most, path) => Math.max(most, nextSequence(read(path))), 0);
      return {
        url,
        options: new Map([
          ['hls_flags', withFlags(value('hls_flags'), 'discont_start')],
          ['start_number', String(next)],
          ['hls_fmp4_init_filename', partName(value('hls_fmp4_init_filename') ?? 'init.mp4', part)],
        ]),
      };
    }
    case 'dash':
      return { url: partName(url, part), options: dashNames(value, part) };
    case 'part':
      return { url: partName(url, part), options: new Map() };
    case 'reopened':
      return { url, options: new Map() };
  }
}

function dashNames(value: (name: string) => string | undefined, part: number): ReadonlyMap<string, string> {
  const names = {
    init_seg_name: 'init-stream$RepresentationID$.$ext$',
    media_seg_name: 'chunk-stream$RepresentationID$-$Number%05d$.$ext$',
  };
  return new Map(Object.entries(names).map(([name, usual]) => [name, partName(value(name) ?? usual, part)]));
}

/** "out.mp4" as its second part: "out.part2.mp4". */
export function partName(url: string, part: number): string {
  const dot = url.lastIndexOf('.');
  const [stem, extension] = dot > url.lastIndexOf('/') + 1 ? [url.slice(0, dot), url.slice(dot)] : [url, ''];
  return `${stem}.part${part}${extension}`;
}

/** The command with playlists that FFmpeg leaves open at its end. */
export function withOpenPlaylists(command: FfmpegCommand): FfmpegCommand {
  const args = [...command.args];
  // From the last to the first: what is inserted moves what follows.
  for (const output of ownPlaylists(command).reverse()) {
    const flags = lastOption(output.options, 'hls_flags');
    const open = withFlags(flags?.value, 'omit_endlist');
    if (flags === undefined) args.splice(output.at, 0, '-hls_flags', open);
    else args[flags.at + 1] = open;
  }
  return parseFfmpegCommand([command.program, ...args]);
}

/** Ends the playlists that withOpenPlaylists() has left open. `command` is the user's own. */
export function closePlaylists(command: FfmpegCommand): void {
  for (const { url } of ownPlaylists(command)) {
    for (const path of playlistsOf(url)) {
      if (!/^#EXT-X-ENDLIST/m.test(read(path))) appendFileSync(path, '#EXT-X-ENDLIST\n');
    }
  }
}

/** Local ones whose end the user wants to be seen. */
function ownPlaylists(command: FfmpegCommand): FfmpegFile[] {
  return command.outputs.filter((output) => {
    const flags = lastOption(output.options, 'hls_flags')?.value ?? '';
    return continuationOf(output).startsWith('hls') && isLocal(output.url) && !/omit_endlist/.test(flags);
  });
}

/** The files of a playlist's URL; several where it names a variant ("%v"). */
function playlistsOf(url: string): string[] {
  const path = url.replace(/^file:/, '');
  const name = basename(path);
  if (!name.includes('%v')) return [path];
  const pattern = new RegExp(`^${name.split('%v').map(escaped).join('.+')}$`);
  try {
    return readdirSync(dirname(path))
      .filter((file) => pattern.test(file))
      .map((file) => join(dirname(path), file));
  } catch {
    return [];
  }
}

/** The number that the next segment of a playlist gets. */
export function nextSequence(playlist: string): number {
  const first = Number(/^#EXT-X-MEDIA-SEQUENCE:(\d+)/m.exec(playlist)?.[1] ?? 0);
  return first + (playlist.match(/^#EXTINF:/gm)?.length ?? 0);
}

function withFlags(flags: string | undefined, flag: string): string {
  if (flags === undefined || flags === '') return flag;
  return flags.split(/[+-]/).includes(flag) ? flags : `${flags}+${flag}`;
}

function isLocal(url: string): boolean {
  return url.startsWith('file:') || !/^[a-z][a-z0-9+.-]*:/i.test(url);
}

function isDevice(url: string): boolean {
  return url === '-' || url.startsWith('/dev/');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
