import { CorecastError } from '../lib/errors.js';

/** Splits "-preset ultrafast -vf 'scale=640:-2'" as a shell would, without expanding anything. */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\\' && quote !== "'" && i + 1 < text.length) word = (word ?? '') + text[++i];
    else if (quote !== '') {
      if (c === quote) quote = '';
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + c;
  }
  if (quote !== '')
    throw new CorecastError('INVALID_ARGUMENT', `${JSON.stringify(text)}: a ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  return words;
}
