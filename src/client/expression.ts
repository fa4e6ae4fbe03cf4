/**
 * The part of FFmpeg's expression language (libavutil/eval) that people write into scale, crop and pad: numbers, names,
 * + - * / and the usual functions. Undefined for anything else: what cannot be known is not guessed.
 */
export function evaluate(text: string, names: Readonly<Record<string, number>>): number | undefined {
  const tokens = text.match(/\d+\.?\d*|\.\d+|[A-Za-z_]\w*|[-+*/(),]|\S/g) ?? [];
  let at = 0;
  const failed = Symbol();

  function sum(): number {
    let value = product();
    while (tokens[at] === '+' || tokens[at] === '-') value += tokens[at++] === '+' ? product() : -product();
    return value;
  }
  function product(): number {
    let value = unary();
    while (tokens[at] === '*' || tokens[at] === '/')
      value = tokens[at++] === '*' ? value * unary() : value / unary();
    return value;
  }
  function unary(): number {
    if (tokens[at] !== '-') return atom();
    at++;
    return -unary();
  }
  function atom(): number {
    const token = tokens[at++];
    if (token === undefined) throw failed;
    if (/^[\d.]/.test(token)) return Number(token);
    if (token === '(') {
      const value = sum();
      if (tokens[at++] !== ')') throw failed;
      return value;
    }
    if (tokens[at] === '(') return call(token);
    const value = names[token];
    if (value === undefined) throw failed;
    return value;
  }
  function call(name: string): number {
    const values: number[] = [];
    do {
      at++;
      values.push(sum());
    } while (tokens[at] === ',');
    if (tokens[at++] !== ')') throw failed;
    const result = FUNCTIONS[name]?.(values);
    if (result === undefined) throw failed;
    return result;
  }

  try {
    const value = sum();
    return at === tokens.length && Number.isFinite(value) ? value : undefined;
  } catch (error) {
    if (error === failed) return undefined;
    throw error;
  }
}

const FUNCTIONS: Readonly<Record<string, (v: number[]) => number>> = {
  trunc: ([x]) => Math.trunc(x!),
  floor: ([x]) => Math.floor(x!),
  ceil: ([x]) => Math.ceil(x!),
  round: ([x]) => Math.round(x!),
  min: (v) => Math.min(...v),
  max: (v) => Math.max(...v),
  gt: ([a, b]) => Number(a! > b!),
  gte: ([a, b]) => Number(a! >= b!),
  lt: ([a, b]) => Number(a! < b!),
  lte: ([a, b]) => Number(a! <= b!),
  if: ([test, yes, no]) => (test !== 0 ? yes! : (no ?? 0)),
};
