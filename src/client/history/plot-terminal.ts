import type { Line } from './lines.js';

/*
 * Drawn in Braille characters: 2 × 4 dots each. The packages for this (asciichart) cannot show a gap, and a history has
 * gaps: they are what an operator looks for.
 */
const ROWS = 12;
const AXIS_WIDTH = 11;
const DOTS_X = 2;
const DOTS_Y = 4;
const BRAILLE = 0x2800;
/** The bit of each dot: column by column, from the top. */
const DOT_BITS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
];

/** Each series as a chart of lines of text, `columns` wide. */
export function plotInTerminal(lines: readonly Line[], columns: number): string {
  return lines.map((line) => chart(line, plotWidth(columns))).join('\n\n');
}

/** Characters beside the axis; as many steps, twice, are told apart. */
export function plotWidth(columns: number): number {
  return Math.max(20, Math.min(200, columns - AXIS_WIDTH - 2));
}

function chart({ series, unit, points, fromMs, toMs, stepMs }: Line, width: number): string {
  const title = unit === '' ? series : `${series} (${unit})`;
  const known = points.filter(({ value }) => Number.isFinite(value));
  if (known.length === 0) return `${title}: no samples`;
  let low = Math.min(...known.map(({ value }) => value));
  let high = Math.max(...known.map(({ value }) => value));
  // A constant needs a height to stand in.
  if (low === high) [low, high] = [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
  const canvas = new Canvas(width);
  const x = (atMs: number) => ((canvas.dotsX - 1) * (atMs - fromMs)) / (toMs - fromMs);
  const y = (value: number) => (canvas.dotsY - 1) * (1 - (value - low) / (high - low));
  let before: { atMs: number; value: number } | undefined;
  for (const { atMs, value } of known) {
    // What lies more than a step apart is not joined.
    const joined = before !== undefined && atMs - before.atMs <= 1.5 * stepMs ? before : { atMs, value };
    canvas.line(x(joined.atMs), y(joined.value), x(atMs), y(value));
    before = { atMs, value };
  }
  const labels = [high, (high + low) / 2, low].map(short);
  const rows = canvas.rows().map((row, i) => {
    const label = { 0: labels[0], [Math.floor(ROWS / 2)]: labels[1], [ROWS - 1]: labels[2] }[i] ?? '';
    return `${label.padStart(AXIS_WIDTH - 2)} ┤${row}`.trimEnd();
  });
  const [from, to] = [fromMs, toMs].map((at) => new Date(at).toISOString().slice(0, 19).replace('T', ' '));
  return [title, ...rows, `${' '.repeat(AXIS_WIDTH)}${from}${to!.padStart(Math.max(21, width - 19))}`].join(
    '\n',
  );
}

class Canvas {
  readonly dotsX: number;
  readonly dotsY = ROWS * DOTS_Y;
  readonly #width: number;
  readonly #cells: Uint8Array;

  constructor(width: number) {
    this.#width = width;
    this.dotsX = width * DOTS_X;
    this.#cells = new Uint8Array(width * ROWS);
  }

  line(x0: number, y0: number, x1: number, y1: number): void {
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0))));
    for (let i = 0; i <= steps; i++) this.#dot(x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps);
  }

  rows(): string[] {
    return Array.from({ length: ROWS }, (_, row) =>
      [...this.#cells.subarray(row * this.#width, (row + 1) * this.#width)]
        .map((bits) => (bits === 0 ? ' ' : String.fromCharCode(BRAILLE + bits)))
        .join(''),
    );
  }

  #dot(x: number, y: number): void {
    const column = Math.round(x);
    const row = Math.round(y);
    if (column < 0 || column >= this.dotsX || row < 0 || row >= this.dotsY) return;
    const cell = Math.floor(row / DOTS_Y) * this.#width + Math.floor(column / DOTS_X);
    this.#cells[cell]! |= DOT_BITS[column % DOTS_X]![row % DOTS_Y]!;
  }
}

function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return String(Number(value.toPrecision(4)));
}
