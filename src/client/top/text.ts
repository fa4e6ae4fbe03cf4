import stringWidth from 'string-width';

const segmenter = new Intl.Segmenter();
/** C0, DEL and C1 controls, and marks that turn the direction of writing: a channel's name must not steer the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text of others, safe to print. */
export function printable(text: string): string {
  return text.replace(CONTROLS, '·');
}

/** Exactly `width` terminal cells: cut with an ellipsis, or filled with spaces. */
export function toCells(text: string, width: number, side: 'left' | 'right' = 'left'): string {
  if (width <= 0) return '';
  const missing = width - stringWidth(text);
  if (missing >= 0) return side === 'left' ? text + ' '.repeat(missing) : ' '.repeat(missing) + text;
  let cut = '';
  let used = 0;
  for (const { segment } of segmenter.segment(text)) {
    const next = used + stringWidth(segment);
    if (next > width - 1) break;
    cut += segment;
    used = next;
  }
  return `${cut}…${' '.repeat(width - 1 - used)}`;
}

/** Without what stands past `width` cells. */
export function clip(text: string, width: number): string {
  return stringWidth(text) <= width ? text : toCells(text, width).trimEnd();
}

/** At most `width` cells, the end kept: of a URL it says more than the beginning. */
export function tail(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of [...segmenter.segment(text)].reverse()) {
    used += stringWidth(segment);
    if (used > width - 1) break;
    kept = segment + kept;
  }
  return `…${kept}`;
}
