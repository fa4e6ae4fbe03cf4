import type { WriteStream } from 'node:tty';

export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'warn' | 'bad' | 'title';
/** Text in a style; the text itself where there is no colour. */
export type Paint = (style: Style, text: string) => string;

/** SGR parameters, ECMA-48 8.3.117. */
const CODES: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  good: '32',
  warn: '33',
  bad: '31;1',
  title: '7',
};

export const plainPaint: Paint = (_style, text) => text;

export const colourPaint: Paint = (style, text) =>
  CODES[style] === '' || text === '' ? text : `\u001b[${CODES[style]}m${text}\u001b[0m`;

/** Colour on a terminal that has it, unless NO_COLOR (no-color.org) is set to anything. */
export function paintFor(out: Pick<WriteStream, 'isTTY'>, env: NodeJS.ProcessEnv): Paint {
  const wanted = out.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return wanted ? colourPaint : plainPaint;
}
