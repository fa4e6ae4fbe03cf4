import { InvalidArgumentError } from 'commander';
import type { VideoInput } from '../forecast/signature.js';
import { parseRate, parseSiNumber, parseSize } from './ffmpeg-args.js';

/** Readers of option values for commander: what is wrong goes into its own error message, with the value. */

export function integer(least: number, most: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`expected a whole number, ${least} to ${most}.`);
    }
    return value;
  };
}

/** "90", "250ms", "10s", "5m", "1.5h", "2d", in milliseconds. A bare number is seconds. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('expected a time such as 30s, 5m, 1.5h or 2d.');
  return Math.round(Number(match[1]) * UNIT_MS[match[2] ?? 's']!);
}

/** A moment: an ISO date, or how long ago ("1h"). Unix milliseconds. */
export function moment(nowMs: number) {
  return (text: string): number => {
    if (/^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text)) return nowMs - duration(text);
    const at = Date.parse(text);
    if (!Number.isFinite(at))
      throw new InvalidArgumentError('expected an ISO time, or how long ago, such as 1h.');
    return at;
  };
}

export function oneOf<const T extends string>(...words: readonly T[]) {
  return (text: string): T => {
    const word = words.find((w) => w === text);
    if (word === undefined) throw new InvalidArgumentError(`expected one of: ${words.join(', ')}.`);
    return word;
  };
}

export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** "codec=h264,size=1920x1080,fps=25,bitrate=6M,depth=8": what is known of an input that cannot be probed. */
export function declaredInput(text: string): Partial<VideoInput> {
  const declared: { -readonly [K in keyof VideoInput]?: VideoInput[K] } = {};
  for (const part of text.split(',')) {
    const [key, value = ''] = part.split('=', 2);
    const number = parseSiNumber(value);
    const size = parseSize(value);
    const fps = parseRate(value);
    if (key === 'codec' && /^\w+$/.test(value)) declared.codec = value;
    else if (key === 'size' && size !== undefined) Object.assign(declared, size);
    else if (key === 'fps' && fps !== undefined) declared.fps = fps;
    else if (key === 'bitrate' && number !== undefined && number >= 0)
      declared.bitrateBps = Math.round(number);
    else if (key === 'depth' && (number === 8 || number === 10 || number === 12)) declared.bitDepth = number;
    else {
      throw new InvalidArgumentError(
        `${JSON.stringify(part)} is not one of codec=NAME, size=WxH, fps=N, bitrate=N, depth=8|10|12.`,
      );
    }
  }
  return declared;
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
