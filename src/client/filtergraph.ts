import { evaluate } from './expression.js';
import { parseRate, parseSize } from './ffmpeg-args.js';

/** A picture on its way through filters. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly bitDepth: number;
}

export interface FilterChain {
  readonly from: readonly string[];
  /** `id`: with its "@NAME", where it has one. */
  readonly filters: readonly { readonly name: string; readonly id?: string; readonly args: string }[];
  readonly to: readonly string[];
}

/** Parses a filter graph: chains divided by ";", filters by ",", labels in brackets; quotes and backslashes as FFmpeg has them. */
export function parseFilterGraph(text: string): FilterChain[] {
  return splitOutside(text, ';')
    .map((chain) => parseChain(chain))
    .filter((chain) => chain.filters.length > 0);
}

/** The picture that leaves a filter graph at a label, given the pictures at its input labels. */
export function pictureAt(
  graph: readonly FilterChain[],
  label: string,
  source: (label: string) => Picture | undefined,
  depth = 0,
): Picture | undefined {
  const chain = graph.find((c) => c.to.includes(label));
  if (chain === undefined || depth > graph.length) return source(label);
  const first = chain.from[0];
  const from = first === undefined ? source('') : pictureAt(graph, first, source, depth + 1);
  return from === undefined ? undefined : applyFilters(from, chain.filters);
}

export function applyFilters(picture: Picture, filters: FilterChain['filters']): Picture {
  return filters.reduce((before, filter) => applyFilter(before, filter.name, filter.args), picture);
}

function applyFilter(picture: Picture, name: string, args: string): Picture {
  switch (name) {
    case 'scale':
    case 'zscale':
      return scale(picture, filterOptions(args, ['w', 'h', 'flags']));
    case 'crop':
      return resize(picture, filterOptions(args, ['w', 'h', 'x', 'y']));
    case 'pad':
      return resize(picture, filterOptions(args, ['w', 'h', 'x', 'y']));
    case 'transpose':
      return { ...picture, width: picture.height, height: picture.width };
    case 'fps':
    case 'framerate':
    case 'minterpolate':
      return { ...picture, fps: rate(filterOptions(args, ['fps'])['fps']) ?? picture.fps };
    case 'yadif':
    case 'bwdif':
      return {
        ...picture,
        fps: /^(1|3|send_field)/.test(filterOptions(args, ['mode'])['mode'] ?? '0')
          ? picture.fps * 2
          : picture.fps,
      };
    case 'format':
      return {
        ...picture,
        bitDepth: pixelFormatDepth(filterOptions(args, ['pix_fmts'])['pix_fmts']) ?? picture.bitDepth,
      };
    default:
      return picture;
  }
}

function scale(picture: Picture, options: Readonly<Record<string, string>>): Picture {
  const named = parseSize(
    options['size'] ?? options['s'] ?? (options['h'] === undefined ? options['w'] : undefined),
  );
  if (named !== undefined) return { ...picture, ...named };
  const names = pictureNames(picture);
  const wanted = {
    w: options['w'] ?? options['width'] ?? 'iw',
    h: options['h'] ?? options['height'] ?? 'ih',
  };
  let width = evaluate(wanted.w, names);
  let height = evaluate(wanted.h, { ...names, ...(width === undefined ? {} : { ow: width, out_w: width }) });
  // "scale=trunc(oh*a/2)*2:720": the width may be given by the height.
  if (width === undefined && height !== undefined)
    width = evaluate(wanted.w, { ...names, oh: height, out_h: height });
  if (width === undefined || height === undefined) return picture;
  if (width === 0) width = picture.width;
  if (height === 0) height = picture.height;
  const ratio = picture.width / picture.height;
  // -N keeps the aspect ratio and rounds to a multiple of N.
  if (width < 0 && height < 0) return picture;
  if (width < 0) width = toMultiple(height * ratio, -width);
  if (height < 0) height = toMultiple(width / ratio, -height);
  switch (options['force_original_aspect_ratio']) {
    case 'decrease':
    case '2': {
      const fit = Math.min(width / picture.width, height / picture.height);
      return whole(picture, picture.width * fit, picture.height * fit);
    }
    case 'increase':
    case '1': {
      const fit = Math.max(width / picture.width, height / picture.height);
      return whole(picture, picture.width * fit, picture.height * fit);
    }
    default:
      return whole(picture, width, height);
  }
}

function resize(picture: Picture, options: Readonly<Record<string, string>>): Picture {
  const names = pictureNames(picture);
  const width = evaluate(options['w'] ?? options['width'] ?? options['out_w'] ?? 'iw', names);
  const height = evaluate(options['h'] ?? options['height'] ?? options['out_h'] ?? 'ih', {
    ...names,
    ow: width ?? 0,
  });
  return whole(picture, width || picture.width, height || picture.height);
}

function pictureNames({ width, height }: Picture): Record<string, number> {
  const ratio = width / height;
  return { iw: width, in_w: width, ih: height, in_h: height, a: ratio, dar: ratio, sar: 1, hsub: 2, vsub: 2 };
}

function whole(picture: Picture, width: number, height: number): Picture {
  return { ...picture, width: Math.max(1, Math.round(width)), height: Math.max(1, Math.round(height)) };
}

function toMultiple(value: number, step: number): number {
  return Math.max(1, Math.round(value / step)) * step;
}

function rate(text: string | undefined): number | undefined {
  return parseRate(text) ?? (text === undefined ? undefined : evaluate(text, {}));
}

/** Bits per sample of the first pixel format named: "yuv420p10le" has 10, "p010" has 10, "yuv420p" 8. */
export function pixelFormatDepth(formats: string | undefined): number | undefined {
  const first = formats?.split('|')[0]?.toLowerCase();
  if (first === undefined || first === '') return undefined;
  if (/^p0?1[02]/.test(first)) return first.includes('12') ? 12 : 10;
  const planar = /(?:p|gray|gbrap?|rgb)(9|10|12|14|16)(?:le|be)?$/.exec(first);
  if (planar === null) return 8;
  return Number(planar[1]) > 10 ? 12 : 10;
}

/** "1280:-2:flags=bicubic" against the filter's own order of options. */
function filterOptions(args: string, order: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  splitOutside(args, ':').forEach((part, i) => {
    const named = /^\s*([A-Za-z_]\w*)=(.*)$/s.exec(part);
    if (named !== null) options[named[1]!] = unquote(named[2]!);
    else if (order[i] !== undefined && part !== '') options[order[i]] = unquote(part);
  });
  return options;
}

function parseChain(text: string): FilterChain {
  const from: string[] = [];
  const filters: { name: string; id?: string; args: string }[] = [];
  let to: string[] = [];
  for (const part of splitOutside(text, ',')) {
    const match =
      /^\s*((?:\[[^\]]*\]\s*)*)([^[=]*)(?:=((?:[^[\\']|\\.|'[^']*')*))?((?:\[[^\]]*\]\s*)*)\s*$/s.exec(part);
    if (match === null) continue;
    const before = labels(match[1]!);
    if (filters.length === 0) from.push(...before);
    const id = match[2]!.trim();
    const name = id.split('@')[0]!;
    if (name !== '') filters.push({ name, ...(id === name ? {} : { id }), args: (match[3] ?? '').trim() });
    to = labels(match[4]!);
  }
  return { from, filters, to };
}

function labels(text: string): string[] {
  return [...text.matchAll(/\[([^\]]*)\]/g)].map((m) => m[1]!.trim());
}

/** Splits at a separator that stands outside quotes and is not escaped. */
function splitOutside(text: string, separator: string): string[] {
  const parts: string[] = [];
  let part = '';
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\\' && !quoted && i + 1 < text.length) part += c + text[++i];
    else if (c === separator && !quoted) {
      parts.push(part);
      part = '';
    } else {
      if (c === "'") quoted = !quoted;
      part += c;
    }
  }
  parts.push(part);
  return parts;
}

function unquote(text: string): string {
  return text
    .replace(/'([^']*)'/g, '$1')
    .replace(/\\(.)/g, '$1')
    .trim();
}
